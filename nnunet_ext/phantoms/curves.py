"""Smooth curves for vessels and nerves, and the depth of points in a body."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.phantoms.scene import Solid
from nnunet_ext.phantoms.shapes import Grid
from nnunet_ext.phantoms.view import View


def levels_at(solid: Solid, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Levels (N,) of a solid at points (N, 3), in mm.

    Example:
        >>> from nnunet_ext.phantoms.solids import Ellipsoid
        >>> ball = Ellipsoid(np.zeros(3), np.full(3, 5.0))
        >>> levels_at(ball, np.array([[0.0, 0, 2], [0, 7, 0]])).round(3).tolist()
        [3.0, -2.0]
    """
    z, y, x = points.astype(np.float32).T
    grid = Grid(z=z, y=y, x=x)
    view = View(grid=grid, image=grid, motion=RigidMotion())
    return np.asarray(solid.level_mm(view), dtype=np.float64)


def smooth_curve(waypoints: NDArray[np.float64], *, step_mm: float) -> NDArray[np.float64]:
    """Points about ``step_mm`` apart on a smooth curve through waypoints (N, 3), N >= 2.

    Example:
        >>> smooth_curve(np.array([[0.0, 0, 0], [0, 0, 10]]), step_mm=5)[:, 2].tolist()
        [0.0, 5.0, 10.0]
    """
    lengths = np.linalg.norm(np.diff(waypoints, axis=0), axis=1)
    at = np.concatenate([[0], np.cumsum(lengths)])
    spline = make_interp_spline(at, waypoints, k=min(3, len(waypoints) - 1))
    points: NDArray[np.float64] = spline(np.linspace(0, at[-1], max(2, round(at[-1] / step_mm) + 1)))
    return points
