"""Plane by plane resampling against nnU-Net's own functions on whole volumes."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.preprocessing.resampling.no_resampling import no_resampling_hack
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

from nnunet_ext.inference.resampling import AxisMap, axis_maps, resampled_planes, resampled_whole

# Shape, new shape, spacing before and after: up, down, odd, one voxel, anisotropic along each axis.
GRIDS = [
    ((7, 10, 9), (12, 17, 14), (1, 1, 1), (0.6, 0.6, 0.6)),
    ((12, 17, 14), (7, 10, 9), (0.6, 0.6, 0.6), (1, 1, 1)),
    ((7, 10, 9), (7, 13, 9), (1, 1, 1), (1, 0.8, 1)),
    ((1, 10, 9), (1, 21, 5), (5, 1, 1), (5, 0.5, 2)),
    ((4, 10, 9), (9, 13, 12), (5, 1, 1), (2.2, 0.8, 0.8)),
    ((9, 10, 9), (4, 13, 7), (2.2, 0.8, 0.8), (5, 0.6, 1)),
    ((10, 4, 9), (13, 9, 12), (1, 5, 1), (0.8, 2.2, 0.8)),
    ((10, 9, 4), (13, 12, 9), (1, 1, 5), (0.8, 0.8, 2.2)),
    ((10, 9, 4), (13, 12, 4), (1, 1, 5), (0.8, 0.8, 5)),
    ((10, 9, 8), (5, 9, 12), (1, 5, 5), (2, 5, 3.3)),
    ((6, 7, 8), (6, 7, 8), (1, 1, 1), (1, 1, 1)),
]
FUNCTIONS: list[Any] = [
    partial(resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=0, force_separate_z=None),
    partial(resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=1, force_separate_z=None),
    partial(resample_data_or_seg_to_shape, is_seg=False, order=0, order_z=0, force_separate_z=None),
    partial(resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=0, force_separate_z=False),
    partial(resample_torch_fornnunet, is_seg=False, force_separate_z=None),
    partial(resample_torch_fornnunet, is_seg=False, force_separate_z=False, mode="nearest-exact"),
]


def both(
    function: Any, grid: tuple[tuple[Any, ...], ...], axis: int
) -> tuple[torch.Tensor, np.ndarray] | None:
    shape, new_shape, before, after = grid
    volume = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    maps = axis_maps(
        function, shape=shape, new_shape=new_shape, current_spacing_mm=before, new_spacing_mm=after
    )
    if maps is None:
        return None
    order = (axis, 1 - axis, 2)
    view = torch.from_numpy(volume).permute(0, *(a + 1 for a in order))
    planes = (view[:, n] for n in range(view.shape[1]))
    result = torch.stack(list(resampled_planes(planes, [maps[a] for a in order])), 1)
    return result.permute(0, *(a + 1 for a in order)), function(volume, list(new_shape), before, after)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.func.__name__} {f.keywords}")
def test_planes_are_those_of_nnunet(function: Any, grid: tuple[tuple[Any, ...], ...], axis: int) -> None:
    got = both(function, grid, axis)
    assert got is not None
    # Coordinates in float32 on both sides.
    np.testing.assert_allclose(got[0], got[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        partial(resample_data_or_seg_to_shape, is_seg=False, order=3, order_z=0, force_separate_z=None),
        partial(resample_data_or_seg_to_shape, is_seg=False, order=1, order_z=3, force_separate_z=True),
        partial(resample_data_or_seg_to_shape, is_seg=True, order=1, order_z=0),
        partial(resample_torch_fornnunet, is_seg=True),
        partial(resample_torch_fornnunet, force_separate_z=True, aniso_axis_mode="nearest"),
        lambda data, *arguments: data,
    ],
)
def test_what_is_not_linear_along_axes_is_left_to_nnunet(function: Any) -> None:
    assert both(function, GRIDS[4], 0) is None


def test_no_resampling_changes_nothing() -> None:
    got = both(partial(no_resampling_hack), GRIDS[-1], 1)
    assert got is not None
    assert np.array_equal(got[0], got[1])


def test_the_whole_volume_goes_through_nnunets_function_once() -> None:
    function = partial(resample_data_or_seg_to_shape, order=3, force_separate_z=False)
    volume = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    planes = (torch.from_numpy(volume[:, n]) for n in range(5))
    arguments = ((8, 9, 10), (1, 1, 1), (0.6, 0.6, 0.6))
    result = torch.stack(list(resampled_whole(planes, function, *arguments)), 1)
    assert np.array_equal(result, function(volume, *arguments))


@pytest.mark.parametrize(("before", "after"), [(40, 100), (100, 40), (50, 50)])
def test_few_planes_are_held_and_none_is_made_early(before: int, after: int) -> None:
    """At most the two that a plane lies between; and a plane comes as soon as it can."""
    alive = 0

    class Counted(torch.Tensor):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    taken = 0
    most = 0

    def planes() -> Any:
        nonlocal alive, taken, most
        for _ in range(before):
            alive += 1
            taken += 1
            most = max(most, alive)
            yield torch.zeros(1, 2, 2).as_subclass(Counted)

    same = AxisMap(2, 2)
    _, high, _ = AxisMap(before, after).sources()
    for number, _plane in enumerate(resampled_planes(planes(), (AxisMap(before, after), same, same))):
        assert taken == high[number] + 1
    assert most <= 4  # two held, the one in hand, and the consumer's
