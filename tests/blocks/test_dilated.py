"""SPEC F.5: the dense dilated pyramid."""

from __future__ import annotations

import pytest
import torch
from layer_settings import LINEAR, SETTINGS
from torch import nn

from nnunet_ext.blocks import DASP
from nnunet_ext.blocks.dilated import capped_dilation, dilated_conv

HOLES = {6, 11, 13, 14}


def summing(dim: int, *, dense_input: bool = True) -> DASP:
    """Every tap of every kernel is 1."""
    block = DASP(1, kernel_size=(3,) * dim, settings=LINEAR[dim], dense_input=dense_input).double()
    for parameter in block.parameters():
        nn.init.ones_(parameter)
    return block


def impulse(dim: int, extent: int = 41) -> torch.Tensor:
    x = torch.zeros(1, 1, *(extent,) * dim, dtype=torch.float64)
    x[(0, 0, *(extent // 2,) * dim)] = 1
    return x


def offsets_along_the_first_axis(response: torch.Tensor) -> set[int]:
    center = response.shape[-1] // 2
    line = response[(0, 0, slice(None), *(center,) * (response.dim() - 3))]
    return {int(i) - center for i in line.nonzero()}


@pytest.mark.parametrize("dense_input", [True, False])
@pytest.mark.parametrize("dim", [2, 3])
def test_the_receptive_field_is_33_without_holes(dim: int, dense_input: bool) -> None:
    response = summing(dim, dense_input=dense_input)(impulse(dim)).detach()
    assert offsets_along_the_first_axis(response) == set(range(-16, 17))
    assert int((response != 0).sum()) == 33**dim


def test_without_the_last_convolution_there_are_holes() -> None:
    """Why the last convolution must stay: 3, 5 and 7 alone leave gaps."""
    block = summing(2)
    x = impulse(2)
    for stage in block.dilated:
        x = stage[0](torch.cat([x] * stage[0].in_channels, dim=1))
    seen = offsets_along_the_first_axis(x.detach())
    assert seen == set(range(-15, 16)) - HOLES - {-hole for hole in HOLES}
    assert int((x != 0).sum()) == 529


@pytest.mark.parametrize(("dim", "factor"), [(2, 1), (3, 3)])
@pytest.mark.parametrize(("dense_input", "weights"), [(True, 90), (False, 72)])
def test_number_of_weights(dim: int, factor: int, dense_input: bool, weights: int) -> None:
    channels = 4
    block = DASP(channels, kernel_size=(3,) * dim, settings=LINEAR[dim], dense_input=dense_input)
    assert sum(p.numel() for p in block.parameters()) == factor * weights * channels**2


def test_literal_equation_1() -> None:
    """X1 = C3(X); X2 = C5(X1); X3 = C7([X2, X1]); Y = C1([X3, X2, X1, X])."""
    torch.manual_seed(0)
    block = DASP(3, kernel_size=(3, 3), settings=SETTINGS[2], dense_input=False).double()
    x = torch.randn(1, 3, 20, 20, dtype=torch.float64)
    c3, c5, c7 = block.dilated
    x1 = c3(x)
    x2 = c5(x1)
    x3 = c7(torch.cat((x2, x1), dim=1))
    torch.testing.assert_close(block(x), block.fuse(torch.cat((x3, x2, x1, x), dim=1)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((16, 16), (7, 7)), ((16, 9, 1), (7, 4, 1)), ((5, 4, 3), (2, 1, 1)), ((2, 15, 14), (1, 7, 6))],
)
def test_dilation_is_capped_by_the_feature_map(size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert capped_dilation(7, size) == expected


def test_capped_convolution_is_the_convolution_with_that_dilation() -> None:
    torch.manual_seed(0)
    layer = dilated_conv(2, 3, 7, kernel_size=(1, 3, 3), settings=SETTINGS[3])
    x = torch.randn(1, 2, 4, 9, 16)
    expected = nn.functional.conv3d(x, layer.weight, layer.bias, padding=(0, 4, 7), dilation=(1, 4, 7))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("size", [(16, 16), (3, 5), (1, 1), (4, 6, 8), (1, 7, 2)])
def test_channels_and_size_stay(size: tuple[int, ...]) -> None:
    dim = len(size)
    block = DASP(3, kernel_size=(3,) * dim, settings=LINEAR[dim])
    x = torch.randn(2, 3, *size)
    assert block(x).shape == x.shape
