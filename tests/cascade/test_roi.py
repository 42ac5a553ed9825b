"""Boxes of fixed size around organs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnunet_ext.cascade.roi import Group, fallback_window, group_windows, relative_center, roi_windows
from nnunet_ext.cascade.windows import recall_ceiling

SHAPE = (40, 50, 60)


def box(low: tuple[int, ...], high: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


corners = st.tuples(*[st.integers(0, n - 1) for n in SHAPE])


@given(corners, corners, st.tuples(*[st.integers(1, 70)] * 3))
def test_the_organ_is_held_whatever_its_size_and_place(
    a: tuple[int, ...], b: tuple[int, ...], size: tuple[int, ...]
) -> None:
    low, high = tuple(map(min, a, b)), tuple(n + 1 for n in map(max, a, b))
    mask = box(low, high)
    windows = roi_windows(mask, size=size)
    assert recall_ceiling(mask, windows) == 1
    inside = np.array(size) <= SHAPE
    assert (windows.origins[:, inside] >= 0).all()
    assert ((windows.origins + size)[:, inside] <= np.array(SHAPE)[inside]).all()
    fits = all(h - lo <= n for lo, h, n in zip(low, high, size, strict=True))
    assert (len(windows) == 1) == fits or len(windows) == 1


def test_a_small_organ_lies_in_the_middle() -> None:
    windows = roi_windows(box((20, 20, 20), (24, 26, 21)), size=(10, 10, 11))
    assert windows.origins.tolist() == [[17, 18, 15]]


def test_only_the_largest_component_counts_unless_all_are_asked_for() -> None:
    mask = box((5, 5, 5), (9, 9, 9)) | box((30, 40, 50), (32, 42, 52))
    assert len(roi_windows(mask, size=(8, 8, 8))) == 1
    assert recall_ceiling(mask, roi_windows(mask, size=(8, 8, 8))) == pytest.approx(64 / 72)
    assert recall_ceiling(mask, roi_windows(mask, size=(8, 8, 8), largest=False)) == 1


def test_a_stray_voxel_of_one_label_does_not_stretch_the_groups_box() -> None:
    coarse = np.zeros(SHAPE, np.uint8)
    coarse[10:14, 10:14, 10:14], coarse[10:14, 10:14, 30:34] = 3, 4
    coarse[39, 49, 59] = 3
    windows = group_windows(coarse, Group("lens", (3, 4), (16, 16, 32)))
    assert windows.origins.tolist() == [[4, 4, 6]]


def test_an_empty_mask_has_no_box() -> None:
    assert len(roi_windows(np.zeros(SHAPE, bool), size=(8, 8, 8))) == 0
    assert len(group_windows(np.zeros(SHAPE, np.uint8), Group("a", (1,), (8, 8, 8)))) == 0


def test_the_place_in_the_body_comes_back() -> None:
    body = box((2, 5, 5), (38, 45, 55))
    organ = box((10, 20, 30), (14, 26, 36))
    relative = relative_center(organ, body)
    assert relative is not None
    windows = fallback_window(relative, body, size=(8, 10, 10))
    assert windows.origins.tolist() == roi_windows(organ, size=(8, 10, 10)).origins.tolist()
    assert relative_center(np.zeros(SHAPE, bool), body) is None
    with pytest.raises(ValueError, match="expected a body"):
        relative_center(organ, np.zeros(SHAPE, bool))


def test_without_a_body_the_whole_volume_stands_for_it() -> None:
    windows = fallback_window((1.0, 1.0, 1.0), np.zeros(SHAPE, bool), size=(8, 8, 8))
    assert windows.origins.tolist() == [[32, 42, 52]]


@pytest.mark.parametrize(
    ("labels", "size", "message"),
    [
        ((), (8, 8, 8), "labels above 0"),
        ((0, 1), (8, 8, 8), "labels above 0"),
        ((1,), (8, 0, 8), "sizes above 0"),
    ],
)
def test_what_is_no_group_is_refused(
    labels: tuple[int, ...], size: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Group("a", labels, size)


def test_a_slice_has_no_box() -> None:
    with pytest.raises(ValueError, match="three dimensions"):
        roi_windows(np.ones((9, 9), bool), size=(4, 4))
