"""Upper abdomen of a random patient on a treatment couch: everything but the liver.

Positions are in the normalized coordinates of :mod:`nnunet_ext.phantoms.shapes`; in a field of view of
380 mm one unit is 190 mm. Attenuations are portal-venous contrast CT, rounded from radiology textbooks:
fat -100, muscle 50 to 65, spleen 115, kidney 170, aorta and vena cava 140 to 160, bone 300 to 700 HU.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from nnunet_ext.phantoms.ct import Canvas, Tissue
from nnunet_ext.phantoms.shapes import FloatArray, Grid, ellipsoid, smooth_field, tubes

SOFT_FILLING = (Tissue.FAT, Tissue.BOWEL, Tissue.LUNG)


@dataclass(frozen=True)
class Trunk:
    """The patient's outline, to which everything else is placed.

    Attributes:
        center_y: position of the trunk's axis along y, normalized.
        half_width: half axis of the trunk along x, normalized.
        half_depth: half axis of the trunk along y, normalized.
        radius: float array (Z, Y, X), 0 on the axis, 1 on the skin.
        wall: value of ``radius`` where the abdominal wall ends and the cavity begins.
        muscle: value of ``radius`` where the fat under the skin ends and muscle begins.
        back_y: position along y of the couch's surface, which flattens the back.
    """

    center_y: float
    half_width: float
    half_depth: float
    radius: FloatArray
    wall: float
    muscle: float
    back_y: float

    @property
    def cavity(self) -> FloatArray:
        """Level of the abdominal cavity: positive inside the wall."""
        level: FloatArray = np.float32(self.wall) - self.radius
        return level


def paint_trunk(canvas: Canvas, grid: Grid, rng: np.random.Generator) -> Trunk:
    """Paint couch, fat, abdominal wall and ribs, and fill the cavity with fat, bowel and lung bases."""
    center_y = -0.1 + rng.uniform(-0.03, 0.03)
    half_width, half_depth = rng.uniform(0.78, 0.92), rng.uniform(0.55, 0.66)
    exponent = rng.uniform(2.1, 2.5)
    taper = 1 + rng.uniform(-0.04, 0.04) * grid.z
    radius = (
        (np.abs(grid.y - center_y) / (half_depth * taper)) ** exponent
        + (np.abs(grid.x) / (half_width * taper)) ** exponent
    ) ** (1 / exponent) + 0.015 * smooth_field(grid, rng, wavelength=1.0)
    muscle = 1 - rng.uniform(0.05, 0.16)
    trunk = Trunk(
        center_y=center_y,
        half_width=half_width,
        half_depth=half_depth,
        radius=radius.astype(np.float32),
        wall=muscle - rng.uniform(0.08, 0.11),
        muscle=muscle,
        back_y=center_y + 0.95 * half_depth,
    )
    _paint_couch(canvas, grid, back_y=trunk.back_y)
    above_couch = grid.y < trunk.back_y
    canvas.paint((radius < 1) & above_couch, tissue=Tissue.FAT, hu=rng.uniform(-110, -95))
    canvas.paint((radius < muscle) & above_couch, tissue=Tissue.MUSCLE, hu=rng.uniform(50, 62))
    _paint_filling(canvas, grid, rng, trunk=trunk)
    _paint_ribs(canvas, grid, rng, trunk=trunk)
    return trunk


def _paint_couch(canvas: Canvas, grid: Grid, *, back_y: float) -> None:
    """Flat treatment couch: a thin carbon-fibre shell around foam."""
    inside = (grid.y >= back_y) & (grid.y < back_y + 0.14) & (np.abs(grid.x) < 0.85)
    foam = (grid.y >= back_y + 0.03) & (grid.y < back_y + 0.11) & (np.abs(grid.x) < 0.82)
    canvas.paint(inside, tissue=Tissue.COUCH, hu=-120)
    canvas.paint(foam, tissue=Tissue.COUCH, hu=-920)


def _paint_filling(canvas: Canvas, grid: Grid, rng: np.random.Generator, *, trunk: Trunk) -> None:
    """Visceral fat, bowel loops as dark as a liver lesion, and the lung bases above the diaphragm."""
    cavity = trunk.cavity > 0
    canvas.paint(cavity, tissue=Tissue.FAT, hu=rng.uniform(-105, -85))
    loops = smooth_field(grid, rng, wavelength=0.45) + 0.6 * (trunk.center_y - grid.y) / trunk.half_depth
    bowel_hu = 60 + 18 * smooth_field(grid, rng, wavelength=0.3)
    canvas.paint(cavity & (loops > rng.uniform(-0.1, 0.3)), tissue=Tissue.BOWEL, hu=bowel_hu)
    # The diaphragm is a dome: lung reaches lower at the rim (the recess) than over the liver.
    dome = rng.uniform(0.72, 0.9) - 0.75 * np.clip(trunk.radius / trunk.wall, 0, 1) ** 4
    canvas.paint(cavity & (grid.z > dome), tissue=Tissue.LUNG, hu=rng.uniform(-860, -800))
    heart = ellipsoid(
        grid, center=(1.05, trunk.center_y - 0.2, rng.uniform(0.05, 0.15)), radii=(0.32, 0.26, 0.3)
    )
    canvas.paint(cavity & (heart > 0), tissue=Tissue.HEART, hu=rng.uniform(110, 130))


def _paint_ribs(canvas: Canvas, grid: Grid, rng: np.random.Generator, *, trunk: Trunk) -> None:
    """Ribs in the inner part of the wall, falling from back to front; none in front."""
    angle = np.abs(np.arctan2(grid.x, trunk.center_y - grid.y))  # 0 in front, pi at the back
    turns = rng.uniform(2.8, 3.4) * (grid.z - rng.uniform(0.2, 0.3) * angle) + rng.uniform(0, 1)
    depth = (trunk.radius - trunk.wall) / (trunk.muscle - trunk.wall)
    bone = (depth > 0.1) & (depth < 0.75) & (turns % 1 < 0.42) & (angle > rng.uniform(0.6, 0.9))
    canvas.paint(bone, tissue=Tissue.BONE, hu=rng.uniform(350, 550), over={Tissue.MUSCLE})


def paint_spine(canvas: Canvas, grid: Grid, rng: np.random.Generator, *, trunk: Trunk) -> None:
    """Paint vertebrae with discs, the spinal canal, the muscles of the back, aorta and vena cava."""
    y = trunk.center_y + 0.5 * trunk.half_depth
    size = rng.uniform(0.9, 1.1)
    marrow_hu, shell_hu, muscle_hu = rng.uniform(180, 260), rng.uniform(450, 700), rng.uniform(52, 62)

    def column(dy: float, x: float, ry: float, rx: float) -> FloatArray:
        return ellipsoid(grid, center=(0, y + size * dy, size * x), radii=(inf, size * ry, size * rx))

    above_couch = grid.y < trunk.back_y - 0.04
    for side in (-1, 1):
        back_muscle = (column(0.14, side * 0.2, 0.13, 0.17) > 0) & above_couch
        canvas.paint(back_muscle, tissue=Tissue.MUSCLE, hu=muscle_hu)
    arch = (column(0.16, 0, 0.09, 0.1) > 0) & above_couch
    spinous = (np.abs(grid.x) < 0.025) & (grid.y > y + 0.18 * size) & (grid.y < y + 0.3 * size) & above_couch
    canvas.paint(arch | spinous, tissue=Tissue.BONE, hu=shell_hu)
    canvas.paint(column(0.16, 0, 0.055, 0.065) > 0, tissue=Tissue.NERVE, hu=30)
    body = column(0, 0, 0.11, 0.135)
    disc = (rng.uniform(2.4, 3.0) * grid.z + rng.uniform(0, 1)) % 1 < 0.2
    canvas.paint(body > 0, tissue=Tissue.BONE, hu=shell_hu)
    canvas.paint(body > 0.18, tissue=Tissue.BONE, hu=marrow_hu)
    canvas.paint((body > 0) & disc, tissue=Tissue.MUSCLE, hu=90)
    blood_hu = rng.uniform(140, 165)
    canvas.paint(column(-0.19, 0.06, 0.055, 0.055) > 0, tissue=Tissue.VESSEL, hu=blood_hu)
    canvas.paint(column(-0.19, -0.12, 0.05, 0.07) > 0, tissue=Tissue.VESSEL, hu=blood_hu - 10)


def paint_distractors(canvas: Canvas, grid: Grid, rng: np.random.Generator, *, trunk: Trunk) -> None:
    """Paint stomach, spleen and kidneys, which share attenuations with the liver and its lesion."""
    y = trunk.center_y
    stretch = trunk.half_width / 0.85
    inside = trunk.cavity > 0.02

    def organ(center: tuple[float, float, float], radii: tuple[float, float, float]) -> FloatArray:
        z0, y0, x0 = np.asarray(center) + rng.uniform(-0.05, 0.05, size=3)
        rz, ry, rx = np.asarray(radii) * rng.uniform(0.85, 1.15, size=3)
        level = ellipsoid(
            grid,
            center=(float(z0), float(y + y0), float(x0 * stretch)),
            radii=(float(rz), float(ry), float(rx)),
            turn_rad=float(rng.uniform(-0.4, 0.4)),
        )
        rough: FloatArray = level + np.float32(0.1) * smooth_field(grid, rng, wavelength=0.7)
        return rough

    stomach = organ((0.25, -0.16, 0.34), (0.5, 0.2, 0.24))
    content = np.where(grid.y < y - 0.27, -900, rng.uniform(5, 40)).astype(np.float32)  # gas rises
    canvas.paint((stomach > 0) & inside, tissue=Tissue.STOMACH, hu=rng.uniform(65, 90), over=SOFT_FILLING)
    canvas.paint((stomach > 0.2) & inside, tissue=Tissue.STOMACH, hu=content, over={Tissue.STOMACH})
    spleen = organ((0.3, 0.16, 0.52), (0.42, 0.24, 0.14))
    canvas.paint((spleen > 0) & inside, tissue=Tissue.SPLEEN, hu=rng.uniform(108, 124), over=SOFT_FILLING)
    cortex_hu, medulla_hu = rng.uniform(160, 185), rng.uniform(110, 140)
    for side in (-1, 1):
        kidney = organ((-0.6 + 0.08 * side, 0.26, 0.34 * side), (0.42, 0.12, 0.12))
        over = (*SOFT_FILLING, Tissue.SPLEEN)
        canvas.paint((kidney > 0) & inside, tissue=Tissue.KIDNEY, hu=cortex_hu, over=over)
        canvas.paint(kidney > 0.45, tissue=Tissue.KIDNEY, hu=medulla_hu, over={Tissue.KIDNEY})


def paint_mesentery(canvas: Canvas, grid: Grid, rng: np.random.Generator, *, trunk: Trunk) -> None:
    """Paint the vessels between the bowel loops, where only fat is left."""
    mesentery = (tubes(grid, rng, wavelength=0.5) < 0.15) & (trunk.cavity > 0.02)
    canvas.paint(mesentery, tissue=Tissue.VESSEL, hu=rng.uniform(120, 150), over={Tissue.FAT})
