"""Eyes, optic nerves and chiasm of a head, with what surrounds them: the seven organs of paper 003.

Positions are those of the textbook head of :mod:`nnunet_ext.phantoms.head`. Left is the patient's left, at
larger x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_ext.phantoms.combined import Grown, Union
from nnunet_ext.phantoms.curves import smooth_curve
from nnunet_ext.phantoms.head import SIDES, Head
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.scene import Paint, Stroke
from nnunet_ext.phantoms.shapes import Triple
from nnunet_ext.phantoms.solids import Capsule, unit

_EYE = {-1: Material.EYE_RIGHT, 1: Material.EYE_LEFT}
_LENS = {-1: Material.LENS_RIGHT, 1: Material.LENS_LEFT}
_NERVE = {-1: Material.NERVE_RIGHT, 1: Material.NERVE_LEFT}
_EYE_RADIUS_MM = 12.0


@dataclass(frozen=True)
class _Gaze:
    """One eye of a textbook head.

    Attributes:
        side: 1 left, -1 right.
        center: middle of the eyeball.
        forward: unit vector along which the eye looks.
        size: size against a textbook eye.
    """

    side: int
    center: Triple
    forward: Triple
    size: float

    def ahead(self, distance_mm: float) -> Triple:
        """A point on the line of sight; negative is behind the middle of the eyeball."""
        z, y, x = (float(c + distance_mm * f) for c, f in zip(self.center, self.forward, strict=True))
        return (z, y, x)


def optic_strokes(head: Head, rng: np.random.Generator, *, voxel_mm: Triple) -> list[Paint]:
    """Strokes for both orbits and the optic pathway.

    Args:
        head: the drawn head.
        rng: source of randomness: place and size of the eyes, gaze, course of the nerves.
        voxel_mm: voxel size of the reference image; lens, nerve and chiasm are drawn no thinner than about
            that, so that a coarse label map still holds them.

    Returns:
        Strokes in painting order, to be seen through the head's warp.
    """
    apart, back, up = rng.uniform(29.5, 33), rng.uniform(-68, -63.5), rng.uniform(-1.5, 1.5)
    size = rng.uniform(0.94, 1.02)
    look_up, look_left = rng.uniform(-0.2, 0.2, size=2)
    eyes = []
    for side in SIDES:
        jitter = rng.uniform(-0.8, 0.8, size=3)
        look = unit([look_up + 0.04 * jitter[0], -1.0, look_left])
        eyes.append(
            _Gaze(
                side=side,
                center=(float(up + jitter[0]), float(back + jitter[1]), float(side * apart + jitter[2])),
                forward=(float(look[0]), float(look[1]), float(look[2])),
                size=float(size),
            )
        )
    chiasm: Triple = (float(rng.uniform(8.5, 12)), float(rng.uniform(-9, -5)), float(rng.uniform(-1, 1)))
    thin = (0.6 * voxel_mm[0], 0.6 * voxel_mm[1], 0.6 * voxel_mm[2])
    strokes: list[Paint] = []
    for eye in eyes:
        strokes += _orbit(head, eye)
    strokes += _around_chiasm(head, chiasm)
    for eye in eyes:
        strokes += _nerve(head, eye, rng, chiasm=chiasm, thin_mm=thin)
    strokes += _chiasm(head, chiasm, thin_mm=thin)
    for eye in eyes:
        strokes += _eye(head, eye, voxel_mm=voxel_mm)
    return strokes


def _orbit(head: Head, eye: _Gaze) -> list[Paint]:
    """The bony cone, its fat, five muscles and the lacrimal gland."""
    side = eye.side
    apex: Triple = (4, -27, 15 * side)
    z, y, x = eye.center
    cone = Union(head.along([apex, (z, y + 6, x + 1.5 * side)], [5, 17.5]))
    lids = head.body((z, y - 8, x), (13, 10, 15))
    muscles: list[Capsule] = []
    for dz, dx in ((12.5, 0.0), (-12.5, 0.0), (0.0, 12.5), (0.0, -12.5), (8.5, -9.0)):
        waypoints: list[Triple] = [
            (apex[0] + 0.25 * dz, apex[1] - 2, apex[2] + 0.25 * dx * side),
            (z + 0.85 * dz, y + 15, x - 6 * side + 0.8 * dx * side),
            (z + dz, y - 1, x + dx * side),
        ]
        muscles += head.along(waypoints, [1.5, 2.4, 1.2])
    gland = head.body((z + 9, y - 2, x + 13 * side), (5, 6, 3))
    return [
        Stroke(Grown(cone, 1.6), Material.COMPACT_BONE),
        Stroke(lids, Material.FAT, over={Material.MUSCLE, Material.COMPACT_BONE, Material.SPONGY_BONE}),
        Stroke(cone, Material.FAT),
        *(Stroke(piece, Material.MUSCLE) for piece in muscles),
        Stroke(gland, Material.GLAND, over={Material.FAT}),
    ]


def _eye(head: Head, eye: _Gaze, *, voxel_mm: Triple) -> list[Paint]:
    """Eyeball with cornea, and the lens inside it."""
    radius = _EYE_RADIUS_MM * eye.size
    ball = head.body(eye.center, (radius, radius * 1.01, radius))
    cornea = head.body(eye.ahead(0.42 * radius), (0.66 * radius, 0.68 * radius, 0.66 * radius))
    half = 0.72 * np.asarray(voxel_mm)
    lens = head.body(
        eye.ahead(0.62 * radius),
        (4.6 * eye.size, 2.1 * eye.size, 4.6 * eye.size),
        least_mm=(float(half[0]), float(half[1]), float(half[2])),
    )
    return [
        Stroke(Union([ball, cornea]), _EYE[eye.side]),
        Stroke(lens, _LENS[eye.side], over={_EYE[eye.side]}),
    ]


def _nerve(
    head: Head, eye: _Gaze, rng: np.random.Generator, *, chiasm: Triple, thin_mm: Triple
) -> list[Paint]:
    """Optic nerve from the back of the eyeball through the canal to the chiasm, in a sheath of fluid."""
    side = eye.side
    slack = rng.uniform(-2.5, 2.5, size=2)  # the nerve is longer than the orbit, so it bends
    start = eye.ahead(-_EYE_RADIUS_MM * eye.size + 0.5)
    waypoints = np.array(
        [
            (start[0], start[1], start[2] - 2.5 * side),
            (0.6 * start[0] + 0.8 + slack[0], -42.0, (24.5 + slack[1]) * side),
            (4.0, -29.0, 16.5 * side),
            (6.5, -21.0, 12.0 * side),
            (chiasm[0] - 0.8, chiasm[1] - 5.0, chiasm[2] + 5.0 * side),
        ]
    )
    curve = smooth_curve(waypoints, step_mm=2.5)
    points: list[Triple] = [(float(z), float(y), float(x)) for z, y, x in curve]
    radius = rng.uniform(1.9, 2.5)
    radii = np.full(len(points), radius)
    # In its canal the nerve is flat, and behind it has no sheath.
    radii[-5:] *= 0.92
    pieces = head.along(points, list(radii), thinnest_mm=thin_mm)
    sheath = [Grown(piece, 0.9) for piece in pieces[:-5]]
    canal = head.along([(4.0, -29.0, 16.5 * side), (6.5, -21.0, 12.0 * side)], [4.6, 4.6])
    return [
        *(Stroke(piece, Material.COMPACT_BONE, over={Material.SPONGY_BONE}) for piece in canal),
        *(Stroke(piece, Material.FLUID) for piece in sheath),
        *(Stroke(piece, _NERVE[side]) for piece in pieces),
    ]


def _around_chiasm(head: Head, chiasm: Triple) -> list[Paint]:
    """Suprasellar cistern, pituitary gland with its stalk, and the carotid siphons beside them."""
    z, y, x = chiasm
    cistern = head.body((z, y + 1, x), (7, 13, 15))
    gland = head.body((z - 10.5, y + 1, x), (4, 5, 6.5))
    saddle = head.body((z - 13, y + 1, x), (6.5, 9, 11))
    stalk = head.along([(z - 7, y + 2, x), (z - 1, y + 3, x)], [1.4, 1.4])
    strokes: list[Paint] = [
        Stroke(saddle, Material.COMPACT_BONE, over={Material.SPONGY_BONE, Material.AIRWAY}),
        Stroke(cistern, Material.FLUID),
        Stroke(Grown(gland, 0.8), Material.DURA),
        Stroke(gland, Material.GLAND),
        *(Stroke(piece, Material.GLAND) for piece in stalk),
    ]
    for side in SIDES:
        siphon = head.along(
            [
                (-48, 4, 24 * side),
                (z - 22, y + 12, 17 * side),
                (z - 12, y + 6, 12.5 * side),
                (z - 9, y - 6, 11.5 * side),
                (z - 2, y - 7, 11 * side),
                (z + 1, y + 1, 11 * side),
                (z + 1, y + 4, 26 * side),
                (z + 6, y + 6, 40 * side),
            ],
            [2.6, 2.6, 2.5, 2.4, 2.2, 2.1, 1.6, 1.3],
        )
        strokes += [Stroke(piece, Material.ARTERY) for piece in siphon]
    return strokes


def _chiasm(head: Head, chiasm: Triple, *, thin_mm: Triple) -> list[Paint]:
    """The crossing with its four limbs; the tracts go on behind, where the label ends."""
    z, y, x = chiasm
    limbs: list[Capsule] = []
    tracts: list[Capsule] = []
    for side in SIDES:
        front: Triple = (z - 0.6, y - 4.5, x + 4.6 * side)
        rear: Triple = (z + 0.8, y + 5.0, x + 5.5 * side)
        limbs += head.along([front, (z, y, x + 0.8 * side), rear], [2.1, 2.3, 2.0], thinnest_mm=thin_mm)
        tracts += head.along(
            [rear, (z + 2, y + 14, x + 12 * side), (z + 3, y + 24, x + 17 * side)], [1.9, 1.9, 2]
        )
    plate = head.body(chiasm, (1.9, 3.2, 5.5), least_mm=thin_mm)
    return [
        *(Stroke(piece, Material.WHITE_MATTER) for piece in tracts),
        *(Stroke(piece, Material.CHIASM) for piece in limbs),
        Stroke(plate, Material.CHIASM),
    ]
