"""Kinds of voxels, and the cases and slices that are shown."""

from __future__ import annotations

import numpy as np
import pytest
from evaluated import blobs

from nnunet_ext.evaluation.report.agreement import COLORS, Kind, agreement
from nnunet_ext.evaluation.report.overlays import cuts_of


def test_kinds_add_up_to_what_overlap_counts() -> None:
    prediction, reference = blobs(0), blobs(1)
    kinds = agreement(prediction, reference)
    assert (kinds == Kind.AGREEMENT).sum() == (prediction & reference).sum()
    assert (kinds == Kind.MISSED).sum() == (reference & ~prediction).sum()
    assert (kinds == Kind.EXTRA).sum() == (prediction & ~reference).sum()
    assert (kinds == Kind.NOTHING).sum() == (~prediction & ~reference).sum()


def test_an_ignored_voxel_is_neither_right_nor_wrong() -> None:
    kinds = agreement(np.array([0, 1, 2]), np.array([7, 7, 2]), ignore=7)
    assert kinds.tolist() == [Kind.IGNORED, Kind.IGNORED, Kind.AGREEMENT]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="expected one shape"):
        agreement(np.zeros((2, 2)), np.zeros((2, 3)))


def test_colors_are_told_apart_in_gray_as_well() -> None:
    def lightness(color: str) -> float:
        red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    shown = sorted(lightness(COLORS[kind]) for kind in (Kind.AGREEMENT, Kind.MISSED, Kind.EXTRA))
    assert all(np.diff(shown) > 0.1)


def test_of_a_perfect_case_the_fullest_slices_are_shown() -> None:
    kinds = np.zeros((5, 6, 7), np.uint8)
    kinds[3, 1:5, 1:6] = kinds[1:4, 2, 1:6] = kinds[1:4, 1:5, 4] = Kind.AGREEMENT
    assert [(cut.axis, cut.index) for cut in cuts_of(kinds)] == [(0, 3), (1, 2), (2, 4)]


def test_an_empty_case_shows_its_middle() -> None:
    assert [cut.index for cut in cuts_of(np.zeros((4, 6, 8), np.uint8))] == [2, 3, 4]
    assert [cut.axis for cut in cuts_of(np.zeros((1, 6, 8), np.uint8))] == [0]
