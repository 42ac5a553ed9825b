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


def box(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def disc(x: float, y: float, radius: float, *, points: int = 90) -> np.ndarray:
    angle = np.linspace(0, 2 * pi, points, endpoint=False)
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


CROSSING = (box(4.5, 4.5, 14.5, 14.5), box(10.5, 8.5, 20.5, 12.5))  # 100 and 40 voxels, 16 of them in both


def test_curves_that_overlap_in_part_are_refused_until_the_user_says_what_they_mean() -> None:
    image = grid()
    curves = [curve(points, image, z=z) for points in CROSSING for z in (1, 3)]
    with pytest.raises(CaseError, match=r"overlapping-contours: on 2 slices 2 pairs .* by 32 voxels"):
        rasterize(curves, image)
    for crossing, voxels, done in (("union", 124, "united"), ("xor", 108, "left out")):
        mask = rasterize(curves, image, crossing=crossing)
        assert mask.voxels.sum(axis=(1, 2)).tolist() == [0, voxels, 0, voxels, 0]
        assert codes(mask) == ["overlapping-contours"]
        assert f"32 voxels, was {done} as asked" in mask.notes[0].text


def test_a_union_keeps_holes_and_islands() -> None:
    image = grid()
    hole, island = box(5.5, 9.5, 8.5, 12.5), box(6.5, 10.5, 7.5, 11.5)
    curves = [curve(points, image) for points in (hole, *CROSSING, island)]
    for order in (curves, curves[::-1]):
        mask = rasterize(order, image, crossing="union").voxels[2]
        assert mask.sum() == 124 - 9 + 1
        assert not mask[10, 6]
        assert mask[11, 7]


def test_holes_that_cross_and_chains_of_curves_are_found() -> None:
    image = grid()
    holes = [curve(points, image) for points in (square(1.5, 25.5), *CROSSING)]
    with pytest.raises(CaseError, match="1 pairs"):
        rasterize(holes, image)
    assert rasterize(holes, image, crossing="union").voxels.sum() == 24**2 - 124
    chain = [curve(box(low, 4.5, low + 10, 8.5), image) for low in (2.5, 10.5, 18.5)]
    assert rasterize(chain, image, crossing="union").voxels.sum() == 26 * 4


@pytest.mark.parametrize(
    "second",
    [
        disc(30, 20, 8),  # at a point
        disc(29.3, 20, 8),  # by a lens of 0.7 voxels
        box(22.4, 5, 30, 35),  # by 0.6 voxels
        disc(18, 20, 3.5),  # a hole that touches from inside
        disc(18.6, 20, 4),  # a hole that sticks out by 0.6 voxels
        disc(14, 20, 7.5),  # the inner side of a thin wall
        disc(40, 20, 5),
    ],
)
def test_curves_that_touch_and_holes_are_taken_as_they_are(second: ArrayLike) -> None:
    image = grid()
    both = [curve(points, image) for points in (disc(14, 20, 8), second)]
    mask = rasterize(both, image)
    parts = [rasterize([one], image).voxels for one in both]
    np.testing.assert_array_equal(mask.voxels, parts[0] ^ parts[1])
    assert set(codes(mask)) <= {"touching-contours"}


def test_parts_that_share_a_border_through_voxel_centers_are_told_which_voxels_are_in_both() -> None:
    image = grid()
    rounded = [curve(box(2.5, 4.5, 10.01, 14.5), image), curve(box(9.99, 4.5, 20.5, 14.5), image)]
    mask = rasterize(rounded, image)
    assert codes(mask) == ["touching-contours"]
    assert mask.notes[0].text.startswith("10 voxels")


def test_one_curve_drawn_twice_by_hand_does_not_vanish() -> None:
    image = grid()
    twice = [curve(disc(20, 20, 8), image), curve(disc(20.1, 19.95, 8, points=70), image)]
    with pytest.raises(CaseError, match="overlapping-contours"):
        rasterize(twice, image)
    assert rasterize(twice, image, crossing="union").voxels.sum() > 190


def test_a_keyhole_with_an_island_and_curves_of_the_xor_kind_are_no_overlap() -> None:
    image = grid()
    outer, inner = square(9.5, 19.5), square(12.5, 17.5)[::-1]
    path = [*outer, outer[0], inner[0], *inner[1:], inner[0], outer[0]]
    mask = rasterize([curve(path, image), curve(square(13.5, 16.5), image)], image)
    assert mask.voxels.sum() == 100 - 25 + 9
    assert mask.notes == ()
    by_kind = [curve(points, image, kind="CLOSEDPLANAR_XOR") for points in CROSSING]
    assert rasterize(by_kind, image).voxels.sum() == 108


def test_a_curve_that_reaches_far_beyond_the_image_is_compared_within_it() -> None:
    image = grid()
    curves = [curve(box(-1e6, 4.5, 14.5, 14.5), image), curve(box(10.5, 8.5, 1e6, 12.5), image)]
    with pytest.raises(CaseError, match="overlapping-contours"):
        rasterize(curves, image)


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


def _squares(slices: list[int], *, depth: int = 40) -> tuple[SimpleITK.Image, list[Contour]]:
    image = placed(np.zeros((depth, 30, 30), np.uint8), spacing=(1, 1, 2.5))
    return image, [curve(square(9.5, 19.5), image, z=z) for z in slices]


@pytest.mark.parametrize(
    ("slices", "step"),
    [(list(range(4, 30, 2)), 2), (list(range(4, 30, 3)), 3), ([4, 6, 8, 10, 11, 13, 15, 25], 2)],
)
def test_contours_on_every_second_slice_are_refused(slices: list[int], step: int) -> None:
    image, curves = _squares(slices)
    with pytest.raises(CaseError, match=rf"skipped-slices: .*one slice in {step}"):
        rasterize(curves, image)


@pytest.mark.parametrize(
    "slices",
    [
        [*range(4, 9), *range(12, 17)],  # two parts
        [*range(4, 9), *range(10, 17)],  # a slice was forgotten, or has none of it
        [4, 6, 8],  # three small parts, or chance
        [4, 9, 20, 22],
        [7],
    ],
)
def test_parts_that_lie_apart_are_taken_as_they_are(slices: list[int]) -> None:
    image, curves = _squares(slices)
    mask = rasterize(curves, image)
    assert np.flatnonzero(mask.voxels.any(axis=(1, 2))).tolist() == slices
    assert mask.notes == ()
