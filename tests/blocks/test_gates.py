"""SPEC F.1 and F.2: attention gates."""

from __future__ import annotations

import pytest
import torch
from layer_settings import SETTINGS
from torch import nn

from nnunet_ext.blocks import AttentionGate, GatedConcat, GridAttentionGate


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def maps(dim: int, *, channels: int = 6, gating_channels: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    size = (5, 7, 9)[:dim]
    return (
        torch.randn(2, channels, *size, dtype=torch.float64),
        torch.randn(2, gating_channels, *size, dtype=torch.float64),
    )


def additive(dim: int) -> AttentionGate:
    return AttentionGate(6, 4, settings=SETTINGS[dim]).double()


@pytest.mark.parametrize("dim", [2, 3])
def test_formula_of_the_paper(dim: int) -> None:
    gate = additive(dim)
    x, g = maps(dim)
    convolve = nn.functional.conv2d if dim == 2 else nn.functional.conv3d
    q = torch.relu(
        convolve(x, gate.skip.weight) + convolve(g, gate.gating.weight) + _column(gate.gating.bias, dim)
    )
    expected = x * torch.sigmoid(convolve(q, gate.psi.weight) + gate.psi.bias)
    torch.testing.assert_close(gate(x, g), expected, rtol=0, atol=1e-12)
    # One bias for the sum.
    assert gate.skip.bias is None


def _column(values: torch.Tensor, dim: int) -> torch.Tensor:
    return values.reshape(1, -1, *(1,) * dim)


@pytest.mark.parametrize("dim", [2, 3])
def test_saturation(dim: int) -> None:
    gate = additive(dim)
    x, g = maps(dim)
    nn.init.zeros_(gate.psi.weight)
    nn.init.constant_(gate.psi.bias, 30.0)
    torch.testing.assert_close(gate(x, g), x, rtol=0, atol=1e-6)
    nn.init.constant_(gate.psi.bias, -30.0)
    assert (gate(x, g).abs() <= 1e-6 * x.abs()).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_one_weight_a_voxel_that_depends_on_the_deep_features(dim: int) -> None:
    gate = additive(dim)
    x, g = maps(dim)
    weights = gate.weights(x, g)
    assert weights.shape == (2, 1, *x.shape[2:])
    assert ((weights > 0) & (weights < 1)).all()
    g.requires_grad_()
    gate(x, g).sum().backward()
    assert float(g.grad.abs().max()) > 0
    ratio = gate(x, torch.randn_like(g)) / x
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (5, 7, 9), (4, 6, 8)])
def test_grid_gate_keeps_the_size_of_the_skip(size: tuple[int, ...]) -> None:
    dim = len(size)
    gate = GridAttentionGate(6, 4, stride=(2,) * dim, settings=SETTINGS[dim]).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    g = torch.randn(2, 4, *(n // 2 for n in size), dtype=torch.float64)
    assert gate.weights(x, g).shape == (2, 1, *size)
    assert gate(x, g).shape == x.shape


def test_grid_gate_saturates_to_the_identity_without_its_projection() -> None:
    settings = SETTINGS[3]
    bare = GridAttentionGate(6, 4, stride=(1, 2, 2), settings=settings, use_output_projection=False).double()
    x = torch.randn(1, 6, 3, 4, 6, dtype=torch.float64)
    g = torch.randn(1, 4, 3, 2, 3, dtype=torch.float64)
    nn.init.zeros_(bare.psi.weight)
    nn.init.constant_(bare.psi.bias, 30.0)
    torch.testing.assert_close(bare(x, g), x, rtol=0, atol=1e-6)


def test_grid_gate_takes_deep_features_of_another_grid() -> None:
    gate = GridAttentionGate(6, 4, stride=(2, 2), settings=SETTINGS[2])
    assert gate(torch.randn(1, 6, 8, 8), torch.randn(1, 4, 2, 2)).shape == (1, 6, 8, 8)


def test_a_wide_open_gate_is_the_plain_skip() -> None:
    fusion = GatedConcat(8, 4, stride=(2, 2), settings=SETTINGS[2]).double()
    nn.init.zeros_(fusion.gate.psi.weight)
    nn.init.constant_(fusion.gate.psi.bias, 40.0)
    deep = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    skip = torch.randn(2, 4, 6, 8, dtype=torch.float64)
    expected = torch.cat((fusion.upsample(deep), skip), dim=1)
    torch.testing.assert_close(fusion(deep, skip), expected, rtol=0, atol=1e-12)


def test_gradcheck() -> None:
    gate = additive(2)
    inputs = tuple(m[:1, :, :3, :3].clone().requires_grad_() for m in maps(2))
    assert torch.autograd.gradcheck(gate, inputs, fast_mode=True)
