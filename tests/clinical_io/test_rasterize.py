"""Contours to voxels and back: holes, copies, keyholes, edges, oblique series."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import SimpleITK
from clinical_images import oblique_direction, placed
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike

from nnunet_ext.clinical_io.contours import contours_of
from nnunet_ext.clinical_io.findings import CaseError
from nnunet_ext.clinical_io.grids import to_world
from nnunet_ext.clinical_io.rasterize import Mask, rasterize
from nnunet_ext.clinical_io.structure_set import Contour

SIZE = (5, 40, 50)  # z, y, x


def grid(**place: ArrayLike) -> SimpleITK.Image:
    return placed(np.zeros(SIZE, np.uint8), **place)


def curve(
    index_xy: ArrayLike, image: SimpleITK.Image, *, z: float = 2, kind: str = "CLOSED_PLANAR"
) -> Contour:
    points = np.asarray(index_xy, float)
    return Contour(to_world(np.column_stack([points, np.full(len(points), z)]), image), kind)


def square(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, low), (high, low), (high, high), (low, high)]


def codes(mask: Mask) -> list[str]:
    return [note.code for note in mask.notes]


def test_a_square_between_centers_is_counted_exactly() -> None:
    image = grid()
    mask = rasterize([curve(square(9.5, 19.5), image)], image)
    assert mask.voxels.sum() == 100
    assert mask.voxels[2, 10:20, 10:20].all()
    assert mask.notes == ()


def test_a_circle_has_the_area_of_a_circle_on_pixels_that_are_not_square() -> None:
    image = grid(spacing=(0.5, 0.75, 3))
    angle = np.linspace(0, 2 * pi, 400, endpoint=False)
    center = to_world([[25, 20, 2]], image)[0]
    points = center + 9 * np.column_stack([np.cos(angle), np.sin(angle), 0 * angle])
    area = rasterize([Contour(points, "CLOSED_PLANAR")], image).voxels.sum() * 0.5 * 0.75
    assert area == pytest.approx(pi * 81, rel=0.02)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_curve_within_another_is_a_hole_whichever_way_it_runs(reverse: bool) -> None:
    image = grid()
    inner = square(14.5, 17.5)
    curves = [curve(square(9.5, 19.5), image), curve(inner[::-1] if reverse else inner, image)]
    for order in (curves, curves[::-1]):
        mask = rasterize(order, image).voxels
        assert mask.sum() == 100 - 9
        assert not mask[2, 15:18, 15:18].any()


def test_an_island_in_a_hole_is_filled() -> None:
    image = grid()
    curves = [curve(square(low - 0.5, high - 0.5), image) for low, high in ((5, 30), (10, 25), (15, 20))]
    assert rasterize(curves, image).voxels.sum() == 25**2 - 15**2 + 5**2


def test_a_keyhole_encloses_no_hole() -> None:
    image = grid()
    outer, inner = square(9.5, 19.5), square(14.5, 17.5)[::-1]
    path = [*outer, outer[0], inner[0], *inner[1:], inner[0], outer[0]]
    mask = rasterize([curve(path, image)], image).voxels
    assert mask.sum() == 100 - 9
    assert not mask[2, 15:18, 15:18].any()


def test_of_copies_one_counts_wherever_they_begin_and_whichever_way_they_run() -> None:
    image = grid()
    points = square(9.5, 19.5)
    copies = [points, points[2:] + points[:2], points[::-1], [*points, points[0]]]
    mask = rasterize([curve(p, image) for p in copies], image)
    assert mask.voxels.sum() == 100
    assert codes(mask) == ["duplicate-contour"]
    assert mask.notes[0].text.startswith("3 ")


def test_points_and_open_curves_enclose_nothing() -> None:
    image = grid()
    contours = [
        curve([(5, 5)], image, kind="POINT"),
        curve(square(9.5, 19.5), image, kind="OPEN_PLANAR"),
        curve([(1, 1), (8, 8)], image),
    ]
    mask = rasterize(contours, image)
    assert not mask.voxels.any()
    assert codes(mask) == ["open-contour"]


def test_what_lies_beyond_the_image_is_left_out_and_told() -> None:
    image = grid()
    curves = [
        curve(square(9.5, 19.5), image, z=0),
        curve(square(9.5, 19.5), image, z=-1),  # as an index this would be the last slice
        curve(square(9.5, 19.5), image, z=SIZE[0]),
        curve([(44.5, 9.5), (60, 9.5), (60, 19.5), (44.5, 19.5)], image, z=4),
    ]
    mask = rasterize(curves, image)
    assert mask.voxels.sum(axis=(1, 2)).tolist() == [100, 0, 0, 0, 5 * 10]
    assert codes(mask) == ["contour-outside", "contour-clipped"]
    assert mask.notes[0].text.startswith("2 of 4 ")


@pytest.mark.parametrize(("offset", "z"), [(0, SIZE[0] + 3), (500, 2)])
def test_a_structure_that_lies_outside_is_refused(offset: float, z: float) -> None:
    image = grid()
    with pytest.raises(CaseError, match="contour-outside"):
        rasterize([curve(np.add(square(9.5, 19.5), offset), image, z=z)], image)


def test_curves_between_slices_and_across_them_are_refused() -> None:
    image = grid()
    with pytest.raises(CaseError, match="contour-plane"):
        rasterize([curve(square(9.5, 19.5), image, z=2.45)], image)
    sagittal = np.array([[10, 5, 0.0], [10, 30, 0], [10, 30, 4], [10, 5, 4]])
    with pytest.raises(CaseError, match="contour-plane"):
        rasterize([Contour(to_world(sagittal, image), "CLOSED_PLANAR")], image)


@given(
    voxels=arrays(np.bool_, (3, 6, 7)),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
)
def test_any_mask_comes_back_from_its_contours(
    voxels: np.ndarray, angles: tuple[float, float, float], spacing: tuple[float, float, float]
) -> None:
    image = placed(voxels.astype(np.uint8), spacing=spacing, direction=oblique_direction(*angles))
    contours = contours_of(voxels, image)
    np.testing.assert_array_equal(rasterize(contours, image).voxels, voxels)
    assert bool(contours) == bool(voxels.any())


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a mask of \(5, 40, 50\)"):
        contours_of(np.zeros((5, 40, 49), bool), grid())
