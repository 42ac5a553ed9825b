"""One case as a picture: three planes, and its surfaces from three sides."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.report.agreement import COLORS, Kind, agreement
from nnunet_ext.evaluation.report.overlays import cuts_of, draw_planes
from nnunet_ext.evaluation.report.scenes import compared, kinds_of_triangles, scene_key
from nnunet_ext.evaluation.report.shown import ShownCase
from nnunet_ext.evaluation.report.surfaces import Surface, surface_of
from nnunet_ext.evaluation.report.views import STRUCTURE_COLORS, VIEWS, Painted, draw_view
from nnunet_ext.evaluation.structures import LabelTable, Structure

# Of the picture; files have every triangle.
_MAX_TRIANGLES = 30_000


@dataclass(frozen=True)
class Rendered:
    """The surface of one structure.

    Attributes:
        structure: which.
        surface: of the prediction.
        voxels_ml: volume of its voxels, to compare with the surface's.
    """

    structure: Structure
    surface: Surface
    voxels_ml: float


def surfaces_of(
    case: ShownCase, table: LabelTable, *, smooth: bool = True, max_triangles: int | None = None
) -> list[Rendered]:
    """Surfaces of the structures that a case's label map holds.

    Args:
        case: its ``prediction`` is what is made into surfaces.
        table: of the labels.
        smooth: take the steps between voxels away.
        max_triangles: of each structure, about; None keeps all.

    Raises:
        ValueError: the case is one slice, which has no surface.
    """
    if case.is_flat:
        raise ValueError(
            f"expected a volume, got one slice of {case.prediction.shape[1:]} pixels: no surface"
        )
    voxel_ml = float(np.prod(case.spacing_mm)) / 1000
    found = []
    for structure in table.structures:
        mask = np.isin(case.prediction, structure.labels)
        if mask.any():
            surface = surface_of(mask, to_lps_mm=case.to_lps_mm, smooth=smooth, max_triangles=max_triangles)
            found.append(Rendered(structure, surface, voxel_ml * int(mask.sum())))
    return found


def picture_png(case: ShownCase, table: LabelTable, *, tolerance_mm: float = 2.0, dpi: int = 120) -> bytes:
    """Planes above, surfaces below; in the colors of agreement where the case has a reference.

    Args:
        case: a volume.
        table: of the labels.
        tolerance_mm: surfaces agree up to this.
        dpi: pixels per inch; the picture is 10 inches wide.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    painted, key = _painted(case, table, tolerance_mm)
    figure = Figure(figsize=(10, 7.2), dpi=dpi, layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    upper.set_facecolor("black")
    if case.reference is None:
        codes, colors = _structures(case, table)
        draw_planes(upper, case, codes, cuts_of((codes > 0).astype(np.uint8)), colors=colors)
    else:
        kinds = agreement(case.prediction, case.reference, ignore=table.ignore)
        draw_planes(upper, case, kinds, cuts_of(kinds), colors=COLORS)
    for place, (title, elevation, azimuth) in enumerate(VIEWS, start=1):
        view = lower.add_subplot(1, 3, place, projection="3d")
        draw_view(view, painted, elevation=elevation, azimuth=azimuth)
        view.set_title(title, fontsize=10)
    handles = [Patch(facecolor=color, edgecolor="black", label=words) for color, words in key]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _painted(
    case: ShownCase, table: LabelTable, tolerance_mm: float
) -> tuple[list[Painted], list[tuple[str, str]]]:
    """Surfaces with their colors, and what these mean."""
    if case.reference is None:
        rendered = surfaces_of(case, table, max_triangles=_share(len(table.structures)))
        names = [r.structure.name for r in rendered]
        painted = [
            Painted(r.surface, _color(place), name)
            for place, (r, name) in enumerate(zip(rendered, names, strict=True))
        ]
        return painted, [(_color(place), name) for place, name in enumerate(names)]
    parts = compared(case, table)
    painted = []
    for part in parts:
        surface = surface_of(part.present, to_lps_mm=part.to_lps_mm, max_triangles=_share(len(parts)))
        kinds = kinds_of_triangles(surface, part, tolerance_mm=tolerance_mm)
        painted.append(Painted(surface, _palette()[kinds], part.name))
    return painted, scene_key(tolerance_mm)


def _structures(case: ShownCase, table: LabelTable) -> tuple[NDArray[np.uint16], dict[int, str]]:
    """A number for each structure that is there and its color; where regions overlap, the last one's."""
    codes = np.zeros(case.prediction.shape, np.uint16)
    colors: dict[int, str] = {}
    for structure in table.structures:
        mask = np.isin(case.prediction, structure.labels)
        if mask.any():
            place = len(colors)
            codes[mask] = place + 1
            colors[place + 1] = _color(place)
    return codes, colors


def _palette() -> NDArray[np.float64]:
    from matplotlib.colors import to_rgb

    colors = np.zeros((len(Kind), 3))
    for kind, color in COLORS.items():
        colors[kind] = to_rgb(color)
    return colors


def _share(structures: int) -> int:
    return _MAX_TRIANGLES // max(1, structures)


def _color(place: int) -> str:
    return STRUCTURE_COLORS[place % len(STRUCTURE_COLORS)]


def volumes_text(rendered: Sequence[Rendered]) -> str:
    """A line for each structure: triangles, and the volume of voxels and of the surface in ml."""
    return "\n".join(
        f"{r.structure.name}: {len(r.surface.triangles)} triangles, {r.surface.volume_ml:.2f} ml (voxels "
        f"{r.voxels_ml:.2f} ml)"
        for r in rendered
    )
