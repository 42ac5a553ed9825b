"""Coronary arteries of a drawn heart: two trees that leave the aortic root and run in the fat on the heart.

Courses and calibers follow coronary angiography: left main 4.5 mm, anterior descending and circumflex branch
3.5 to 4 mm, right coronary artery 3.5 to 4 mm at their origins, tapering to 1.5 mm; diagonal, marginal and
posterior branches of 2 to 2.5 mm. About one heart in seven is left dominant (the circumflex branch supplies
the posterior wall).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.phantoms.curves import levels_at, smooth_curve
from nnunet_ext.phantoms.heart import Heart
from nnunet_ext.phantoms.scene import Solid
from nnunet_ext.phantoms.solids import unit
from nnunet_ext.phantoms.view import Vector

# No vessel is thinner than 1.5 mm: smaller ones are not annotated in CT.
THINNEST_RADIUS_MM = 0.75
_STEP_MM = 1.2


@dataclass(frozen=True)
class Vessel:
    """One branch.

    Attributes:
        name: short name as in angiography, such as LAD or RCA.
        points: (N, 3) axis (z, y, x) in mm, before the heart's warp.
        radii: (N,) radius in mm.
    """

    name: str
    points: NDArray[np.float64]
    radii: NDArray[np.float64]


def draw_coronary_tree(heart: Heart, rng: np.random.Generator) -> list[Vessel]:
    """Both coronary trees of a heart.

    Args:
        heart: the drawn heart.
        rng: source of randomness: courses, calibers, number of side branches, dominance, stenoses.

    Returns:
        The branches, each starting on its parent; the first of each tree starts inside the aorta.

    Example:
        >>> from nnunet_ext.phantoms.heart import draw_heart
        >>> rng = np.random.default_rng(0)
        >>> [vessel.name for vessel in draw_coronary_tree(draw_heart(rng), rng)][:3]
        ['LM', 'LAD', 'LCx']
    """
    growth = _Growth(heart=heart, surface=heart.surface, rng=rng)
    left_dominant = bool(rng.random() < 1 / 7)
    return [
        *_left_tree(growth, left_dominant=left_dominant),
        *_right_tree(growth, left_dominant=left_dominant),
    ]


@dataclass(frozen=True)
class _Growth:
    """What every branch needs while the tree grows."""

    heart: Heart
    surface: Solid
    rng: np.random.Generator

    def branch(
        self,
        name: str,
        waypoints: Sequence[Vector],
        *,
        diameters_mm: tuple[float, float],
        loose_mm: float = 1.0,
    ) -> Vessel:
        """A vessel along waypoints, laid on the heart; the first point stays where it is."""
        curve = smooth_curve(np.asarray(waypoints), step_mm=_STEP_MM)
        count = len(curve)
        swing = ndimage.gaussian_filter1d(self.rng.normal(size=(count, 3)), 6, axis=0, mode="nearest")
        swing *= loose_mm / max(float(swing.std()), 1e-6)
        # A vessel leaves its parent where the parent is, and swings once it is on its own.
        free = np.clip(np.arange(count) / 10, 0, 1)[:, None]
        wide = self.heart.scale * self.rng.uniform(0.88, 1.12)
        first, last = (wide * diameter / 2 for diameter in diameters_mm)
        radii = np.linspace(first, last, count) * (1 + 0.04 * np.sin(np.linspace(0, 9, count)))
        radii = self._narrowed(radii)
        laid = self._lay(curve + free * swing, offset_mm=radii + 1.0)
        points = free * laid + (1 - free) * curve
        points[1:] = ndimage.gaussian_filter1d(points, 1.2, axis=0, mode="nearest")[1:]
        return Vessel(name=name, points=points, radii=np.maximum(radii, THINNEST_RADIUS_MM))

    def _narrowed(self, radii: NDArray[np.float64]) -> NDArray[np.float64]:
        """Radii with a stenosis of 30 to 60 % over about 6 mm in some vessels."""
        if self.rng.random() > 0.25:
            return radii
        place, depth = self.rng.uniform(0.2, 0.7), self.rng.uniform(0.3, 0.6)
        along = (np.arange(len(radii)) - place * len(radii)) * _STEP_MM
        narrowed: NDArray[np.float64] = radii * (1 - depth * np.exp(-((along / 3) ** 2)))
        return narrowed

    def _lay(self, points: NDArray[np.float64], *, offset_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move points along the gradient until they lie ``offset_mm`` outside the heart's surface."""
        steps = np.vstack([np.zeros(3), np.eye(3)])
        for _ in range(8):
            around = (points[:, None, :] + steps).reshape(-1, 3)
            levels = levels_at(self.surface, around).reshape(-1, 4)
            gradient = levels[:, 1:] - levels[:, :1]
            steepness = np.maximum((gradient**2).sum(axis=1), 0.2)
            miss = -offset_mm - levels[:, 0]
            move = 0.7 * (miss / steepness)[:, None] * gradient
            points = points + np.clip(move, -4, 4)
        return points


def _left_tree(growth: _Growth, *, left_dominant: bool) -> list[Vessel]:
    """Left main, anterior descending branch with diagonals, circumflex branch with marginals."""
    heart, rng = growth.heart, growth.rng
    ostium, outward = _ostium(heart, towards=unit([0.25, 0.25, 0.95]))
    fork = heart.wall_point(rng.uniform(104, 116), rng.uniform(0, 4))
    main = growth.branch("LM", [ostium, ostium + 7 * outward, fork], diameters_mm=(4.8, 4.3), loose_mm=0.3)
    fork = main.points[-1]
    groove = rng.uniform(50, 60)
    apex = [heart.wall_point(groove - 8, 66), heart.wall_point(groove - 14, rng.uniform(82, 90))]
    descending = growth.branch(
        "LAD",
        [
            fork,
            heart.wall_point(84, 15),
            heart.wall_point(groove + 6, 32),
            heart.wall_point(groove - 2, 50),
            *apex,
        ],
        diameters_mm=(3.9, 1.7),
    )
    end = rng.uniform(262, 285) if left_dominant else rng.uniform(200, 238)
    around = [heart.wall_point(angle, rng.uniform(-4, 0)) for angle in np.linspace(128, end, 6)]
    circumflex = growth.branch("LCx", [fork, *around], diameters_mm=(3.6, 2.4 if left_dominant else 1.8))
    vessels = [main, descending, circumflex]
    for number, (start, turn) in enumerate(((0.22, 48), (0.4, 34), (0.58, 24))[: rng.integers(1, 4)]):
        at, angle, along = _on(descending, start), groove + 3, 12 + 82 * start
        course = [heart.wall_point(angle + share * turn, along + share * 34) for share in (0.35, 0.7, 1.0)]
        vessels.append(growth.branch(f"D{number + 1}", [at, *course], diameters_mm=(2.4, 1.5)))
    for number, start in enumerate((0.3, 0.55, 0.8)[: rng.integers(1, 4)]):
        at, angle = _on(circumflex, start), 112 + (end - 112) * start
        length = rng.uniform(40, 62)
        course = [heart.wall_point(angle + 6 * share, share * length) for share in (0.25, 0.6, 1.0)]
        vessels.append(growth.branch(f"OM{number + 1}", [at, *course], diameters_mm=(2.5, 1.5)))
    if left_dominant:
        course = [heart.wall_point(298, along) for along in (14, 36, rng.uniform(52, 66))]
        vessels.append(growth.branch("PDA", [_on(circumflex, 1.0), *course], diameters_mm=(2.3, 1.5)))
    return vessels


def _right_tree(growth: _Growth, *, left_dominant: bool) -> list[Vessel]:
    """Right coronary artery around the tricuspid ring, marginal branches, posterior descending branch."""
    heart, rng = growth.heart, growth.rng
    ostium, outward = _ostium(heart, towards=unit([0.15, -0.9, -0.4]))
    normal = heart.tricuspid.inward
    up = unit(np.array([1.0, 0, 0]) - normal[0] * normal)
    aside = -np.cross(up, normal)  # square to both; (z, y, x) triples turn the sign
    if aside[1] > 0:  # the free wall faces the front
        aside = -aside

    def ring(angle_deg: float) -> Vector:
        angle = np.radians(angle_deg)
        point: Vector = heart.tricuspid.point + 33 * heart.scale * (
            np.cos(angle) * up + np.sin(angle) * aside
        )
        return point

    end = rng.uniform(120, 150) if left_dominant else rng.uniform(205, 222)
    angles = np.linspace(42, end, 6)
    right = growth.branch(
        "RCA",
        [ostium, ostium + 5 * outward, *(ring(angle) for angle in angles)],
        diameters_mm=(3.9, 1.8 if left_dominant else 2.6),
    )
    vessels = [right]
    for number, start in enumerate((0.45, 0.62)[: rng.integers(1, 3)]):
        at = _on(right, start)
        along = heart.long_axis - 0.15 * normal
        out = unit(at - heart.tricuspid.point)
        course = [at + heart.scale * (d * along + 6 * out) for d in (14, 30, rng.uniform(42, 54))]
        vessels.append(growth.branch(f"AM{number + 1}", [at, *course], diameters_mm=(2.2, 1.5)))
    if not left_dominant:
        crux = _on(right, 1.0)
        course = [heart.wall_point(302, along) for along in (16, 38, rng.uniform(54, 70))]
        vessels.append(growth.branch("PDA", [crux, *course], diameters_mm=(2.4, 1.5)))
        course = [heart.wall_point(angle, along) for angle, along in ((282, 8), (262, 18), (248, 36))]
        vessels.append(growth.branch("PLV", [crux, *course], diameters_mm=(2.1, 1.5)))
    return vessels


def _ostium(heart: Heart, *, towards: Vector) -> tuple[Vector, Vector]:
    """A point just inside the wall of the aortic sinus, and the direction out of the aorta there."""
    # The sinuses end about 18 mm above the plane of the valves.
    heights = [
        abs((heart.base - piece.start) @ heart.long_axis - 14 * heart.scale) for piece in heart.aorta[:6]
    ]
    piece = heart.aorta[int(np.argmin(heights))]
    course = unit(piece.stop - piece.start)
    outward = unit(towards - (towards @ course) * course)
    return piece.start + (piece.start_radius - 1.0) * outward, outward


def _on(vessel: Vessel, share: float) -> Vector:
    """Point at a share of a vessel's length."""
    point: Vector = vessel.points[min(round(share * (len(vessel.points) - 1)), len(vessel.points) - 1)]
    return point
