"""Surfaces that turn in the browser: each structure, colored by where prediction and reference agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.boxes import box_of
from nnunet_ext.evaluation.report.agreement import COLORS, WORDS, Kind, agreement
from nnunet_ext.evaluation.report.shown import ShownCase
from nnunet_ext.evaluation.report.surfaces import Surface, surface_of
from nnunet_ext.evaluation.structures import LabelTable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# All structures of a case together: about 300 kB in the page.
MAX_TRIANGLES = 20_000
_FEWEST_TRIANGLES = 200
_SHOWN = (Kind.AGREEMENT, Kind.MISSED, Kind.EXTRA)
# Where each letter stands in LPS coordinates, from the middle of the scene.
_SIDES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}


@dataclass(frozen=True)
class Compared:
    """One structure in the box that holds prediction and reference.

    Attributes:
        name: of the structure.
        kinds: (Z, Y, X) array of :class:`~nnunet_ext.evaluation.report.agreement.Kind`.
        spacing_mm: voxel size along z, y, x.
        to_lps_mm: (4, 4) matrix from index (x, y, z, 1) in the box to mm.
    """

    name: str
    kinds: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    to_lps_mm: NDArray[np.float64]

    @property
    def present(self) -> NDArray[np.bool_]:
        """Everything that is in the prediction or the reference."""
        return np.isin(self.kinds, _SHOWN)


def compared(case: ShownCase, table: LabelTable) -> list[Compared]:
    """The structures of a case that are in its prediction or its reference.

    Raises:
        ValueError: the case has no reference.
    """
    if case.reference is None:
        raise ValueError(f"expected a reference of {case.name} to compare with, got none")
    found = []
    annotated = None if table.ignore is None else case.reference != table.ignore
    for structure in table.structures:
        masks = [np.isin(labels, structure.labels) for labels in (case.prediction, case.reference)]
        if annotated is not None:
            masks = [mask & annotated for mask in masks]
        box = box_of(masks[0] | masks[1])
        if box is None:
            continue
        moved = case.to_lps_mm.copy()
        moved[:, 3] = case.to_lps_mm @ [*(side.start for side in reversed(box)), 1]
        found.append(
            Compared(structure.name, agreement(masks[0][box], masks[1][box]), case.spacing_mm, moved)
        )
    return found


def kinds_of_triangles(surface: Surface, part: Compared, *, tolerance_mm: float) -> NDArray[np.uint8]:
    """What the voxel at each triangle's middle is; agreement where the other mask is near enough.

    Args:
        surface: of everything that is present.
        part: the structure.
        tolerance_mm: distance up to which missed and extra voxels count as agreement.

    Returns:
        (M,) array of :class:`~nnunet_ext.evaluation.report.agreement.Kind`.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt
    from scipy.spatial import cKDTree

    kinds = part.kinds.copy()
    if tolerance_mm > 0:
        for wrong, other in ((Kind.MISSED, Kind.EXTRA), (Kind.EXTRA, Kind.MISSED)):
            its = np.isin(part.kinds, (Kind.AGREEMENT, other))
            if its.any():
                near = distance_transform_edt(~its, sampling=part.spacing_mm) <= tolerance_mm
                kinds[near & (part.kinds == wrong)] = Kind.AGREEMENT
    present = part.present
    rim = np.argwhere(present & ~binary_erosion(present))
    points = rim[:, ::-1] @ part.to_lps_mm[:3, :3].T + part.to_lps_mm[:3, 3]
    _, nearest = cKDTree(points).query(surface.points_mm[surface.triangles].mean(axis=1))
    return np.asarray(kinds[tuple(rim[nearest].T)], np.uint8)


def scene_of(
    case: ShownCase, table: LabelTable, *, tolerance_mm: float = 2.0, max_triangles: int = MAX_TRIANGLES
) -> Figure | None:
    """A figure to turn, with a surface for each structure that is there.

    The surface runs round everything that is in the prediction or the reference; what is missed and what
    is extra have their colors. A hole that is wrong inside of both does not show.

    Args:
        case: with a reference.
        table: its structures.
        tolerance_mm: surfaces agree up to this, as in the normalized surface Dice.
        max_triangles: of all of them, about.

    Returns:
        The figure, whose legend switches structures off; None where there is nothing to show.

    Raises:
        ValueError: the case has no reference.
    """
    from plotly.graph_objects import Figure

    parts = [] if case.is_flat else compared(case, table)
    if not parts:
        return None
    sizes = np.array([np.count_nonzero(part.present) for part in parts]) ** (2 / 3)
    shares = np.maximum(max_triangles * sizes / sizes.sum(), _FEWEST_TRIANGLES).astype(int)
    figure = Figure()
    for part, share in zip(parts, shares, strict=True):
        surface = surface_of(part.present, to_lps_mm=part.to_lps_mm, max_triangles=int(share))
        kinds = kinds_of_triangles(surface, part, tolerance_mm=tolerance_mm)
        figure.add_trace(_mesh(part.name, surface, kinds))
    _arrange(figure)
    return figure


def scene_key(tolerance_mm: float) -> list[tuple[str, str]]:
    """What the colors of a scene mean, as color and words."""
    words = {**WORDS, Kind.AGREEMENT: f"agreement within {tolerance_mm:g} mm"}
    return [(COLORS[kind], words[kind]) for kind in _SHOWN]


def _mesh(name: str, surface: Surface, kinds: NDArray[np.uint8]) -> dict[str, Any]:
    x, y, z = surface.points_mm.T
    i, j, k = surface.triangles.T.astype(np.uint16 if len(surface.points_mm) < 2**16 else np.uint32)
    return {
        "type": "mesh3d",
        "name": name,
        "showlegend": True,
        **{"x": x, "y": y, "z": z, "i": i, "j": j, "k": k},
        "intensity": kinds,
        "intensitymode": "cell",
        "colorscale": _steps(),
        "cmin": min(_SHOWN) - 0.5,
        "cmax": max(_SHOWN) + 0.5,
        "showscale": False,
        "flatshading": False,
        "hoverinfo": "name",
        "lighting": {"ambient": 0.55, "diffuse": 0.6, "specular": 0.1, "roughness": 0.9},
        "lightposition": {"x": -2000, "y": -4000, "z": 3000},
    }


def _steps() -> list[tuple[float, str]]:
    """A scale without anything between its colors."""
    n = len(_SHOWN)
    return [(edge / n, COLORS[kind]) for place, kind in enumerate(_SHOWN) for edge in (place, place + 1)]


def _arrange(figure: Figure) -> None:
    """Seen from the front, head up, with the sides of the patient in letters."""
    hidden = {"visible": False}
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        height=420,
        legend={"orientation": "h", "y": 0, "itemsizing": "constant"},
        scene={
            "aspectmode": "data",
            "dragmode": "orbit",
            **dict.fromkeys(("xaxis", "yaxis", "zaxis"), hidden),
            "annotations": _letters(figure),
            "camera": {"eye": {"x": -0.5, "y": -1.7, "z": 0.5}, "up": {"x": 0, "y": 0, "z": 1}},
        },
    )


def _letters(figure: Figure) -> list[dict[str, Any]]:
    corners = np.array([[np.min(t[a]), np.max(t[a])] for t in figure.data for a in "xyz"]).reshape(-1, 3, 2)
    low, high = corners[:, :, 0].min(axis=0), corners[:, :, 1].max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    at = {letter: middle + 1.15 * half * side for letter, side in _SIDES.items()}
    return [
        {
            "x": float(x),
            "y": float(y),
            "z": float(z),
            "text": letter,
            "showarrow": False,
            "font": {"size": 15},
        }
        for letter, (x, y, z) in at.items()
    ]
