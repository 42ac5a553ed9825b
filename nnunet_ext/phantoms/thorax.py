"""Chest of a random patient, without heart and great vessels, in mm around the heart.

The origin is the middle of the heart. Sizes are those of an adult in anatomy textbooks: a chest about 300 mm
wide and 220 mm deep, vertebral bodies 35 mm wide, the left dome of the diaphragm lower than the right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_ext.phantoms.combined import Common, Rough
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.scene import Paint, Stroke
from nnunet_ext.phantoms.shapes import FloatArray, Waves
from nnunet_ext.phantoms.solids import Capsule, Ellipsoid, Shape, tube
from nnunet_ext.phantoms.view import View

# The heart lies left of the midline.
MIDLINE_X_MM = -10.0
SPINE_Y_MM = 72.0
_SOFT = (Material.FAT, Material.MUSCLE, Material.LUNG)


@dataclass(frozen=True)
class Trunk:
    """Outline of the chest: an elliptic cylinder with an uneven skin.

    Attributes:
        center_y_mm: position of the axis.
        half_width_mm: half axis along x.
        half_depth_mm: half axis along y.
        skin: unevenness of the skin.
    """

    center_y_mm: float
    half_width_mm: float
    half_depth_mm: float
    skin: Waves

    def depth_mm(self, view: View) -> FloatArray:
        """About the depth under the skin; at the flanks it counts up to half as much again."""
        across = ((view.grid.x - MIDLINE_X_MM) / self.half_width_mm) ** 2
        along = ((view.grid.y - self.center_y_mm) / self.half_depth_mm) ** 2
        depth = (1 - np.sqrt(along + across)) * np.float32(self.half_depth_mm)
        uneven: FloatArray = (depth + 2 * view.field(self.skin)).astype(np.float32)
        return uneven

    @property
    def back_y_mm(self) -> float:
        """Where the couch flattens the back."""
        return self.center_y_mm + 0.95 * self.half_depth_mm


def draw_thorax(rng: np.random.Generator) -> list[Paint]:
    """Strokes for couch, chest wall, lungs, diaphragm, mediastinal fat, airways and spine.

    Args:
        rng: source of randomness.

    Returns:
        Strokes in painting order; the heart comes after them.

    Example:
        >>> len(draw_thorax(np.random.default_rng(0))) > 20
        True
    """
    trunk = Trunk(
        center_y_mm=rng.uniform(8, 16),
        half_width_mm=rng.uniform(142, 168),
        half_depth_mm=rng.uniform(104, 118),
        skin=Waves.draw(rng, wavelength=150),
    )
    fat_mm = rng.uniform(6, 18)
    wall_mm = rng.uniform(14, 18)
    return [
        *_couch(trunk),
        *_wall(rng, trunk=trunk, fat_mm=fat_mm, wall_mm=wall_mm),
        *_lungs(rng, trunk=trunk, inner_mm=fat_mm + wall_mm),
        *_ribs(rng, trunk=trunk, fat_mm=fat_mm, wall_mm=wall_mm),
        *_mediastinum(rng),
        *_spine(rng),
    ]


def _couch(trunk: Trunk) -> list[Paint]:
    """A thin shell around foam, behind the back."""

    def slab(top_mm: float, bottom_mm: float) -> Shape:
        middle, half = trunk.back_y_mm + (top_mm + bottom_mm) / 2, (bottom_mm - top_mm) / 2
        return Shape(lambda view: np.float32(half) - np.abs(view.grid.y - np.float32(middle)))

    return [Stroke(slab(0, 30), Material.COUCH), Stroke(slab(3, 27), Material.FOAM)]


def _wall(rng: np.random.Generator, *, trunk: Trunk, fat_mm: float, wall_mm: float) -> list[Paint]:
    """Fat under the skin, muscle, and fat between muscle layers."""
    back = np.float32(trunk.back_y_mm)
    skin = Shape(lambda view: np.minimum(trunk.depth_mm(view), back - view.grid.y))
    muscle = Shape(lambda view: np.minimum(trunk.depth_mm(view) - np.float32(fat_mm), back - 4 - view.grid.y))
    layers = Waves.draw(rng, wavelength=26)
    septa = Shape(lambda view: np.float32(0.1) - np.abs(view.field(layers)))
    return [
        Stroke(skin, Material.FAT),
        Stroke(muscle, Material.MUSCLE),
        Stroke(septa, Material.FAT, over={Material.MUSCLE}),
    ]


def _lungs(rng: np.random.Generator, *, trunk: Trunk, inner_mm: float) -> list[Paint]:
    """Both lungs with vessels and bronchi; below the diaphragm the liver, fat and the stomach."""
    dome_mm = rng.uniform(-44, -30)
    uneven = Waves.draw(rng, wavelength=90)
    net = (Waves.draw(rng, wavelength=34), Waves.draw(rng, wavelength=34))
    airways = (Waves.draw(rng, wavelength=60), Waves.draw(rng, wavelength=60))

    def cavity(view: View) -> FloatArray:
        return trunk.depth_mm(view) - np.float32(inner_mm)

    def under_dome(view: View) -> FloatArray:
        # Right dome about 12 mm higher; both fall towards the ribs.
        left_lower = 12 / (1 + np.exp(-(view.grid.x - MIDLINE_X_MM) / 12))
        rim = ((view.grid.x - MIDLINE_X_MM) / 125) ** 2 + ((view.grid.y - 10) / 85) ** 2
        height = dome_mm - left_lower - 45 * rim + 4 * view.field(uneven)
        level: FloatArray = (height - view.grid.z).astype(np.float32)
        return level

    def lines(pair: tuple[Waves, Waves], width: float) -> Shape:
        return Shape(lambda view: np.float32(width) - np.hypot(view.field(pair[0]), view.field(pair[1])))

    abdomen = Shape(lambda view: np.minimum(cavity(view), under_dome(view)))
    stomach = Ellipsoid(np.array([dome_mm - 60, -15, 70]), np.array([40.0, 40, 38]))
    liver_edge = rng.uniform(15, 40)
    liver = Shape(
        lambda view: np.minimum(liver_edge + 12 * view.field(uneven) - view.grid.x, under_dome(view) - 3)
    )
    return [
        Stroke(Shape(cavity), Material.LUNG),
        Stroke(lines(net, rng.uniform(0.14, 0.2)), Material.VEIN, over={Material.LUNG}),
        Stroke(lines(airways, 0.07), Material.AIRWAY, over={Material.LUNG}),
        Stroke(abdomen, Material.FAT, over={Material.LUNG, Material.VEIN, Material.AIRWAY}),
        Stroke(Common([liver, Shape(cavity)]), Material.LIVER, over={Material.FAT}),
        Stroke(Common([stomach, abdomen]), Material.STOMACH, over={Material.FAT}),
    ]


def _ribs(rng: np.random.Generator, *, trunk: Trunk, fat_mm: float, wall_mm: float) -> list[Paint]:
    """Ribs that fall from back to front inside the wall, and the sternum."""
    pitch_mm, fall_mm, start = rng.uniform(25, 31), rng.uniform(16, 24), rng.uniform(0, 1)

    def rib(view: View, *, thinner_mm: float) -> FloatArray:
        # 0 in front, pi at the back.
        angle = np.abs(np.arctan2(view.grid.x - MIDLINE_X_MM, trunk.center_y_mm - view.grid.y))
        turns = (view.grid.z - fall_mm * angle) / pitch_mm + start
        height = np.abs(turns - np.rint(turns)) * pitch_mm
        depth = np.abs(trunk.depth_mm(view) - np.float32(fat_mm + 0.6 * wall_mm))
        # An ellipse 12 mm high and 7 mm thick; cartilage in front.
        level = 1 - np.hypot(height / (6.5 - thinner_mm), depth / (4.0 - thinner_mm))
        bone: FloatArray = np.where(angle > 0.45, level, -1).astype(np.float32)
        return bone

    sternum_y = trunk.center_y_mm - trunk.half_depth_mm + fat_mm + 0.5 * wall_mm + 2
    sternum = Ellipsoid(np.array([20, sternum_y, MIDLINE_X_MM]), np.array([95.0, 6.5, 19]))
    hollow = Ellipsoid(sternum.center, sternum.radii - np.array([2, 1.8, 2]))
    return [
        Stroke(Shape(lambda view: rib(view, thinner_mm=0)), Material.COMPACT_BONE, over=_SOFT),
        Stroke(
            Shape(lambda view: rib(view, thinner_mm=1.6)), Material.SPONGY_BONE, over={Material.COMPACT_BONE}
        ),
        Stroke(sternum, Material.COMPACT_BONE),
        Stroke(hollow, Material.SPONGY_BONE),
    ]


def _mediastinum(rng: np.random.Generator) -> list[Paint]:
    """Fat between the lungs, trachea and main bronchi, esophagus."""
    column = Ellipsoid(np.array([0.0, 8, MIDLINE_X_MM + 6]), np.array([1e4, 66, 34]))
    fat = Rough(column, Waves.draw(rng, wavelength=60), 2.5)
    carina = np.array([62.0, 30, MIDLINE_X_MM + 2])
    airway: list[Capsule] = []
    for end in ([140, 22, MIDLINE_X_MM], [38, 40, MIDLINE_X_MM - 42], [34, 42, MIDLINE_X_MM + 46]):
        airway += tube(np.array([carina, end], dtype=float), [8.5, 6.0])
    gullet = tube(np.array([[150, 48, -8], [30, 50, -4], [-150, 40, 8]], dtype=float), [6, 6, 8])
    return [
        Stroke(fat, Material.FAT, over=(Material.LUNG, Material.VEIN, Material.AIRWAY)),
        *(Stroke(piece, Material.MUSCLE) for piece in gullet),
        *(Stroke(piece, Material.AIRWAY) for piece in airway),
    ]


def _spine(rng: np.random.Generator) -> list[Paint]:
    """Vertebral bodies and discs, arches with processes, the spinal canal, the muscles beside."""
    size, pitch_mm, start = rng.uniform(0.92, 1.08), rng.uniform(25, 29), rng.uniform(0, 1)

    def column(dy: float, dx: float, ry: float, rx: float) -> Ellipsoid:
        center = np.array([0.0, SPINE_Y_MM + size * dy, MIDLINE_X_MM + size * dx])
        return Ellipsoid(center, np.array([1e4, size * ry, size * rx]))

    def off_disc(view: View) -> FloatArray:
        turns = view.grid.z / pitch_mm + start
        level: FloatArray = (np.abs(turns - np.floor(turns) - 0.5) * pitch_mm - 2.6).astype(np.float32)
        return level

    def near_middle(view: View) -> FloatArray:
        turns = view.grid.z / pitch_mm + start
        level: FloatArray = (5 - np.abs(turns - np.rint(turns)) * pitch_mm).astype(np.float32)
        return level

    processes = [column(26, side * 22, 5, 18) for side in (-1, 1)] + [column(44, 0, 16, 3.5)]
    return [
        *(Stroke(column(32, side * 28, 17, 24), Material.MUSCLE, over=_SOFT) for side in (-1, 1)),
        *(Stroke(Common([p, Shape(near_middle)]), Material.COMPACT_BONE) for p in processes),
        Stroke(column(22, 0, 13, 15), Material.COMPACT_BONE),
        Stroke(column(21, 0, 8.5, 10), Material.FAT),
        Stroke(column(21, 0, 6, 7), Material.NERVE),
        Stroke(column(0, 0, 14, 17.5), Material.CARTILAGE),
        Stroke(Common([column(0, 0, 14, 17.5), Shape(off_disc)]), Material.COMPACT_BONE),
        Stroke(
            Common([column(0, 0, 12.2, 15.7), Shape(lambda view: off_disc(view) - np.float32(1.5))]),
            Material.SPONGY_BONE,
        ),
    ]
