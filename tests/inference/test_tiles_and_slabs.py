"""Tiles are nnU-Net's; what leaves the rolling slab is what the whole volume would hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian

from nnunet_ext.inference.slabs import Slab
from nnunet_ext.inference.tiles import Tiling, padded, tiling

SHAPES = [
    ((20, 30, 25), (8, 16, 12), 0.5),
    ((8, 16, 12), (8, 16, 12), 0.5),
    ((9, 33, 12), (8, 16, 12), 1.0),
    ((7, 30, 25), (16, 12), 0.3),
]


class _Plan:
    def __init__(self, patch_size: tuple[int, ...]) -> None:
        self.patch_size = patch_size


@pytest.mark.parametrize(("shape", "patch", "step"), SHAPES)
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_tiles_are_those_of_nnunet(
    shape: tuple[int, ...],
    patch: tuple[int, ...],
    step: float,
    axis: int | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if len(patch) == 2 and axis == 1:
        with pytest.raises(ValueError, match="expected axis 0"):
            tiling(shape, patch, step_size=step, axis=axis)
        return
    stock = nnUNetPredictor(tile_step_size=step, device=torch.device("cpu"))
    stock.configuration_manager = _Plan(patch)
    slicers = stock._internal_get_sliding_window_slicers(shape)
    starts = {tuple(s if isinstance(s, int) else s.start for s in slicer[1:]) for slicer in slicers}
    tiles = tiling(shape, patch, step_size=step, axis=axis)
    assert len(tiles) == len(slicers)
    assert set(tiles.origins) == starts
    along = [origin[tiles.axis] for origin in tiles.origins]
    assert along == sorted(along)


def test_the_weights_are_those_of_nnunet() -> None:
    stock = compute_gaussian((8, 16, 12), value_scaling_factor=10, device=torch.device("cpu"))
    weights = tiling((8, 16, 12), (8, 16, 12)).weights()
    assert stock.dtype is torch.float16
    assert torch.equal(weights, stock.float())
    assert weights.min() > 0
    assert tiling((3, 16, 12), (16, 12)).weights().shape == (1, 16, 12)


def test_the_axis_with_less_in_flight_is_taken() -> None:
    assert tiling((300, 60, 50), (30, 30, 30)).axis == 0
    assert tiling((60, 300, 50), (30, 30, 30)).axis == 1


def test_a_step_that_leaves_gaps_is_refused() -> None:
    for step in (0, -0.5, 1.1):
        with pytest.raises(ValueError, match="step size above 0 and at most 1"):
            tiling((20, 20, 20), (8, 8, 8), step_size=step)


def test_a_small_volume_is_padded_as_nnunet_pads() -> None:
    volume = torch.randn(2, 5, 20, 7)
    larger, place = padded(volume, (8, 8, 8))
    assert larger.shape == (2, 8, 20, 8)
    assert torch.equal(larger[(slice(None), *place)], volume)
    assert larger.abs().sum() == pytest.approx(volume.abs().sum())
    same, place = padded(volume, (4, 4))
    assert same.data_ptr() == volume.data_ptr()


@settings(max_examples=40)
@given(
    shape=st.tuples(*[st.integers(6, 20)] * 3),
    size=st.tuples(*[st.integers(2, 6)] * 3),
    step=st.sampled_from([0.3, 0.5, 0.75, 1.0]),
    seed=st.integers(0, 99),
)
def test_a_rolling_slab_gives_what_the_whole_volume_holds(
    shape: tuple[int, ...], size: tuple[int, ...], step: float, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    tiles = tiling(shape, size, step_size=step, axis=0)
    weights = tiles.weights()
    answers = {origin: torch.randn(2, *size, generator=rng) for origin in tiles.origins}
    sums, total = torch.zeros(2, *shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    for origin in tiles.origins:  # small steps give nnU-Net, and us, some tiles twice
        answer = answers[origin]
        part = tuple(slice(o, o + n) for o, n in zip(origin, size, strict=True))
        sums[(slice(None), *part)] += answer * weights
        total[part] += weights
    rolled = torch.stack(list(_rolled(tiles, answers, weights)), 1)
    np.testing.assert_allclose(rolled, sums / total, rtol=1e-4, atol=1e-5)


def _rolled(
    tiles: Tiling, answers: dict[tuple[int, ...], torch.Tensor], weights: torch.Tensor
) -> list[torch.Tensor]:
    slab = Slab(tiles.shape, depth=tiles.size[0], heads=2)
    planes = []
    for start, origins in tiles.rows():
        planes += list(slab.planes(start))
        for origin in origins:
            slab.add(answers[origin], weights=weights, origin=origin)
    return planes + list(slab.planes(tiles.shape[0]))


def test_memory_of_a_slab_does_not_grow_with_the_volume() -> None:
    short, long = (Slab((n, 16, 16), depth=8, heads=5) for n in (10, 1000))
    assert short.nbytes == long.nbytes == (5 + 1) * 8 * 16 * 16 * 4


def test_a_tile_out_of_order_is_refused() -> None:
    slab = Slab((20, 4, 4), depth=4, heads=1)
    tile, weights = torch.ones(1, 4, 4, 4), torch.ones(4, 4, 4)
    with pytest.raises(ValueError, match="expected a tile of planes 0 to 3, got 1 to 4"):
        slab.add(tile, weights=weights, origin=(1, 0, 0))
    slab.add(tile, weights=weights, origin=(0, 0, 0))
    assert len(list(slab.planes(2))) == 2
    with pytest.raises(ValueError, match="expected a tile of planes 2 to 5, got 0 to 3"):
        slab.add(tile, weights=weights, origin=(0, 0, 0))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_never_becomes_a_label(value: float) -> None:
    slab = Slab((4, 4, 4), depth=4, heads=2)
    tile = torch.zeros(2, 4, 4, 4)
    tile[1, 2, 3, 3] = value
    slab.add(tile, weights=torch.ones(4, 4, 4), origin=(0, 0, 0))
    with pytest.raises(FloatingPointError, match="plane 2"):
        list(slab.planes(4))
