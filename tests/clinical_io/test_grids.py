"""World coordinates survive every turn of the axes; grids that differ are told apart."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
from clinical_images import oblique_direction, placed
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_ext.clinical_io.findings import CaseError
from nnunet_ext.clinical_io.grids import (
    GRID_TOLERANCE_MM,
    in_one_orientation,
    orientation,
    require_same_grid,
    to_index,
    to_world,
)

ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)
SPACINGS = st.tuples(*[st.floats(0.2, 8)] * 3)


@settings(deadline=None, max_examples=60)
@given(angles=ANGLES, spacing=SPACINGS)
def test_a_voxel_keeps_its_place_when_axes_are_turned(
    angles: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    voxels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    image = placed(voxels, spacing=spacing, origin=(11, -7, 300), direction=oblique_direction(*angles))
    turned = in_one_orientation(image)
    assert orientation(turned) == "LPS"
    after = SimpleITK.GetArrayFromImage(turned)
    for value in range(voxels.size):
        before_mm = to_world(np.argwhere(voxels == value)[:, ::-1], image)
        after_mm = to_world(np.argwhere(after == value)[:, ::-1], turned)
        np.testing.assert_allclose(after_mm, before_mm, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(angles=ANGLES, spacing=SPACINGS)
def test_index_and_world_are_inverse_and_agree_with_simpleitk(
    angles: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    image = placed(
        np.zeros((2, 3, 4)), spacing=spacing, origin=(5, 6, 7), direction=oblique_direction(*angles)
    )
    index = np.array([[0.0, 0, 0], [3, 2, 1], [1.25, -2, 9]])
    world = to_world(index, image)
    np.testing.assert_allclose(to_index(world, image), index, atol=1e-6)
    for i, w in zip(index, world, strict=True):
        np.testing.assert_allclose(image.TransformContinuousIndexToPhysicalPoint(i.tolist()), w, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({}, True),
        ({"origin": (0, 0, 0.5 * GRID_TOLERANCE_MM)}, True),
        ({"origin": (0, 0, 2 * GRID_TOLERANCE_MM)}, False),
        ({"spacing": (1, 1, 1.01)}, False),
        ({"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, False),
        ({"shape": (6, 7, 9)}, False),
    ],
)
def test_grids_are_equal_to_a_hundredth_of_a_millimeter(
    change: dict[str, tuple[int, ...]], equal: bool
) -> None:
    reference = placed(np.zeros((6, 7, 8)))
    shape = change.pop("shape", (6, 7, 8))
    image = placed(np.zeros(shape), **change)
    if equal:
        require_same_grid(image, reference, what="the label", whose="the CT")
        return
    with pytest.raises(CaseError) as refused:
        require_same_grid(image, reference, what="the label", whose="the CT")
    assert refused.value.code == "label-grid"
