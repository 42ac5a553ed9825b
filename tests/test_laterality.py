"""Left and right in dataset.json."""

from __future__ import annotations

import re
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.laterality import Laterality, laterality_of, pairs_by_name, patch_axis

LABELS = {"background": 0, "lens left": 1, "lens right": 2}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, Laterality((), 2)),
        ({"pairs": []}, Laterality((), 2)),
        ({"pairs": [["lens left", "lens right"]], "axis": 0}, Laterality((("lens left", "lens right"),), 0)),
    ],
)
def test_reads_a_record(record: dict[str, Any], expected: Laterality) -> None:
    assert laterality_of({"labels": LABELS, "laterality": record}) == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"axis": 3}, "axis"),
        ({"axis": "x"}, "axis"),
        ({"pairs": [["lens left"]]}, "pairs"),
        ({"pairs": ["lens left", "lens right"]}, "pairs"),
        ({"sides": []}, "sides"),
        ([["lens left", "lens right"]], "expected {"),
        ({"pairs": [["lens left", "lens rihgt"]]}, "no labels ['lens rihgt']"),
    ],
)
def test_refuses_what_it_cannot_read(record: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        laterality_of({"labels": LABELS, "laterality": record})


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        (["background", "liver", "tumour"], ()),
        (["kidney_left", "kidney_right"], (("kidney_left", "kidney_right"),)),
        (["Left lung", "Right lung"], (("Left lung", "Right lung"),)),
        (["Lens_L", "Lens_R", "Eye_L"], (("Lens_L", "Lens_R"),)),
        (
            ["lung_upper_lobe_left", "lung_upper_lobe_right"],
            (("lung_upper_lobe_left", "lung_upper_lobe_right"),),
        ),
        (["left ventricle", "liver", "river"], ()),
        (["Femur left (l)", "Femur right (r)"], (("Femur left (l)", "Femur right (r)"),)),
    ],
)
def test_pairs_by_name(labels: list[str], pairs: tuple[tuple[str, str], ...]) -> None:
    assert pairs_by_name(labels) == pairs


@given(st.sampled_from(list(permutations(range(3)))), st.integers(0, 2))
def test_the_patch_axis_is_where_the_transposed_image_has_it(transpose: tuple[int, ...], axis: int) -> None:
    sizes = np.array([5, 7, 11])
    transposed = np.zeros(sizes).transpose(transpose)
    in_3d = patch_axis(axis, transpose_forward=transpose, dimensions=3)
    assert in_3d is not None
    assert transposed.shape[in_3d] == sizes[axis]
    in_2d = patch_axis(axis, transpose_forward=transpose, dimensions=2)
    if in_2d is None:
        assert transposed.shape[0] == sizes[axis]
    else:
        assert transposed[0].shape[in_2d] == sizes[axis]
