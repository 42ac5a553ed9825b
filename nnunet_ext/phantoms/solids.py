"""Bodies of which the anatomies in millimeters are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.shapes import FloatArray, Triple
from nnunet_ext.phantoms.view import Vector, View

EVERYWHERE = (np.full(3, -np.inf), np.full(3, np.inf))


def unit(vector: Sequence[float] | Vector) -> Vector:
    """The vector at length 1.

    Example:
        >>> unit([0, 3, 4]).tolist()
        [0.0, 0.6, 0.8]
    """
    array = np.asarray(vector, dtype=np.float64)
    scaled: Vector = array / np.linalg.norm(array)
    return scaled


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; near its surface the level is the depth in mm.

    Attributes:
        center: (z, y, x) in mm.
        radii: half axes in mm, > 0.
        axes: directions of the half axes as rows (z, y, x); the patient's axes if not given.

    Example:
        >>> from nnunet_ext.phantoms.rigid import RigidMotion
        >>> from nnunet_ext.phantoms.shapes import Grid
        >>> points = Grid(z=np.float32([0]), y=np.float32([0]), x=np.float32([3]))
        >>> ball = Ellipsoid(np.zeros(3), np.full(3, 5.0))
        >>> ball.level_mm(View(grid=points, image=points, motion=RigidMotion())).round(4).tolist()
        [2.0]
    """

    center: Vector
    radii: Vector
    axes: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Corners of the bounding box."""
        reach = np.sqrt(((np.asarray(self.radii)[:, None] * self.axes) ** 2).sum(axis=0))
        return self.center - reach, self.center + reach

    def level_mm(self, view: View) -> FloatArray:
        """Depth under the surface: k (1 - k) / |grad k^2 / 2|, the first-order distance to a level set."""
        offsets = [
            axis - np.float32(c)
            for axis, c in zip((view.grid.z, view.grid.y, view.grid.x), self.center, strict=True)
        ]
        near: FloatArray = np.zeros(1, dtype=np.float32)
        steep: FloatArray = np.zeros(1, dtype=np.float32)
        for direction, radius in zip(self.axes, self.radii, strict=True):
            along = sum(o * np.float32(w / radius) for o, w in zip(offsets, direction, strict=True) if w)
            squared = along * along
            near = near + squared
            steep = steep + squared * np.float32(radius**-2)
        k = np.sqrt(near)
        # The floor keeps the center finite: there the level is the smallest radius.
        level: FloatArray = k * (1 - k) / np.sqrt(np.maximum(steep, np.float32(1e-12)))
        return np.where(k < 1e-3, np.float32(np.min(self.radii)), level)


@dataclass(frozen=True)
class Capsule:
    """A piece of a tube between two points, round at both ends.

    Attributes:
        start: (z, y, x) in mm.
        stop: (z, y, x) in mm.
        start_radius: mm, > 0.
        stop_radius: mm, > 0.
        thinnest_mm: smallest half width along (z, y, x): on a coarse grid a thin vessel stays connected.
    """

    start: Vector
    stop: Vector
    start_radius: float
    stop_radius: float
    thinnest_mm: Triple = (0.0, 0.0, 0.0)

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Corners of the bounding box."""
        reach = np.maximum(max(self.start_radius, self.stop_radius), self.thinnest_mm)
        return np.minimum(self.start, self.stop) - reach, np.maximum(self.start, self.stop) + reach

    def level_mm(self, view: View) -> FloatArray:
        """Radius times one minus the distance to the axis in radii."""
        axis = self.stop - self.start
        length = max(float(axis @ axis), 1e-12)
        offsets = [
            c - np.float32(s)
            for c, s in zip((view.grid.z, view.grid.y, view.grid.x), self.start, strict=True)
        ]
        along = sum(o * np.float32(a / length) for o, a in zip(offsets, axis, strict=True))
        t = np.clip(along, 0, 1)
        radius = np.float32(self.start_radius) + t * np.float32(self.stop_radius - self.start_radius)
        squared: FloatArray = np.zeros(1, dtype=np.float32)
        for offset, a, least in zip(offsets, axis, self.thinnest_mm, strict=True):
            squared = squared + ((offset - t * np.float32(a)) / np.maximum(radius, np.float32(least))) ** 2
        level: FloatArray = (radius * (1 - np.sqrt(squared))).astype(np.float32)
        return level


def tube(
    points: NDArray[np.float64],
    radii: NDArray[np.float64] | Sequence[float],
    *,
    thinnest_mm: Triple = (0.0, 0.0, 0.0),
) -> list[Capsule]:
    """Capsules along a curve.

    Args:
        points: (N, 3) points (z, y, x) in mm, N >= 2.
        radii: (N,) radius at each point in mm.
        thinnest_mm: smallest half width along (z, y, x).

    Returns:
        N - 1 capsules.

    Example:
        >>> len(tube(np.array([[0, 0, 0], [0, 0, 5], [0, 5, 5]], float), [1, 1, 0.5]))
        2
    """
    return [
        Capsule(start=a, stop=b, start_radius=float(ra), stop_radius=float(rb), thinnest_mm=thinnest_mm)
        for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
    ]


@dataclass(frozen=True)
class Half:
    """All points on one side of a plane.

    Attributes:
        point: a point (z, y, x) on the plane, in mm.
        inward: unit vector (z, y, x) towards the inside.
    """

    point: Vector
    inward: Vector

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """No bounds."""
        return EVERYWHERE

    def level_mm(self, view: View) -> FloatArray:
        """Distance to the plane."""
        offsets = zip((view.grid.z, view.grid.y, view.grid.x), self.point, self.inward, strict=True)
        level: FloatArray = sum(
            ((axis - np.float32(p)) * np.float32(w) for axis, p, w in offsets if w),
            start=np.zeros(1, dtype=np.float32),
        )
        return level


@dataclass(frozen=True)
class Shape:
    """A body given by a function.

    Attributes:
        level: from a view to a float array that broadcasts to it, positive inside.
        bounds: corners of a box that holds the body.
    """

    level: Callable[[View], FloatArray]
    bounds: tuple[Vector, Vector] = EVERYWHERE

    def level_mm(self, view: View) -> FloatArray:
        """The function's value."""
        return self.level(view)
