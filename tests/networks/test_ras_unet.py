"""RAS U-Net against paper 004 and the contract of every network."""

from __future__ import annotations

import pytest
import torch
from network_contract import NetworkContract, build, stages
from torch import nn

from nnunet_ext.blocks import RASBlock
from nnunet_ext.networks import RASUNet


class TestRASUNet(NetworkContract):
    network = RASUNet


def test_the_paper_s_shape() -> None:
    """Nine RAS blocks, four poolings, five dropouts of 0.5, all in the encoder (SPEC F.10)."""
    network = build(RASUNet, stages(5), deep_supervision=True)

    def count(module: nn.Module, kind: type[nn.Module]) -> int:
        return sum(isinstance(m, kind) for m in module.modules())

    assert count(network, RASBlock) == 9
    assert count(network, nn.MaxPool3d) == 4
    assert [m.p for m in network.encoder.modules() if isinstance(m, nn.Dropout)] == [0.5] * 5
    assert count(network.decoder, nn.Dropout) == 0


def test_training_drops_and_evaluation_does_not() -> None:
    shape = stages(2)
    network = build(RASUNet, shape, deep_supervision=False)
    assert not torch.equal(network(shape.batch()), network(shape.batch()))
    network.eval()
    assert torch.equal(network(shape.batch()), network(shape.batch()))


def test_kernels_are_in_plane_then_through_plane() -> None:
    network = build(RASUNet, stages(3), deep_supervision=False)
    kernels = {m.kernel_size for m in network.modules() if isinstance(m, nn.Conv3d)}
    assert kernels == {(1, 3, 3), (3, 1, 1), (1, 1, 1)}


def test_attention_reduction_sets_the_inner_channels() -> None:
    arguments = {
        "input_channels": 1,
        "num_classes": 2,
        "n_stages": 1,
        "features_per_stage": 16,
        "conv_op": nn.Conv2d,
        "kernel_sizes": 3,
        "strides": 1,
    }
    network = RASUNet(attention_reduction=8, **arguments)
    assert network.encoder.stages[0].block.attention.squeeze.output_channels == 2
    with pytest.raises(ValueError, match="reduction must be at least 1, got 0"):
        RASUNet(attention_reduction=0, **arguments)


def test_initialization_keeps_attention_open_and_features_of_unit_size() -> None:
    """He's gain on both halves of a separable pair would saturate the gate (blocks/separable.py)."""
    torch.manual_seed(0)
    settings = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}
    network = RASUNet(
        input_channels=32,
        num_classes=2,
        n_stages=1,
        features_per_stage=32,
        kernel_sizes=3,
        strides=1,
        norm_op_kwargs={"affine": True},
        **settings,
    )
    network.apply(network.initialize)
    attention = network.encoder.stages[0].block.attention
    features = nn.functional.leaky_relu(torch.randn(2, 32, 12, 12, 12))
    gate = attention.weights(features).detach()
    assert 0.03 < float(gate.quantile(0.05)) < float(gate.quantile(0.95)) < 0.97
    biases = [m.bias.detach() for m in network.modules() if getattr(m, "bias", None) is not None]
    assert biases
    assert all(float(bias.abs().max()) == 0 for bias in biases)


def weights_of_block(name: str, channels_in: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a RAS block that changes the number of channels, on a plan with biases."""
    inner = max(1, channels // 4)  # fixed by docs/benchmarks/ras_attention_reduction.md
    pairs = {
        "conv1": (channels_in, channels),
        "conv2": (channels, channels),
        "attention.squeeze": (channels, inner),
        "attention.excite": (inner, channels),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for pair, (before, after) in pairs.items():
        shapes[f"{name}.{pair}.in_plane.weight"] = (after, before, 1, 3, 3)
        shapes[f"{name}.{pair}.through_plane.weight"] = (after, after, 3, 1, 1)
        shapes[f"{name}.{pair}.through_plane.bias"] = (after,)
    shapes[f"{name}.shortcut.0.weight"] = (channels, channels_in, 1, 1, 1)
    vectors = ("act1.0.weight", "act1.0.bias", "act2.0.weight", "act2.0.bias")
    for key in (*vectors, "shortcut.0.bias", "shortcut.1.weight", "shortcut.1.bias"):
        shapes[f"{name}.{key}"] = (channels,)
    return shapes


def test_the_checkpoint_format() -> None:
    """Users' models hold these keys and shapes: they are never changed."""
    network = build(RASUNet, stages(3), deep_supervision=False)
    expected = {
        **weights_of_block("encoder.stages.0.block", 1, 4),
        **weights_of_block("encoder.stages.1.block", 4, 8),
        **weights_of_block("encoder.stages.2.block", 8, 16),
        **weights_of_block("decoder.stages.0", 16, 8),
        **weights_of_block("decoder.stages.1", 8, 4),
    }
    for place, (deep, skip) in enumerate([(16, 8), (8, 4)]):
        expected[f"decoder.fusions.{place}.upsample.weight"] = (deep, skip, 2, 2, 2)
        expected[f"decoder.fusions.{place}.upsample.bias"] = (skip,)
        expected[f"decoder.seg_layers.{place}.weight"] = (3, skip, 1, 1, 1)
        expected[f"decoder.seg_layers.{place}.bias"] = (3,)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == expected
