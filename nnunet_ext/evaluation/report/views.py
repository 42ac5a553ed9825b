"""Surfaces drawn from the front, the left and above, without a graphics card or a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.report.surfaces import Surface

if TYPE_CHECKING:
    from mpl_toolkits.mplot3d.axes3d import Axes3D

# Okabe and Ito's palette, for structures in their order; again from the first after the eighth.
STRUCTURE_COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#999999",
)
# Elevation and azimuth in degrees of the eye, in LPS coordinates.
VIEWS = (
    ("from the front", 0.0, -90.0),
    ("from the left", 0.0, 0.0),
    ("from above, front below", 90.0, -90.0),
)
_LIGHT = np.array([-0.35, -0.75, 0.56])


@dataclass(frozen=True)
class Painted:
    """A surface with its color.

    Attributes:
        surface: what is drawn.
        colors: one color for all, or an (M, 3) array of the triangles' red, green and blue from 0 to 1.
        label: its name.
    """

    surface: Surface
    colors: str | NDArray[np.float64]
    label: str


def draw_view(axes: Axes3D, painted: Sequence[Painted], *, elevation: float, azimuth: float) -> None:
    """Draw surfaces into matplotlib's 3D axes, lit from the front, the right and above.

    Args:
        axes: to draw into.
        painted: at least one surface with triangles.
        elevation: of the eye in degrees.
        azimuth: of the eye in degrees; -90 is in front of the patient.
    """
    from matplotlib.colors import to_rgb
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection

    corners, colors = [], []
    for each in painted:
        if not len(each.surface.triangles):
            continue
        triangles = each.surface.points_mm[each.surface.triangles]
        base = np.array(to_rgb(each.colors)) if isinstance(each.colors, str) else each.colors
        corners.append(triangles)
        colors.append(np.clip(base * _shade(triangles)[:, None], 0, 1))
    if not corners:
        axes.set_axis_off()
        return
    every = np.concatenate(corners)
    # One collection, so that triangles of all structures are sorted by their depth together.
    shaded = np.concatenate(colors)
    # Edges in the color of their face close the seams between antialiased triangles.
    axes.add_collection3d(Poly3DCollection(every, facecolors=shaded, edgecolors=shaded, linewidths=0.3))
    points = every.reshape(-1, 3)
    _frame(axes, points.min(axis=0), points.max(axis=0))
    axes.view_init(elev=elevation, azim=azimuth)


def _frame(axes: Axes3D, low: NDArray[Any], high: NDArray[Any]) -> None:
    """Equal millimeters along every axis, nothing else in the picture."""
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_zlim(low[2], high[2])
    axes.set_box_aspect(np.maximum(high - low, 1e-3), zoom=1.1)
    axes.set_proj_type("ortho")
    axes.set_axis_off()


def _shade(triangles: NDArray[np.float32]) -> NDArray[np.float64]:
    """Lambert's law with light from behind the eye as well, so that no side is black."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    lit = (normals / np.maximum(lengths, 1e-12)) @ (_LIGHT / np.linalg.norm(_LIGHT))
    return np.asarray(0.55 + 0.45 * lit, np.float64)
