"""Head of a random patient, in mm around the middle between both eyes and between forehead and occiput.

z = 0 is the level of the eyes. Sizes are those of an adult in anatomy textbooks: eyeball 24 mm, lens 9 x 4,
optic nerve 4 to 5 with its sheath, chiasm 14 wide, skull 150 x 190.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.combined import Common, Grown, Rough, Union
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.phantoms.scene import Coat, Layers, Paint, Solid, Stroke, Warped
from nnunet_ext.phantoms.shapes import FloatArray, Triple, Waves
from nnunet_ext.phantoms.solids import Capsule, Ellipsoid, Shape, tube
from nnunet_ext.phantoms.view import View, Warp

SIDES = (-1, 1)


@dataclass(frozen=True)
class Head:
    """How large a head is and how it is held.

    Attributes:
        scale: size against an adult of textbook size.
        tilt: small turn of the head on the headrest.
        warp: smooth displacement of everything in the head.
    """

    scale: float
    tilt: RigidMotion
    warp: Warp

    def place(self, points: Sequence[Triple] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (N, 3) of the textbook head in this head, before the warp."""
        return self.tilt.move(self.scale * np.asarray(points, dtype=np.float64))

    def body(self, center: Triple, radii: Triple, *, least_mm: Triple = (0.0, 0.0, 0.0)) -> Ellipsoid:
        """Ellipsoid of the textbook head; no half axis is below ``least_mm``."""
        sizes = np.maximum(self.scale * np.asarray(radii, dtype=np.float64), least_mm)
        return Ellipsoid(self.place([center])[0], sizes, self.tilt.matrix.T)

    def along(
        self, points: Sequence[Triple], radii_mm: Sequence[float], *, thinnest_mm: Triple = (0.0, 0.0, 0.0)
    ) -> list[Capsule]:
        """Tube of the textbook head."""
        radii = self.scale * np.asarray(radii_mm, dtype=np.float64)
        return tube(self.place(points), radii, thinnest_mm=thinnest_mm)


def draw_head(rng: np.random.Generator) -> Head:
    """A random head.

    Example:
        >>> 0.9 < draw_head(np.random.default_rng(0)).scale < 1.1
        True
    """
    turn = rng.uniform(-1, 1, size=3) * (4, 3, 5)
    return Head(
        scale=rng.uniform(0.94, 1.06),
        tilt=RigidMotion(turn_deg=(float(turn[0]), float(turn[1]), float(turn[2]))),
        warp=Warp.draw(rng, wavelength_mm=110, amplitude_mm=1.1),
    )


def head_strokes(head: Head, rng: np.random.Generator, *, organs: Sequence[Paint]) -> list[Paint]:
    """Strokes for couch, headrest, thermoplastic mask and the head.

    Args:
        head: the drawn head.
        rng: source of randomness.
        organs: what is painted last, in the head's own warp: orbits and optic pathway.

    Returns:
        Strokes in painting order.
    """
    outline = Rough(_outline(head), Waves.draw(rng, wavelength=60), 1.0)
    strokes: list[Paint] = [
        *_mask(outline, rng),
        *_soft_tissue(head, outline, rng),
        *_skull_and_brain(head, rng),
        *_face(head, rng),
        *organs,
    ]
    far = np.full(3, 260.0)
    return [*_couch(head), Warped(strokes=strokes, warp=head.warp, low=-far, high=far)]


def _outline(head: Head) -> Solid:
    """Cranium, face, nose, closed lids, neck."""
    lids = [head.body((0, -65, 31.5 * side), (15, 15.5, 17)) for side in SIDES]
    nose = Union(head.along([(4, -86, 0), (-26, -103, 0), (-32, -92, 0)], [6, 11, 13]))
    return Union(
        [
            head.body((30, 4, 0), (82, 97, 77)),
            head.body((-40, -40, 0), (72, 50, 62)),
            Union(head.along([(-50, 26, 0), (-230, 44, 0)], [56, 60])),
            *lids,
            nose,
        ],
        blend_mm=12,
    )


def _couch(head: Head) -> list[Paint]:
    """Couch board and a foam headrest with a hollow for the head."""
    top_mm = np.float32(108 * head.scale)

    def slab(start_mm: float, stop_mm: float) -> Shape:
        middle, half = top_mm + np.float32((start_mm + stop_mm) / 2), np.float32((stop_mm - start_mm) / 2)
        return Shape(lambda view: half - np.abs(view.grid.y - middle))

    def rest(view: View) -> FloatArray:
        width = np.float32(95) - np.abs(view.grid.x)
        level: FloatArray = np.minimum(width, np.minimum(view.grid.y - (top_mm - 45), top_mm - view.grid.y))
        return level

    return [
        Stroke(slab(0, 30), Material.COUCH),
        Stroke(slab(2.5, 27.5), Material.FOAM),
        Stroke(Shape(rest), Material.FOAM),
    ]


def _mask(outline: Solid, rng: np.random.Generator) -> list[Paint]:
    """A perforated thermoplastic shell that mostly touches the skin; it ends beside the headrest."""
    gap = Waves.draw(rng, wavelength=45)
    thick_mm, pitch_mm = rng.uniform(2.0, 2.8), rng.uniform(9, 12)

    def shell(view: View) -> FloatArray:
        off_mm = -outline.level_mm(view) - np.clip(0.6 + 0.8 * view.field(gap), 0, 3)
        sheet = np.minimum(off_mm, np.float32(thick_mm) - off_mm)
        turns = np.float32(2 * np.pi / pitch_mm)
        holes = np.cos(view.grid.z * turns) * np.cos(view.grid.x * turns)
        level: FloatArray = np.minimum(np.minimum(sheet, np.float32(0.7) - holes), 62 - view.grid.y)
        return level

    low, high = outline.bounds
    return [Stroke(Shape(shell, (low - 6, high + 6)), Material.MASK, over={Material.AIR})]


def _soft_tissue(head: Head, outline: Solid, rng: np.random.Generator) -> list[Paint]:
    """Skin, the fat under it, muscle with layers of fat, and the spine of the neck."""
    layers = Waves.draw(rng, wavelength=24)
    fat_mm = np.float32(rng.uniform(5, 8))
    streaks = Shape(lambda view: np.float32(0.22) - np.abs(view.field(layers)), outline.bounds)
    chewing = [head.body((-4, -12, 68 * side), (38, 32, 12)) for side in SIDES]
    neck = head.along([(-52, 28, 0), (-230, 46, 0)], [12, 12])
    canal = head.along([(-48, 34, 0), (-62, 44, 0), (-230, 62, 0)], [8, 8, 8])
    return [
        Layers(
            outline,
            [
                Coat(lambda level, _: level, Material.SKIN),
                Coat(lambda level, _: level - np.float32(2), Material.FAT),
                Coat(lambda level, _: level - fat_mm, Material.MUSCLE),
            ],
        ),
        Stroke(streaks, Material.FAT, over={Material.MUSCLE}),
        *(Stroke(Common([muscle, Grown(outline, -4)]), Material.MUSCLE) for muscle in chewing),
        *(Stroke(piece, Material.COMPACT_BONE) for piece in neck),
        *(Stroke(Grown(piece, -2), Material.SPONGY_BONE) for piece in neck),
        *(Stroke(Grown(piece, 3), Material.COMPACT_BONE) for piece in canal),
        *(Stroke(piece, Material.FLUID) for piece in canal),
        *(Stroke(Grown(piece, -2.5), Material.NERVE) for piece in canal),
    ]


def _cavity(head: Head) -> Union:
    """The inside of the skull: the cerebrum, both middle fossae and the posterior fossa."""
    return Union(
        [
            head.body((45, 3, 0), (57, 84, 66)),
            *(head.body((2, -4, 38 * side), (22, 34, 20)) for side in SIDES),
            head.body((-18, 42, 0), (32, 36, 50)),
        ],
        blend_mm=8,
    )


def _skull_and_brain(head: Head, rng: np.random.Generator) -> list[Paint]:
    """Calvarium with diploe, skull base, fluid, cortex with sulci, white matter, ventricles, brainstem."""
    cavity = _cavity(head)
    thick_mm = rng.uniform(5, 7.5)
    folds, fine = Waves.draw(rng, wavelength=17), Waves.draw(rng, wavelength=7)

    def cortex(level: FloatArray, view: View) -> FloatArray:
        # Sulci are narrow: fluid where a folded field is near zero, near the surface only.
        open_mm = np.clip(10 - 60 * np.abs(view.field(folds)), 0, None)
        matter: FloatArray = level - np.float32(2.2) - open_mm
        return matter

    def white(level: FloatArray, view: View) -> FloatArray:
        # White matter reaches far into the gyri, and gray matter lines the sulci.
        reach = np.minimum(np.abs(view.field(folds)), 1)
        core: FloatArray = (level - 13 + 7.5 * reach).astype(np.float32)
        return core

    def leaves(view: View) -> FloatArray:
        level: FloatArray = view.field(fine) - np.float32(0.1)
        return level

    # Each structure's size varies on its own.
    def near(center: Triple, radii: Triple) -> Ellipsoid:
        z, y, x = (float(r * f) for r, f in zip(radii, rng.uniform(0.85, 1.15, size=3), strict=True))
        return head.body(center, (z, y, x))

    cerebellum = Common([head.body((-18, 44, 0), (28, 30, 44)), Grown(cavity, -3)])
    stem = Union(
        [
            near((8, 15, 0), (11, 10, 14)),
            near((-13, 13, 0), (14, 13, 17)),
            Union(head.along([(-26, 18, 0), (-50, 34, 0)], [9, 7.5])),
        ],
        blend_mm=5,
    )
    nuclei = [near((32, -2, 21 * side), (15, 22, 9)) for side in SIDES]
    ventricles = [near((49, -2, 10 * side), (9, 34, 6)) for side in SIDES]
    ventricles += [near((38, 38, 20 * side), (8, 16, 7)) for side in SIDES]
    ventricles += [near((29, 8, 0), (11, 14, 2.2)), near((-12, 33, 0), (10, 6, 8))]
    falx = Common([head.body((62, 6, 0), (52, 92, 1.0)), cavity])
    base = head.body((-12, -8, 0), (17, 36, 42))
    return [
        Layers(
            cavity,
            [
                Coat(lambda level, _: level + np.float32(thick_mm), Material.COMPACT_BONE),
                Coat(lambda level, _: level + np.float32(thick_mm - 1.8), Material.SPONGY_BONE),
                Coat(lambda level, _: level + np.float32(1.8), Material.COMPACT_BONE),
            ],
            margin_mm=1.5 * thick_mm,
        ),
        Stroke(base, Material.COMPACT_BONE),
        Stroke(Grown(base, -3), Material.SPONGY_BONE),
        Layers(
            cavity,
            [
                Coat(lambda level, _: level, Material.FLUID),
                Coat(cortex, Material.GRAY_MATTER, over={Material.FLUID}),
                Coat(white, Material.WHITE_MATTER, over={Material.GRAY_MATTER}),
            ],
        ),
        *(Stroke(nucleus, Material.GRAY_MATTER, over={Material.WHITE_MATTER}) for nucleus in nuclei),
        Stroke(Grown(cerebellum, 2), Material.FLUID),
        Stroke(cerebellum, Material.GRAY_MATTER),
        Stroke(
            Common([Grown(cerebellum, -4), Shape(leaves)]), Material.WHITE_MATTER, over={Material.GRAY_MATTER}
        ),
        Stroke(falx, Material.DURA),
        Stroke(Grown(stem, 3), Material.FLUID),
        Stroke(stem, Material.BRAINSTEM),
        *(Stroke(ventricle, Material.FLUID) for ventricle in ventricles),
    ]


def _face(head: Head, rng: np.random.Generator) -> list[Paint]:
    """Jaws, cheekbones, nose and the air-filled sinuses, whose sizes vary much between people."""

    def sinus(center: Triple, radii: Triple) -> list[Paint]:
        size = rng.uniform(0.75, 1.1)
        body = head.body(center, (radii[0] * size, radii[1] * size, radii[2] * size))
        filled = rng.random() < 0.15  # mucus, as in a common cold
        return [
            Stroke(Grown(body, 1.3), Material.COMPACT_BONE),
            Stroke(body, Material.FLUID if filled else Material.AIRWAY),
        ]

    conchae = Waves.draw(rng, wavelength=11)
    nose = head.body((-26, -60, 0), (18, 30, 12))
    folded = Shape(lambda view: np.float32(0.5) - np.abs(view.field(conchae)), nose.bounds)
    jaw = head.along([(-95, -82, 0), (-86, -62, 28), (-72, -30, 46), (-22, -16, 52)], [7, 6.5, 6, 5])
    jaw += head.along([(-95, -82, 0), (-86, -62, -28), (-72, -30, -46), (-22, -16, -52)], [7, 6.5, 6, 5])
    arches = [
        piece
        for side in SIDES
        for piece in head.along(
            [(-16, -64, 42 * side), (-15, -45, 60 * side), (-14, -10, 66 * side)], [7, 4, 4]
        )
    ]
    palate = head.body((-55, -62, 0), (12, 26, 27))
    return [
        *(Stroke(piece, Material.COMPACT_BONE) for piece in (*jaw, *arches)),
        *(Stroke(Grown(piece, -2.5), Material.SPONGY_BONE, over={Material.COMPACT_BONE}) for piece in jaw),
        Stroke(palate, Material.COMPACT_BONE),
        Stroke(Grown(palate, -3), Material.SPONGY_BONE),
        *(s for side in SIDES for s in sinus((-30, -54, 28 * side), (14, 17, 13))),
        *(s for side in SIDES for s in sinus((27, -80, 13 * side), (9, 5, 12))),
        *(s for side in SIDES for s in sinus((-7, -15, 7.5 * side), (8, 12, 7))),
        Stroke(Grown(nose, 1.3), Material.COMPACT_BONE),
        Stroke(nose, Material.AIRWAY),
        Stroke(folded, Material.MUSCLE, over={Material.AIRWAY}),
        *(Stroke(piece, Material.AIRWAY) for piece in head.along([(-30, -34, 0), (-120, -8, 0)], [11, 9])),
    ]
