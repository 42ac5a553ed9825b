"""SPEC F.7: position attention; squeeze-and-excitation."""

from __future__ import annotations

import pytest
import torch
from layer_settings import SETTINGS
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from nnunet_ext.blocks import PositionAttention, SqueezeExcitation


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def opened(channels: int = 16, dim: int = 3, gamma: float = 1.0) -> PositionAttention:
    block = PositionAttention(channels, settings=SETTINGS[dim]).double()
    nn.init.constant_(block.gamma, gamma)
    return block


def image(channels: int = 16, dim: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, *(3, 4, 5)[:dim], dtype=torch.float64)


def of_danet(block: PositionAttention, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The formula of SPEC A2.3 with the N x N matrix written out; also returns that matrix."""
    query, key, value = (layer(x).flatten(2) for layer in (block.query, block.key, block.value))
    attention = torch.softmax(torch.einsum("bci,bcj->bij", query, key), dim=-1)
    seen = torch.einsum("bcj,bij->bci", value, attention).reshape(x.shape)
    return block.gamma * seen + x, attention


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("channels", [1, 7, 8, 16, 19, 40])
def test_equals_danet(channels: int, dim: int) -> None:
    block, x = opened(channels, dim, gamma=0.7), image(channels, dim)
    expected, attention = of_danet(block, x)
    torch.testing.assert_close(block(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones_like(attention[..., 0]))


def test_gradients_equal_danet_s() -> None:
    block, x = opened(), image()
    ours, theirs = block(x), of_danet(block, x)[0]
    weights = torch.randn_like(x)
    parameters = list(block.parameters())
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), parameters),
        torch.autograd.grad((theirs * weights).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_silent_at_the_start_bit_by_bit() -> None:
    block = PositionAttention(16, settings=SETTINGS[3])
    x = image().float()
    assert torch.equal(block(x), x)


def test_it_is_equivariant_to_permutations_of_the_voxels() -> None:
    block, x = opened(), image()
    order = torch.randperm(60)

    def permuted(features: torch.Tensor) -> torch.Tensor:
        return features.flatten(2)[..., order].reshape(features.shape)

    torch.testing.assert_close(block(permuted(x)), permuted(block(x)))


def test_constant_in_constant_out() -> None:
    block = opened()
    y = block(torch.randn(1, 16, 1, 1, 1, dtype=torch.float64).expand(1, 16, 3, 4, 5).contiguous())
    torch.testing.assert_close(y, y[..., :1, :1, :1].expand_as(y))


@pytest.mark.parametrize("channels", [16, 19, 40])
def test_a_kernel_without_the_n_x_n_matrix_takes_it(channels: int) -> None:
    """The fused kernels want as many channels in V as in Q and K, which is why V comes in groups."""
    block, x = opened(channels).float(), image(channels).float()
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
        fused = block(x)
    torch.testing.assert_close(fused, of_danet(block, x)[0], rtol=1e-4, atol=1e-5)


def test_features_of_a_lower_precision_stay_so() -> None:
    block = PositionAttention(16, settings=SETTINGS[3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert block(image().bfloat16()).dtype == torch.bfloat16


def test_too_many_positions_are_refused() -> None:
    block = PositionAttention(8, settings=SETTINGS[2], max_positions=15)
    assert block(torch.zeros(1, 8, 3, 5)).shape == (1, 8, 3, 5)
    with pytest.raises(ValueError, match=r"at most 15 positions, got \(4, 4\) = 16: plan with more poolings"):
        block(torch.zeros(1, 8, 4, 4))


@pytest.mark.parametrize(("channels", "inner"), [(1, 1), (15, 1), (32, 2), (320, 20)])
def test_squeeze_excitation_gates_channels(channels: int, inner: int) -> None:
    gate = SqueezeExcitation(channels, settings=SETTINGS[3])
    assert gate.inner_channels == inner
    x = torch.randn(2, channels, 3, 4, 5)
    weights = gate.weights(x)
    assert weights.shape == (2, channels, 1, 1, 1)
    assert ((weights > 0) & (weights < 1)).all()
    mean = x.mean(dim=(2, 3, 4))
    hidden = torch.relu(mean @ gate.squeeze.weight.flatten(1).T + gate.squeeze.bias)
    expected = torch.sigmoid(hidden @ gate.excite.weight.flatten(1).T + gate.excite.bias)
    torch.testing.assert_close(weights.flatten(1), expected)
    torch.testing.assert_close(gate(x), x * expected[..., None, None, None])
