"""Constant tiles: the same bits as if the network had been asked, and nothing else is guessed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from torch import Tensor, nn

from nnunet_ext.inference.constant import ConstantTiles
from nnunet_ext.inference.forward import Forward


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.LeakyReLU(), nn.Conv3d(4, 3, 3, padding=1)
    )


@pytest.mark.parametrize("axes", [(), (0, 2)])
def test_reuse_is_what_the_network_says_to_the_bit(axes: tuple[int, ...]) -> None:
    forward = Forward([network()], mirroring_axes=axes)
    tiles = ConstantTiles(forward)
    constant = torch.tensor([0.3, -1.7])[None, :, None, None, None].expand(1, 2, 6, 6, 6)
    varied = torch.randn(1, 2, 6, 6, 6)
    for tile in (constant, varied, constant.clone(), varied, constant.contiguous()):
        assert torch.equal(tiles(tile), forward(tile.contiguous()))
    assert (tiles.asked, tiles.reused) == (3, 2)


def test_one_voxel_in_one_channel_is_enough_to_ask() -> None:
    tiles = ConstantTiles(Forward([network()]))
    tile = torch.zeros(1, 2, 6, 6, 6)
    tiles(tile)
    tile[0, 1, 5, 5, 5] = 1e-7
    tiles(tile)
    assert (tiles.asked, tiles.reused) == (2, 0)


def test_each_constant_has_its_own_answer_and_few_are_kept() -> None:
    tiles = ConstantTiles(lambda tile: tile * 2)
    for value in (1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 1.0):
        assert tiles(torch.full((1, 1, 2, 2), value)).mean() == 2 * value
    assert (tiles.asked, tiles.reused) == (5, 2)


def answer(background: float, other: float) -> ConstantTiles:
    def forward(tile: Tensor) -> Tensor:
        return torch.stack([torch.full_like(tile[:, 0], v) for v in (background, other)], 1)

    return ConstantTiles(forward, tolerance=0.01)


def test_nearly_constant_is_taken_only_for_certain_background() -> None:
    exact, near, far = (torch.zeros(1, 1, 4, 4).index_fill(3, torch.tensor([1]), v) for v in (0, 0.009, 0.02))
    for background, other, expected in ((5.0, 0.0, 2), (0.5, 0.0, 1), (0.0, 5.0, 1)):
        tiles = answer(background, other)
        for tile in (exact, near, far, exact):
            tiles(tile)
        assert tiles.reused == expected, (background, other)


def test_regions_are_background_where_all_are_below() -> None:
    for logit, expected in ((-3.0, 1), (-0.5, 0), (3.0, 0)):
        tiles = ConstantTiles(
            lambda tile, logit=logit: torch.full_like(tile, logit), tolerance=0.1, has_regions=True
        )
        tiles(torch.zeros(1, 2, 4, 4))
        tiles(torch.zeros(1, 2, 4, 4).index_fill(3, torch.tensor([0]), 0.05))
        assert tiles.reused == expected


def test_a_negative_tolerance_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance of 0 or more, got -1"):
        ConstantTiles(lambda tile: tile, tolerance=-1)


@pytest.mark.parametrize("size", [71, 97, 130])
@pytest.mark.parametrize("low", [-7.83, -1.0])
def test_clipped_air_is_constant_to_the_bit_near_a_resampled_body(low: float, size: int) -> None:
    """nnU-Net's cubic resampling rings; how far decides which tiles are constant."""
    rng = np.random.default_rng(0)
    image = np.full((1, 100, 12, 12), low, np.float32)
    image[:, 50:] = np.maximum(rng.normal(2, 3, (50, 12, 12)), low)
    spacing = (1.0, 1.0, 1.0), (100 / size, 12 / 13, 12 / 13)
    resampled = resample_data_or_seg_to_shape(
        image, (size, 13, 13), *spacing, order=3, force_separate_z=False
    )
    differs = (resampled[0] != np.float32(low)).any((1, 2))
    first_vox = (np.argmax(differs) + 0.5) * 100 / size
    assert 50 - 16 <= first_vox < 50
