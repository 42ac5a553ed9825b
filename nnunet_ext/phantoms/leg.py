"""One leg of a random patient from thigh to shin, in mm around the middle of its knee.

In a leg's own frame z rises to the hip, y to the back and ``aside`` away from the other leg, so that one
description serves both. Sizes are those of an adult in anatomy textbooks: condyles 80 mm wide, shaft of the
femur 28 mm with a cortex of 5 to 7 mm, of the tibia 25 to 30 mm, of the fibula 12 mm; patella 42 mm high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.combined import Rough, Union, Without
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.scene import Paint, Solid, Stroke
from nnunet_ext.phantoms.shapes import FloatArray, Triple, Waves
from nnunet_ext.phantoms.solids import EVERYWHERE, Capsule, Ellipsoid, Shape, tube
from nnunet_ext.phantoms.view import View

# Half of the length that is modelled: no hip and no foot.
REACH_MM = 330.0
_SOFT = (Material.FAT, Material.MUSCLE)
_BONE = (Material.LIMB_COMPACT, Material.LIMB_SPONGY, Material.LIMB_MARROW)


@dataclass(frozen=True)
class Leg:
    """Where a leg lies and how large it is.

    Attributes:
        knee_mm: middle of the knee joint (z, y, x) in the patient's frame.
        side: 1 for the patient's left leg, -1 for the right one.
        scale: size against an adult of textbook size.
        lean: how far the leg's axis moves aside per mm upwards.
        turn_rad: turn about its own axis, toes outwards.
        cortex_mm: thickness of the cortex in the middle of the femur.
    """

    knee_mm: Triple
    side: int
    scale: float
    lean: float
    turn_rad: float
    cortex_mm: float

    def place(self, points: Sequence[Triple]) -> NDArray[np.float64]:
        """Points (z, back, aside) of the leg's own frame in the patient's frame, as (N, 3)."""
        z, back, aside = (self.scale * np.asarray(points, dtype=np.float64)).T
        cos, sin = np.cos(self.turn_rad), np.sin(self.turn_rad)
        # Toes outwards: what is in front (back < 0) moves aside.
        turned_back, turned_aside = cos * back + sin * aside, cos * aside - sin * back
        moved = np.stack([z, turned_back, self.side * (turned_aside + self.lean * z)], axis=1)
        placed: NDArray[np.float64] = moved + np.asarray(self.knee_mm)
        return placed

    def body(self, center: Triple, radii: Triple) -> Ellipsoid:
        """Ellipsoid given in the leg's own frame."""
        cos, sin = np.cos(self.turn_rad), np.sin(self.turn_rad) * self.side
        axes = np.array([[1.0, 0, 0], [0, cos, -sin], [0, sin, cos]])
        return Ellipsoid(self.place([center])[0], self.scale * np.asarray(radii, dtype=np.float64), axes)

    def along(self, points: Sequence[Triple], radii_mm: Sequence[float]) -> list[Capsule]:
        """Tube given in the leg's own frame."""
        return tube(self.place(points), self.scale * np.asarray(radii_mm, dtype=np.float64))


def draw_leg(rng: np.random.Generator, *, knee_mm: Triple, side: int, scale: float, cortex_mm: float) -> Leg:
    """A leg around a given knee; its turn and lean vary.

    Example:
        >>> leg = draw_leg(np.random.default_rng(0), knee_mm=(0, 0, 95), side=1, scale=1, cortex_mm=6)
        >>> leg.place([(0, 0, 10)])[0, 2] > 95  # aside of the left knee is to the left
        np.True_
    """
    return Leg(
        knee_mm=knee_mm,
        side=side,
        scale=scale,
        lean=rng.uniform(0.0, 0.06),
        turn_rad=rng.uniform(-0.1, 0.35),
        cortex_mm=cortex_mm,
    )


def leg_strokes(leg: Leg, rng: np.random.Generator, *, fat_mm: float, couch_y_mm: float) -> list[Paint]:
    """Strokes for one leg: soft tissue, vessels and tendons, the four bones.

    Args:
        leg: the drawn leg.
        rng: source of randomness.
        fat_mm: thickness of the fat under the skin at the thigh.
        couch_y_mm: where the couch flattens the calf.

    Returns:
        Strokes in painting order.
    """
    return [
        *_soft_tissue(leg, rng, fat_mm=fat_mm, couch_y_mm=couch_y_mm),
        *_vessels_and_tendons(leg, rng),
        *_bones(leg, rng),
    ]


def _soft_tissue(leg: Leg, rng: np.random.Generator, *, fat_mm: float, couch_y_mm: float) -> list[Paint]:
    """Skin and fat, muscles, and the fat between them; around the knee there is little muscle."""
    heights = np.array([-330, -230, -130, -60, 0, 60, 160, 330]) * leg.scale + leg.knee_mm[0]
    radius = np.array([40, 52, 60, 57, 62, 66, 78, 92]) * leg.scale * rng.uniform(0.94, 1.06)
    # Muscle ends well under the skin beside the joint; joint fat and tendons fill the rest.
    rind = np.array([4, 5, 6, 11, 17, 12, 10, 13]) / 10 * fat_mm
    back = np.array([4, 12, 16, 10, 4, 6, 4, 4]) * leg.scale
    uneven, septa = Waves.draw(rng, wavelength=120), Waves.draw(rng, wavelength=46)
    streaks = Waves.draw(rng, wavelength=17)
    couch = np.float32(couch_y_mm)

    def depth(view: View, inner: NDArray[np.float64]) -> FloatArray:
        z = view.grid.z
        middle_x = leg.knee_mm[2] + leg.side * leg.lean * (z - leg.knee_mm[0])
        middle_y = leg.knee_mm[1] + np.interp(z, heights, back)
        r = np.hypot(view.grid.x - middle_x, view.grid.y - middle_y)
        level: FloatArray = (np.interp(z, heights, radius - inner) - r).astype(np.float32)
        return level + np.float32(1.5) * view.field(uneven)

    skin = Shape(lambda view: np.minimum(depth(view, np.zeros(8)), couch - view.grid.y), _around(leg))
    muscle = Shape(lambda view: np.minimum(depth(view, rind), couch - 4 - view.grid.y), _around(leg))
    between = Shape(lambda view: np.float32(0.09) - np.abs(view.field(septa)), _around(leg))
    within = Shape(lambda view: np.float32(0.02) - np.abs(view.field(streaks)), _around(leg))
    return [
        Stroke(skin, Material.SKIN, over={Material.AIR}),
        Stroke(
            Shape(lambda view: skin.level_mm(view) - np.float32(1.6), _around(leg)),
            Material.FAT,
            over={Material.SKIN},
        ),
        Stroke(muscle, Material.MUSCLE, over={Material.FAT}),
        Stroke(between, Material.FAT, over={Material.MUSCLE}),
        Stroke(within, Material.FAT, over={Material.MUSCLE}),
    ]


def _around(leg: Leg) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A box that holds the leg along x; y and z are open."""
    low, high = EVERYWHERE[0].copy(), EVERYWHERE[1].copy()
    low[2], high[2] = leg.knee_mm[2] - 135, leg.knee_mm[2] + 135
    return low, high


def _vessels_and_tendons(leg: Leg, rng: np.random.Generator) -> list[Paint]:
    """Popliteal artery and vein, a saphenous vein, quadriceps and patellar tendon, ligaments, menisci."""
    artery: list[Triple] = [(340, -12, -34), (160, 8, -22), (60, 34, -4), (-40, 36, 0), (-120, 28, 4)]
    deep = leg.along([*artery, (-340, 20, 2)], [4.2, 4, 3.6, 3.2, 2.4, 1.8])
    vein = leg.along([(z, y + 8, x + 3) for z, y, x in artery], [5.2, 5, 4.5, 4, 3])
    shallow = leg.along([(340, 30, -62), (40, 32, -44), (-320, 10, -32)], [2.6, 2.2, 2.0])
    quadriceps = leg.along([(120, -44, 2), (46, -48, 1)], [7, 7])
    patellar = leg.along([(2, -46, 0), (-42, -40, 1)], [5, 5])
    menisci = [leg.body((0, 4, side * 22), (4, 22, 17)) for side in (-1, 1)]
    cruciate = leg.along([(12, 12, 6), (-6, -4, -4)], [5, 5])
    joint_fat = Rough(leg.body((4, -22, 0), (24, 18, 26)), Waves.draw(rng, wavelength=30), 2)
    return [
        Stroke(joint_fat, Material.FAT, over={Material.MUSCLE}),
        *(Stroke(piece, Material.VEIN, over=_SOFT) for piece in (*vein, *shallow)),
        *(Stroke(piece, Material.ARTERY) for piece in deep),
        *(Stroke(piece, Material.TENDON, over=_SOFT) for piece in (*quadriceps, *patellar, *cruciate)),
        *(Stroke(piece, Material.CARTILAGE, over=_SOFT) for piece in menisci),
    ]


def _bones(leg: Leg, rng: np.random.Generator) -> list[Paint]:
    """Femur, tibia, fibula and patella: compact bone around spongy ends and shafts full of marrow."""

    def near(value: float) -> float:
        return value * rng.uniform(0.93, 1.07)

    bow = near(-10)
    femur = Union(
        [
            leg.body((near(17), 7, -21), (near(22), near(30), near(18.5))),
            leg.body((near(17), 6, 22), (near(21), near(30), near(18.5))),
            leg.body((near(36), -2, 0), (near(24), near(19), near(30))),
            Union(leg.along([(40, -2, 0), (90, -6, 1), (180, bow, 3), (345, -2, 6)], [19, 15, 13.5, 14.5])),
        ],
        blend_mm=16,
    )
    tibia = Union(
        [
            leg.body((near(-17), 4, -19), (near(12), near(24), near(21))),
            leg.body((near(-17), 4, 19), (near(12), near(23), near(21))),
            Union(
                leg.along([(-20, 2, 0), (-60, -4, -3), (-150, -6, -6), (-345, -2, -8)], [20, 15.5, 12.5, 11])
            ),
        ],
        blend_mm=14,
    )
    fibula = Union(
        [
            leg.body((-28, 22, 35), (near(13), near(9), near(9))),
            Union(
                leg.along([(-30, 22, 35), (-70, 20, 32), (-200, 16, 27), (-345, 12, 22)], [7, 5.5, 6, 6.5])
            ),
        ],
        blend_mm=5,
    )
    patella = leg.body((near(24), -44, near(1) - 1), (near(21), near(9.5), near(21)))
    hollow_mm = 0.72 * leg.cortex_mm
    gap = leg.body((-2.2, 4, 0), (1.9, 60, 70))
    return [
        *_bone(Without(femur, gap), rng, middle_mm=leg.knee_mm[0] + 190, shaft_mm=leg.cortex_mm),
        *_bone(Without(tibia, gap), rng, middle_mm=leg.knee_mm[0] - 190, shaft_mm=0.9 * leg.cortex_mm),
        *_bone(fibula, rng, middle_mm=leg.knee_mm[0] - 190, shaft_mm=min(hollow_mm, 3.4)),
        *_bone(patella, rng, middle_mm=1e4, shaft_mm=2.0),
    ]


def _bone(solid: Solid, rng: np.random.Generator, *, middle_mm: float, shaft_mm: float) -> list[Paint]:
    """One bone: thick cortex in the shaft and thin at the ends, where spongy bone fills it.

    Args:
        solid: the bone's outside.
        rng: source of randomness.
        middle_mm: z of the middle of the shaft.
        shaft_mm: thickness of the cortex there.
    """
    rough = Rough(solid, Waves.draw(rng, wavelength=22), 0.5)
    cells = Waves.draw(rng, wavelength=6)

    def share_of_shaft(view: View) -> FloatArray:
        # 1 along the shaft, 0 from about 80 mm off its end.
        away = np.abs(view.grid.z - np.float32(middle_mm))
        share: FloatArray = np.clip((150 - away) / 50, 0, 1).astype(np.float32)
        return share

    def inside(view: View) -> FloatArray:
        cortex = np.float32(1.3) + share_of_shaft(view) * np.float32(shaft_mm - 1.3)
        level: FloatArray = rough.level_mm(view) - cortex
        return level

    def fatty(view: View) -> FloatArray:
        # Spongy bone gives way to marrow towards the shaft, and islands of marrow lie within it.
        marrow = share_of_shaft(view) - np.float32(0.45) + np.float32(0.22) * view.field(cells)
        level: FloatArray = np.minimum(inside(view), marrow)
        return level

    return [
        Stroke(rough, Material.LIMB_COMPACT),
        Stroke(Shape(inside, solid.bounds), Material.LIMB_SPONGY, over={Material.LIMB_COMPACT}),
        Stroke(Shape(fatty, solid.bounds), Material.LIMB_MARROW, over={Material.LIMB_SPONGY}),
    ]
