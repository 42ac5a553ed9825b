"""Carve-out along a skeleton: everything is held, always by the same windows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from evaluated import ball, blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_ext.cascade.skeleton import Order, skeleton_points, skeleton_windows
from nnunet_ext.cascade.windows import Windows, jittered, recall_ceiling

ORDERS: tuple[Order, ...] = ("lexicographic", "greedy")
PAPER = {"margin": (0, 0, 0), "complete": False}


def tube(radius: float, *, length: int = 200, side: int = 40) -> NDArray[np.bool_]:
    z, y, x = np.mgrid[:side, :side, :length]
    inside: NDArray[np.bool_] = (
        ((z - side // 2) ** 2 + (y - side // 2) ** 2 <= radius**2) & (x > 5) & (x < length - 5)
    )
    return inside


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(4))
def test_everything_of_the_mask_is_held_and_no_window_sticks_out(order: Order, seed: int) -> None:
    mask = blobs(seed, shape=(30, 44, 37))
    windows = skeleton_windows(mask, size=(12, 16, 10), order=order)
    assert recall_ceiling(mask, windows) == 1
    assert (windows.origins >= 0).all()
    assert (windows.origins + windows.size <= mask.shape).all()
    again = skeleton_windows(mask, size=(12, 16, 10), order=order)
    assert np.array_equal(windows.origins, again.origins)


@pytest.mark.parametrize("order", ORDERS)
def test_without_the_margin_every_point_of_the_skeleton_is_held_all_the_same(order: Order) -> None:
    mask = tube(7)
    windows = skeleton_windows(mask, size=(32, 32, 32), order=order, **PAPER)  # type: ignore[arg-type]
    points = skeleton_points(mask)
    assert windows.covered()[tuple(points.T)].all()
    assert len(windows) <= len(points)


@pytest.mark.parametrize("radius", [4, 7])
def test_the_papers_claim_that_all_of_the_vessel_is_held(radius: float) -> None:
    """It does not hold as the paper writes it down, and holds with a margin (SPEC A1.2)."""
    mask = tube(radius, length=198)
    paper = skeleton_windows(mask, size=(32, 32, 32), **PAPER)  # type: ignore[arg-type]
    assert 0.99 < recall_ceiling(mask, paper) < 1
    for margin in (4, 8):
        ours = skeleton_windows(mask, size=(32, 32, 32), margin=(margin,) * 3, complete=False)
        assert recall_ceiling(mask, ours) == 1


def test_greedy_takes_fewer_windows() -> None:
    mask = tube(4)
    counts = [len(skeleton_windows(mask, size=(32, 32, 32), order=order)) for order in ORDERS]
    assert counts[1] < counts[0]


def test_an_inner_window_of_even_size_reaches_from_c_minus_16_to_c_plus_15() -> None:
    mask = np.zeros((80, 80, 80), bool)
    mask[40, 41, 42] = True
    windows = skeleton_windows(mask, size=(32, 32, 32))
    assert windows.origins.tolist() == [[24, 25, 26]]


@pytest.mark.parametrize("order", ORDERS)
@given(corner=st.tuples(*[st.sampled_from((0, 1, -1))] * 3))
@settings(max_examples=12)
def test_a_voxel_at_the_edge_gets_one_window_inside(order: Order, corner: tuple[int, ...]) -> None:
    mask = np.zeros((40, 40, 40), bool)
    mask[corner] = True
    windows = skeleton_windows(mask, size=(16, 16, 16), order=order)
    assert len(windows) == 1
    assert recall_ceiling(mask, windows) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_an_empty_mask_has_no_windows(order: Order) -> None:
    windows = skeleton_windows(np.zeros((9, 9, 9), bool), size=(4, 4, 4), order=order)
    assert len(windows) == 0
    assert not windows.covered().any()


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6, 20])
def test_a_cube_of_any_size_has_a_skeleton(side: int) -> None:
    """scikit-image thins cubes of even size away altogether."""
    mask = np.zeros((24, 24, 24), bool)
    mask[2 : 2 + side, 2 : 2 + side, 2 : 2 + side] = True
    points = skeleton_points(mask)
    assert len(points) >= 1
    assert mask[tuple(points.T)].all()


def test_every_component_has_a_point() -> None:
    mask = np.zeros((20, 20, 60), bool)
    for start, side in ((1, 1), (6, 2), (12, 4), (20, 6), (30, 5)):
        mask[2 : 2 + side, 2 : 2 + side, start : start + side] = True
    windows = skeleton_windows(mask, size=(4, 4, 4), **PAPER)  # type: ignore[arg-type]
    for start, side in ((1, 1), (6, 2), (12, 4), (20, 6), (30, 5)):
        part = np.zeros_like(mask)
        part[..., start : start + side] = mask[..., start : start + side]
        assert recall_ceiling(part, windows) > 0, side


def test_a_volume_smaller_than_a_window_lies_in_its_middle() -> None:
    windows = skeleton_windows(np.ones((6, 40, 7), bool), size=(16, 16, 16))
    assert set(windows.origins[:, 0].tolist()) == {-5}
    assert set(windows.origins[:, 2].tolist()) == {-4}
    assert windows.covered().all()


def test_dilation_holds_what_the_coarse_network_missed() -> None:
    reference = tube(5)
    seen = reference.copy()
    seen[..., 80:100] = False  # a gap
    plain, grown = (
        recall_ceiling(reference, skeleton_windows(seen, size=(8, 16, 16), dilation=steps))
        for steps in (0, 5)
    )
    assert plain < grown


def test_what_is_no_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="in 2D there is no skeleton"):
        skeleton_windows(np.ones((9, 9), bool), size=(4, 4))
    with pytest.raises(ValueError, match="expected margins below half"):
        skeleton_windows(ball(3), size=(8, 8, 8), margin=(4, 0, 0))


@pytest.mark.parametrize("reach", [(0, 0, 0), (3, 5, 0)])
def test_a_moved_window_stays_in_the_volume(reach: Sequence[int]) -> None:
    windows = skeleton_windows(tube(4), size=(16, 16, 16))
    moved = jittered(windows, reach=reach, rng=np.random.default_rng(0))
    assert (abs(moved.origins - windows.origins) <= reach).all()
    assert (moved.origins >= 0).all()
    assert (moved.origins + moved.size <= moved.shape).all()
    if not any(reach):
        assert np.array_equal(moved.origins, windows.origins)


def test_the_ceiling_needs_the_same_volume() -> None:
    windows = Windows(np.zeros((1, 3), np.int64), (2, 2, 2), (4, 4, 4))
    assert np.isnan(recall_ceiling(np.zeros((4, 4, 4)), windows))
    with pytest.raises(ValueError, match="expected a reference of shape"):
        recall_ceiling(np.zeros((4, 4, 5)), windows)
