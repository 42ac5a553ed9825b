"""Computing again in the backward pass: the same numbers, less memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from arch_kwargs import SHAPES, Shape
from network_contract import as_list, build
from torch import nn

from nnunet_ext.networks import AFUNet, AGUNet, RASUNet, UNet
from nnunet_ext.networks.recompute import economical
from nnunet_ext.planning.live import LiveMemory

NETWORKS = [AGUNet, AFUNet, RASUNet]


def keeps_all(network: UNet) -> UNet:
    """A copy that computes nothing again."""
    plain = copy.deepcopy(network)
    plain.decoder.recompute = "nothing"
    for stage in plain.encoder.stages:
        stage.recompute = False
    return plain


def trained(network: UNet, image: torch.Tensor) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """Outputs and gradients of one pass in training, dropout from one seed."""
    torch.manual_seed(1)
    outputs = as_list(network.train()(image))
    sum(output.square().mean() for output in outputs).backward()  # type: ignore[union-attr]
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return outputs, gradients


@pytest.mark.parametrize("shape", SHAPES[:4], ids=lambda shape: shape.name)
@pytest.mark.parametrize("network_class", NETWORKS)
def test_outputs_and_gradients_are_those_of_the_plain_network(
    network_class: type[UNet], shape: Shape
) -> None:
    network = build(network_class, shape, deep_supervision=True).double()
    plain = keeps_all(network)
    image = shape.batch().double()
    outputs, gradients = trained(network, image)
    expected_outputs, expected = trained(plain, image)
    assert gradients.keys() == expected.keys()
    for output, other in zip(outputs, expected_outputs, strict=True):
        assert torch.equal(output, other)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("network_class", "share"), [(AGUNet, 0.95), (AFUNet, 0.75), (RASUNet, 0.7)])
def test_less_is_kept(network_class: type[UNet], share: float) -> None:
    network = build(network_class, SHAPES[2], deep_supervision=True)
    kept = []
    for each in (network, keeps_all(network)):
        memory, image = LiveMemory(), SHAPES[2].batch()
        with memory:
            outputs = each.train()(image)
            kept.append(memory.now)
        del outputs
    assert kept[0] < share * kept[1]


def test_dropout_inside_draws_the_same_again() -> None:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Sigmoid())
    x = torch.ones(2, 1, 8, 8)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(2)
        block.zero_grad()
        y = economical(block, x, draws_random_numbers=True) if recompute else block(x)
        torch.rand(3)  # whatever is drawn before the backward pass
        y.square().sum().backward()
        weights: Any = block[0].weight
        gradients.append(weights.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("network_class", NETWORKS)
def test_running_statistics_are_updated_once(network_class: type[UNet]) -> None:
    """Plans may have batch normalization, whose forward pass leaves a trace."""
    options = {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}
    network = build(network_class, SHAPES[2], deep_supervision=True, options=options)
    plain = keeps_all(network)
    for each in (network, plain):
        trained(each, SHAPES[2].batch())
    statistics, expected = (
        {k: v for k, v in n.state_dict().items() if "running" in k or "num_batches" in k}
        for n in (network, plain)
    )
    assert statistics
    for key, value in statistics.items():
        torch.testing.assert_close(value, expected[key])
        if key.endswith("num_batches_tracked"):
            assert value == 1


@pytest.mark.parametrize("shape", SHAPES[:3], ids=lambda shape: shape.name)
@pytest.mark.parametrize("network_class", NETWORKS)
@pytest.mark.parametrize(
    "options",
    [
        {"norm_op": None},
        {"dropout_op": "torch.nn.Dropout", "dropout_op_kwargs": {"p": 0.3, "inplace": True}},
    ],
    ids=["no normalization", "dropout in place"],
)
def test_layers_that_overwrite_what_a_convolution_returned(
    network_class: type[UNet], shape: Shape, options: dict[str, Any]
) -> None:
    options = {**options, "nonlin_kwargs": {"inplace": True}}
    network = build(network_class, shape, deep_supervision=True, options=options)
    _, gradients = trained(network, shape.batch())
    _, expected = trained(keeps_all(network), shape.batch())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name])


def test_prediction_computes_once() -> None:
    calls = 0

    def count(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return x.sigmoid()

    x = torch.zeros(3, requires_grad=True)
    with torch.no_grad():
        economical(count, x, draws_random_numbers=False)
    assert calls == 1
    economical(count, x, draws_random_numbers=False).sum().backward()
    assert calls == 3
