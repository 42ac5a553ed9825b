"""Scenes: what is missed and extra has its color where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluated import ball, table
from numpy.typing import NDArray

from nnunet_ext.evaluation.report.agreement import COLORS, Kind
from nnunet_ext.evaluation.report.scenes import MAX_TRIANGLES, compared, kinds_of_triangles, scene_of
from nnunet_ext.evaluation.report.shown import ShownCase
from nnunet_ext.evaluation.report.surfaces import surface_of

TABLE = table()


def case(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> ShownCase:
    return ShownCase(
        "a", prediction.astype(np.uint8), reference.astype(np.uint8), None, (1.0, 1.0, 1.0), np.eye(4)
    )


def kinds_along_x(shown: ShownCase, *, tolerance_mm: float) -> tuple[set[int], set[int]]:
    """Kinds of the triangles at the low and at the high end of x."""
    (part,) = compared(shown, TABLE)
    surface = surface_of(part.present, to_lps_mm=part.to_lps_mm)
    kinds = kinds_of_triangles(surface, part, tolerance_mm=tolerance_mm)
    x = surface.points_mm[surface.triangles].mean(axis=1)[:, 0]
    return set(kinds[x < x.min() + 2].tolist()), set(kinds[x > x.max() - 2].tolist())


def test_a_shifted_ball_is_missed_on_one_side_and_extra_on_the_other() -> None:
    reference = ball(8)
    prediction = np.roll(reference, 5, axis=2)
    assert kinds_along_x(case(prediction, reference), tolerance_mm=2) == ({Kind.MISSED}, {Kind.EXTRA})


def test_within_the_tolerance_they_agree() -> None:
    reference = ball(8)
    shown = case(np.roll(reference, 1, axis=2), reference)
    assert kinds_along_x(shown, tolerance_mm=2) == ({Kind.AGREEMENT}, {Kind.AGREEMENT})
    assert kinds_along_x(shown, tolerance_mm=0) == ({Kind.MISSED}, {Kind.EXTRA})


def test_a_structure_on_one_side_alone_is_all_wrong() -> None:
    nothing, something = np.zeros_like(ball(8)), ball(8)
    for prediction, reference, kind in (
        (nothing, something, Kind.MISSED),
        (something, nothing, Kind.EXTRA),
    ):
        (part,) = compared(case(prediction, reference), TABLE)
        surface = surface_of(part.present, to_lps_mm=part.to_lps_mm)
        assert set(kinds_of_triangles(surface, part, tolerance_mm=2).tolist()) == {kind}


def test_what_is_not_annotated_is_no_mistake() -> None:
    shown = case(ball(8), np.zeros_like(ball(8)))
    ignored = replace(shown, reference=np.full_like(shown.prediction, 3))
    with_ignore = table({"background": 0, "organ": 1, "vessel": 2, "ignore": 3})
    assert compared(ignored, with_ignore) == []
    assert scene_of(ignored, with_ignore) is None


def test_a_scene_has_a_surface_for_each_structure_and_stays_small() -> None:
    labels = ball(20).astype(np.uint8)
    labels[ball(9)] = 2
    shown = ShownCase("a", labels, labels, None, (1.0, 1.0, 1.0), np.eye(4))
    scene = scene_of(shown, TABLE)
    assert scene is not None
    assert [trace.name for trace in scene.data] == ["organ", "vessel"]
    assert sum(len(trace.i) for trace in scene.data) <= MAX_TRIANGLES
    assert len(scene.to_json()) < 500_000


def test_each_kind_has_its_color_in_the_scene() -> None:
    reference = ball(8)
    scene = scene_of(case(np.roll(reference, 5, axis=2), reference), TABLE)
    assert scene is not None
    (mesh,) = scene.data
    shown = set()
    for kind in np.unique(mesh.intensity):
        at = (kind - mesh.cmin) / (mesh.cmax - mesh.cmin)
        color = next(
            c
            for (low, c), (high, _) in zip(mesh.colorscale[::2], mesh.colorscale[1::2], strict=True)
            if low < at < high
        )
        assert color == COLORS[Kind(kind)]
        shown.add(Kind(kind))
    assert shown == {Kind.AGREEMENT, Kind.MISSED, Kind.EXTRA}


def test_the_box_does_not_move_a_structure() -> None:
    reference = np.zeros((30, 30, 30), bool)
    reference[20:25, 10:14, 3:9] = True
    (part,) = compared(case(reference, reference), TABLE)
    points = surface_of(part.present, to_lps_mm=part.to_lps_mm, smooth=False).points_mm
    assert points.min(axis=0).tolist() == [2.5, 9.5, 19.5]
    assert points.max(axis=0).tolist() == [8.5, 13.5, 24.5]


def test_a_slice_has_no_surface_and_a_case_needs_a_reference() -> None:
    flat = ball(8)[:1]
    assert scene_of(case(flat, flat), TABLE) is None
    with pytest.raises(ValueError, match="expected a reference of a"):
        scene_of(replace(case(ball(3), ball(3)), reference=None), TABLE)
