"""The papers' networks against their papers and the contract of every network."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

import pytest
import torch
from arch_kwargs import SHAPES, Shape, stages
from dynamic_network_architectures.building_blocks.residual import BasicBlockD
from network_contract import NetworkContract, build
from torch import nn

from nnunet_ext import networks
from nnunet_ext.blocks import (
    DASP,
    AttentionFusion,
    AttentionGate,
    GridAttentionGate,
    PositionAttention,
    SqueezeExcitation,
)
from nnunet_ext.networks import AFUNet, AGUNet, MAUNet, RASUNet, ResUNet, SEUNet, UNet, VNet


class TestAGUNet(NetworkContract):
    network = AGUNet


@pytest.mark.long
class TestAGUNetWithoutGates(NetworkContract):
    network = AGUNet
    options: ClassVar[dict[str, Any]] = {"attention_gates": False}


@pytest.mark.long
class TestAGUNetWithGridGates(NetworkContract):
    network = AGUNet
    options: ClassVar[dict[str, Any]] = {"gate": "grid"}


class TestMAUNet(NetworkContract):
    network = MAUNet


@pytest.mark.long
class TestMAUNetWithoutGates(NetworkContract):
    network = MAUNet
    options: ClassVar[dict[str, Any]] = {"attention_gates": False}


@pytest.mark.long
class TestMAUNetWithoutPositionAttention(NetworkContract):
    network = MAUNet
    options: ClassVar[dict[str, Any]] = {"position_attention": False}


@pytest.mark.long
class TestMAUNetWithNeither(NetworkContract):
    network = MAUNet
    options: ClassVar[dict[str, Any]] = {"attention_gates": False, "position_attention": False}


class TestAFUNet(NetworkContract):
    network = AFUNet
    max_poolings = 3


@pytest.mark.long
class TestAFUNetWithoutPyramid(NetworkContract):
    network = AFUNet
    max_poolings = 3
    options: ClassVar[dict[str, Any]] = {"dilated_pyramid": False}


@pytest.mark.long
class TestAFUNetWithoutFusion(NetworkContract):
    network = AFUNet
    max_poolings = 3
    options: ClassVar[dict[str, Any]] = {"attention_fusion": False}


@pytest.mark.long
class TestAFUNetWithNeither(NetworkContract):
    network = AFUNet
    max_poolings = 3
    options: ClassVar[dict[str, Any]] = {"dilated_pyramid": False, "attention_fusion": False}


class TestResUNet(NetworkContract):
    network = ResUNet


class TestSEUNet(NetworkContract):
    network = SEUNet


class TestVNet(NetworkContract):
    network = VNet


@pytest.mark.long
class TestRASUNetWithoutAttention(NetworkContract):
    network = RASUNet
    options: ClassVar[dict[str, Any]] = {"spatial_attention": False}


NETWORKS = [getattr(networks, name) for name in networks.__all__ if name != "UNet"]


def count(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> int:
    return sum(isinstance(m, kind) for m in network.modules())


@pytest.mark.parametrize(
    ("network", "options", "expected"),
    [
        (AGUNet, {}, {AttentionGate: 3}),
        (AGUNet, {"gate": "grid"}, {GridAttentionGate: 3, AttentionGate: 0}),
        (AGUNet, {"attention_gates": False}, {AttentionGate: 0}),
        (MAUNet, {}, {AttentionGate: 3, PositionAttention: 1, BasicBlockD: 4}),
        (MAUNet, {"position_attention": False}, {AttentionGate: 3, PositionAttention: 0}),
        (AFUNet, {}, {DASP: 1, AttentionFusion: 3, nn.ConvTranspose3d: 0}),
        (AFUNet, {"dilated_pyramid": False}, {DASP: 0, AttentionFusion: 3}),
        (AFUNet, {"attention_fusion": False}, {DASP: 1, AttentionFusion: 0, nn.ConvTranspose3d: 3}),
        (ResUNet, {}, {BasicBlockD: 7, nn.MaxPool3d: 0, nn.Dropout3d: 7}),
        (SEUNet, {}, {SqueezeExcitation: 7}),
        (VNet, {}, {nn.MaxPool3d: 0}),
    ],
)
def test_the_plugs_are_where_the_paper_has_them(
    network: type[UNet], options: dict[str, Any], expected: dict[type[nn.Module], int]
) -> None:
    built = build(network, stages(4), deep_supervision=False, options=options)
    assert {kind: count(built, kind) for kind in expected} == expected


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("options", [{"norm_op": None}, {"norm_op_kwargs": {"affine": False}}])
def test_plans_without_normalization_or_its_weights(network: type[UNet], options: dict[str, Any]) -> None:
    """As nnU-Net builds them: with the initialization, which is about normalization too."""
    built = build(network, SHAPES[0], deep_supervision=False, options=options)
    assert torch.isfinite(built(SHAPES[0].batch())).all()


def test_af_unet_pools_three_times_at_most() -> None:
    for levels, poolings in ((2, 1), (4, 3), (6, 3)):
        network = build(AFUNet, stages(levels, dim=2), deep_supervision=True)
        assert count(network, nn.MaxPool2d) == poolings
        assert len(network.deep_supervision_scales) == poolings


def test_v_net_has_one_two_three_convolutions_a_stage() -> None:
    network = build(VNet, stages(4), deep_supervision=False)
    assert [len(stage.block.convolutions) // 2 for stage in network.encoder.stages] == [1, 2, 3, 3]
    assert [len(stage.convolutions) // 2 for stage in network.decoder.stages] == [3, 2, 1]


def test_v_net_s_own_kernel_leaves_in_plane_stages_in_plane() -> None:
    shape = Shape("", (4, 8, 8), ((1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2)), (4, 8))
    network = build(VNet, shape, deep_supervision=False, options={"kernel_size": 5})
    kernels = [stage.block.convolutions[0].kernel_size for stage in network.encoder.stages]
    assert kernels == [(1, 5, 5), (5, 5, 5)]


@pytest.mark.parametrize("kernel_size", [0, 4, 2.5, -3])
def test_v_net_s_own_kernel_is_odd(kernel_size: float) -> None:
    with pytest.raises(ValueError, match=r"kernel_size must be an odd number or None, got"):
        build(VNet, stages(2), deep_supervision=False, options={"kernel_size": kernel_size})


@pytest.mark.parametrize("network", [MAUNet, ResUNet])
def test_residual_networks_have_the_blocks_of_the_plan(network: type[UNet]) -> None:
    """Two convolutions are a block; a ResEnc plan's decoder of one convolution a stage stays plain."""
    plain = build(network, stages(3), deep_supervision=False)
    assert [len(s.block.stack.blocks) for s in plain.encoder.stages] == [1, 1, 1]
    resenc = build(network, stages(3), deep_supervision=False, resenc=True)
    assert [len(s.block.stack.blocks) for s in resenc.encoder.stages] == [1, 1, 1]
    assert count(resenc.decoder, BasicBlockD) == 0
    arguments = {
        "input_channels": 1,
        "num_classes": 2,
        "n_stages": 2,
        "features_per_stage": 4,
        "conv_op": nn.Conv2d,
        "kernel_sizes": 3,
        "strides": [1, 2],
        "norm_op": nn.InstanceNorm2d,
        "norm_op_kwargs": {"affine": True},
        "nonlin": nn.LeakyReLU,
    }
    deep = network(n_blocks_per_stage=[3, 4], **arguments)
    assert [len(s.block.stack.blocks) for s in deep.encoder.stages] == [3, 4]


def test_initialization_keeps_position_attention_silent() -> None:
    network = build(MAUNet, stages(3), deep_supervision=False)
    gammas = [p for name, p in network.named_parameters() if name.endswith("gamma")]
    assert [float(gamma.detach()) for gamma in gammas] == [0.0]


# Keys and shapes of the weights, which users' models hold: once there is a release, they are never changed.
FORMATS = {
    "AFUNet": "b703406d5a9e2c75",
    "AGUNet": "e9aa315f22c3ccb9",
    "MAUNet": "2f43d26fa92b9776",
    "RASUNet": "af0397750bd8d6f0",
    "ResUNet": "66bf7e890019e501",
    "SEUNet": "a44dcb4ccddf5dcc",
    "VNet": "a452bf3eb1427f33",
}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_checkpoint_format(network: type[UNet]) -> None:
    weights = build(network, SHAPES[2], deep_supervision=False).state_dict().items()
    shapes = json.dumps({key: list(value.shape) for key, value in weights}, sort_keys=True)
    assert hashlib.sha256(shapes.encode()).hexdigest()[:16] == FORMATS[network.__name__], shapes


def test_an_unknown_gate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gate must be one of \('additive', 'grid'\), got 'soft'"):
        build(AGUNet, stages(2), deep_supervision=False, options={"gate": "soft"})


def test_a_plan_with_too_large_a_bottleneck_is_told() -> None:
    shape = Shape("", (32, 32, 32), ((3, 3, 3),), ((1, 1, 1),), (2,))
    network = build(MAUNet, shape, deep_supervision=False).eval()
    with pytest.raises(ValueError, match=r"at most 4096 positions.*32768.*plan with more poolings"):
        network(torch.zeros(1, 1, 32, 32, 32))
