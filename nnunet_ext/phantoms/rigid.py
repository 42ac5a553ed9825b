"""Rigid motions: how a patient lies in one scanner compared with another."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.shapes import Triple

Points = NDArray[np.float64]


@dataclass(frozen=True)
class RigidMotion:
    """A turn about a point, then a shift: ``moved = R (point - center) + center + shift``.

    R turns about the x axis, then y, then z, right-handed in (x, y, z). That is SimpleITK's
    ``Euler3DTransform`` with ``SetComputeZYX(True)``. All triples here are (z, y, x).

    Attributes:
        turn_deg: angles about the axes (z, y, x) in degrees.
        shift_mm: shift (z, y, x) in mm.
        center_mm: point (z, y, x) in mm that the turn leaves where it is.

    Example:
        >>> motion = RigidMotion(turn_deg=(90, 0, 0), shift_mm=(1, 0, 0))
        >>> motion.move(np.array([[0.0, 0.0, 5.0]])).round(6).tolist()  # left turns to the back
        [[1.0, 5.0, 0.0]]
    """

    turn_deg: Triple = (0.0, 0.0, 0.0)
    shift_mm: Triple = (0.0, 0.0, 0.0)
    center_mm: Triple = (0.0, 0.0, 0.0)

    @property
    def is_identity(self) -> bool:
        """Whether every point stays where it is."""
        return not any(self.turn_deg) and not any(self.shift_mm)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """R as a (3, 3) array that acts on (z, y, x)."""
        cos_z, cos_y, cos_x = (cos(radians(a)) for a in self.turn_deg)
        sin_z, sin_y, sin_x = (sin(radians(a)) for a in self.turn_deg)
        about_z = np.array([[cos_z, -sin_z, 0], [sin_z, cos_z, 0], [0, 0, 1]])
        about_y = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
        about_x = np.array([[1, 0, 0], [0, cos_x, -sin_x], [0, sin_x, cos_x]])
        xyz: NDArray[np.float64] = about_z @ about_y @ about_x
        return xyz[::-1, ::-1]

    @property
    def undo_offset_mm(self) -> NDArray[np.float64]:
        """The vector o of ``undo(q) = R^T q + o``."""
        center = np.asarray(self.center_mm, dtype=np.float64)
        offset: NDArray[np.float64] = center - self.matrix.T @ (center + np.asarray(self.shift_mm))
        return offset

    def move(self, points: Points) -> Points:
        """Where points (N, 3) of the patient come to lie, in mm."""
        center = np.asarray(self.center_mm, dtype=np.float64)
        moved: Points = (points - center) @ self.matrix.T + center + np.asarray(self.shift_mm)
        return moved

    def undo(self, points: Points) -> Points:
        """The inverse of :meth:`move`."""
        back: Points = points @ self.matrix + self.undo_offset_mm
        return back


def random_motion(*, seed: int, most_turn_deg: float = 6.0, most_shift_mm: float = 8.0) -> RigidMotion:
    """A motion as between a head in a treatment mask and the same head in an MR coil.

    The defaults are what a person repositioned without the mask typically shows: a few degrees of nodding,
    turning and tilting and under a centimetre of shift (assumption; no table of the papers says).

    Args:
        seed: whole number >= 0.
        most_turn_deg: largest angle about each axis in degrees, >= 0.
        most_shift_mm: largest shift along each axis in mm, >= 0.

    Returns:
        A motion about the origin.

    Raises:
        ValueError: an argument is negative.

    Example:
        >>> random_motion(seed=1, most_turn_deg=0, most_shift_mm=0).is_identity
        True
    """
    for name, value in (("seed", seed), ("most_turn_deg", most_turn_deg), ("most_shift_mm", most_shift_mm)):
        if value < 0:
            raise ValueError(f"{name} must be >= 0, got {value}")
    rng = np.random.default_rng(seed)
    turn = rng.uniform(-1, 1, size=3) * most_turn_deg
    shift = rng.uniform(-1, 1, size=3) * most_shift_mm
    return RigidMotion(
        turn_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
        shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])),
    )
