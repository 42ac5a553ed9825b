"""Equation 8 of paper 002 in nnU-Net's loader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nnunet_ext.trainers.case_data import CaseLocations
from nnunet_ext.trainers.planned_crop import (
    ATTEMPTS,
    THRESHOLDS,
    PlannedCropLoader,
    first_accepted,
    window_sums,
)
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager


def test_thresholds_are_the_paper_s() -> None:
    """F.13."""
    assert len(THRESHOLDS) == ATTEMPTS == 100
    assert THRESHOLDS[[0, 1, 4, 9, 99]] == pytest.approx([0.40, 0.30, 0.24, 0.22, 0.202])


@pytest.mark.parametrize(
    ("shares", "taken"),
    [
        ([1.0], 0),
        ([0.4, 1.0], 0),
        ([0.39, 0.3], 1),
        ([0.39, 0.29, 0.27], 2),
        ([0.2, 0.1, 0.19], 0),
        ([0.2] * 50 + [0.201] + [0.2] * 49, 50),
    ],
)
def test_the_first_that_reaches_its_threshold_else_the_best(shares: list[float], taken: int) -> None:
    assert first_accepted(shares) == taken


@given(
    arrays(np.int64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5)),
    st.lists(st.tuples(st.integers(-12, 12), st.integers(-12, 12)), min_size=1, max_size=5),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
)
def test_window_sums(image: np.ndarray, corners: list[tuple[int, int]], size: tuple[int, int]) -> None:
    padded = np.pad(image, 30)
    expected = [padded[y + 30 : y + 30 + size[0], x + 30 : x + 30 + size[1]].sum() for y, x in corners]
    assert window_sums(image, np.array(corners), size).tolist() == expected


class OneCase:
    """A dataset of one segmentation."""

    identifiers = ("case",)

    def __init__(self, segmentation: np.ndarray) -> None:
        self.segmentation = segmentation


def loader(patch: tuple[int, ...], *, final: tuple[int, ...] | None = None, ignore: bool = False) -> Any:
    labels = {"background": 0, "bone": 1, "marrow": 2, **({"ignore": 3} if ignore else {})}
    data: Any = OneCase(np.zeros((1, 1, 1, 1)))
    return PlannedCropLoader(data, 2, patch, final or patch, LabelManager(labels, None))


def locations_of(segmentation: np.ndarray) -> CaseLocations:
    """As nnU-Net's preprocessing stores them: (channel, z, y, x)."""
    found: dict[Any, Any] = {label: np.argwhere(segmentation == label) for label in (1, 2)}
    found[(-1, 0, 1, 2)] = np.argwhere((segmentation >= -1) & (segmentation <= 2))
    return CaseLocations(found, segmentation=segmentation)


def share_of(
    segmentation: np.ndarray, box: tuple[list[int], list[int]], *, margin: tuple[int, int, int] = (0, 0, 0)
) -> float:
    """Share of the slab's foreground in the box without its margin."""
    first = [n + m for n, m in zip(box[0], margin, strict=True)]
    last = [n - m for n, m in zip(box[1], margin, strict=True)]
    foreground = (segmentation[0] > 0) & (segmentation[0] < 3)
    slab = foreground[max(first[0], 0) : last[0]]
    window = slab[:, max(first[1], 0) : last[1], max(first[2], 0) : last[2]]
    return float(window.sum() / slab.sum())


def scattered(seed: int, shape: tuple[int, int, int] = (12, 64, 64)) -> np.ndarray:
    """Bone in a corner of each slice, a little of it elsewhere."""
    rng = np.random.default_rng(seed)
    segmentation = np.zeros((1, *shape), dtype=np.int16)
    segmentation[0, :, 40:56, 40:56] = 1
    segmentation[0][rng.random(shape) < 0.01] = 2
    return segmentation


@pytest.mark.parametrize("patch", [(20, 20), (4, 20, 20)], ids=["2d", "3d"])
@pytest.mark.parametrize("ignore", [False, True])
def test_crops_hold_a_fifth_where_one_can(patch: tuple[int, ...], ignore: bool) -> None:
    segmentation = scattered(0)
    if ignore:
        segmentation[0, :, :20] = 3  # counts for nothing
    planned, locations = loader(patch, ignore=ignore), locations_of(segmentation)
    np.random.seed(0)
    shares, plain, slices = [], [], set()
    for _ in range(60):
        box = planned.get_bbox(segmentation.shape[1:], False, locations)
        assert [b - a for a, b in zip(*box, strict=True)] == [*(1,) * (3 - len(patch)), *patch]
        shares.append(share_of(segmentation, box))
        slices.add(box[0][0])
        unplanned = nnUNetDataLoader.get_bbox(planned, segmentation.shape[1:], False, locations)
        plain.append(share_of(segmentation, unplanned))
    # One of the 100 is nearly always found; without planning most crops hold less.
    assert np.mean(np.array(shares) >= 0.2) > 0.95
    assert np.mean(np.array(plain) >= 0.2) < 0.6
    assert len(slices) > 4


def test_the_share_is_that_of_the_middle_which_the_network_sees() -> None:
    segmentation = scattered(1)
    planned = loader((8, 36, 36), final=(4, 20, 20))
    locations = locations_of(segmentation)
    np.random.seed(1)
    boxes = [planned.get_bbox(segmentation.shape[1:], False, locations) for _ in range(60)]
    assert np.mean([share_of(segmentation, box, margin=(2, 8, 8)) >= 0.2 for box in boxes]) > 0.95


def test_a_slice_without_foreground_takes_the_first_crop() -> None:
    segmentation = np.zeros((1, 6, 64, 64), dtype=np.int16)
    planned, locations = loader((20, 20)), locations_of(segmentation)
    np.random.seed(2)
    planned_box = planned.get_bbox(segmentation.shape[1:], False, locations)
    np.random.seed(2)
    assert planned_box == nnUNetDataLoader.get_bbox(planned, segmentation.shape[1:], False, locations)


def test_a_hundred_failures_end_with_the_best() -> None:
    """Bone so far apart that no window holds a fifth of it."""
    segmentation = np.zeros((1, 1, 256, 256), dtype=np.int16)
    segmentation[0, 0, 8::40, 8::40] = 1  # 7 x 7 voxels; a window of 16 holds one of them at most
    planned, locations = loader((16, 16)), locations_of(segmentation)
    np.random.seed(3)
    shares = [share_of(segmentation, planned.get_bbox((1, 256, 256), False, locations)) for _ in range(20)]
    assert shares == pytest.approx([1 / 49] * 20)


def test_oversampled_crops_keep_their_slab() -> None:
    segmentation = np.zeros((1, 30, 64, 64), dtype=np.int16)
    segmentation[0, 20:22, 30:34, 30:34] = 1
    planned, locations = loader((4, 20, 20)), locations_of(segmentation)
    np.random.seed(4)
    for _ in range(20):
        first, last = planned.get_bbox(segmentation.shape[1:], True, locations)
        assert first[0] <= 21
        assert last[0] > 20
        assert share_of(segmentation, (first, last)) >= 0.2


def test_images_smaller_than_the_patch() -> None:
    segmentation = np.ones((1, 2, 10, 70), dtype=np.int16)
    planned, locations = loader((4, 20, 20)), locations_of(segmentation)
    first, last = planned.get_bbox(segmentation.shape[1:], False, locations)
    assert [b - a for a, b in zip(first, last, strict=True)] == [4, 20, 20]
    assert first[1] <= 0
    assert last[1] >= 10


def test_a_dataset_without_segmentations_is_nnunet_s() -> None:
    segmentation = scattered(5)
    planned, plain = loader((20, 20)), dict(locations_of(segmentation))
    np.random.seed(5)
    box = planned.get_bbox(segmentation.shape[1:], True, plain)
    np.random.seed(5)
    assert box == nnUNetDataLoader.get_bbox(planned, segmentation.shape[1:], True, plain)
