"""The liver of a random patient, and a lobulated lesion of low contrast in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.phantoms.abdomen import (
    SOFT_FILLING,
    Trunk,
    paint_distractors,
    paint_mesentery,
    paint_spine,
    paint_trunk,
)
from nnunet_ext.phantoms.ct import Canvas, Tissue
from nnunet_ext.phantoms.shapes import FloatArray, Grid, ellipsoid, metaballs, smooth_field, tubes

# Grid on which the lesion's place is chosen, whatever the image's grid: one seed, one patient.
_PLANNING_SIZE_VOX = (32, 64, 64)


def paint_patient(grid: Grid, rng: np.random.Generator) -> tuple[Canvas, float]:
    """The patient without the lesion, and the attenuation of the liver in HU."""
    canvas = Canvas(shape=grid.shape)
    trunk = paint_trunk(canvas, grid, rng)
    paint_spine(canvas, grid, rng, trunk=trunk)
    paint_distractors(canvas, grid, rng, trunk=trunk)
    liver_hu = _paint_liver(canvas, grid, rng, trunk=trunk)
    paint_mesentery(canvas, grid, rng, trunk=trunk)
    return canvas, liver_hu


def _paint_liver(canvas: Canvas, grid: Grid, rng: np.random.Generator, *, trunk: Trunk) -> float:
    """Right and left lobe with vessels, gallbladder and, in some patients, a cyst."""
    y, stretch = trunk.center_y, trunk.half_width / 0.85
    shift = rng.uniform(-0.06, 0.06, size=3)
    swell = rng.uniform(0.9, 1.12, size=3)
    right = ellipsoid(
        grid,
        center=(shift[0], y + shift[1], (-0.36 + 0.5 * shift[2]) * stretch),
        radii=(0.85 * swell[0], 0.42 * swell[1], 0.35 * swell[2] * stretch),
        turn_rad=float(rng.uniform(-0.2, 0.2)),
    )
    left = ellipsoid(
        grid,
        center=(0.2 + shift[0], y - 0.2, 0.0),
        radii=(0.5 * swell[0], 0.2 * swell[2], float(rng.uniform(0.3, 0.45))),
        turn_rad=float(rng.uniform(-0.3, 0.1)),
    )
    level = np.maximum(right, left) + 0.08 * smooth_field(grid, rng, wavelength=0.9)
    liver = (np.minimum(level, 4 * (trunk.cavity - 0.02)) > 0) & (grid.z < 0.85 - 0.3 * (grid.x + 0.36) ** 2)
    liver_hu = float(rng.uniform(98, 114))
    texture = liver_hu + 3 * smooth_field(grid, rng, wavelength=0.25)
    canvas.paint(liver, tissue=Tissue.LIVER, hu=texture, over=(*SOFT_FILLING, Tissue.STOMACH, Tissue.HEART))
    vessels = tubes(grid, rng, wavelength=0.8) < rng.uniform(0.13, 0.2)
    canvas.paint(vessels, tissue=Tissue.LIVER_VESSEL, hu=liver_hu + rng.uniform(35, 55), over={Tissue.LIVER})
    bladder = ellipsoid(
        grid, center=(-0.35, y - 0.22, -0.22 * stretch), radii=(0.25, 0.11, 0.08), turn_rad=0.5
    )
    in_cavity = (*SOFT_FILLING, Tissue.LIVER, Tissue.LIVER_VESSEL)
    canvas.paint(bladder > 0, tissue=Tissue.GALLBLADDER, hu=rng.uniform(5, 18), over=in_cavity)
    cyst_center = rng.uniform((-0.4, y - 0.25, -0.55), (0.5, y + 0.25, -0.2))
    cyst_radius = rng.uniform(0.03, 0.06) if rng.random() < 0.4 else 0.0
    cyst = metaballs(grid, centers=cyst_center[None], radii=np.array([max(cyst_radius, 1e-3)]))
    canvas.paint(
        cyst > 0, tissue=Tissue.CYST, hu=rng.uniform(0, 12), over={Tissue.LIVER, Tissue.LIVER_VESSEL}
    )
    return liver_hu


def place_of_lesion(
    patient: np.random.SeedSequence, rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """Center (z, y, x) of the lesion and its depth under the liver's surface, both normalized."""
    grid = Grid.of_size(_PLANNING_SIZE_VOX)
    canvas, _ = paint_patient(grid, np.random.default_rng(patient))
    liver = canvas.is_any(Tissue.LIVER, Tissue.LIVER_VESSEL)
    depth = ndimage.distance_transform_edt(liver, sampling=[2 / n for n in _PLANNING_SIZE_VOX])
    # Anywhere from under the capsule to the middle, but deep enough for a lesion of a few voxels.
    candidates = np.argwhere(depth >= min(0.1, 0.6 * float(depth.max())))
    chosen = candidates[rng.integers(len(candidates))]
    center = (2 * (chosen + rng.random(3)) / _PLANNING_SIZE_VOX) - 1
    return center, float(depth[tuple(chosen)])


def paint_lesion(
    canvas: Canvas,
    grid: Grid,
    rng: np.random.Generator,
    *,
    center: NDArray[np.float64],
    depth: float,
    liver_hu: float,
) -> None:
    """A lobulated lesion, cut off at the liver's surface, that fades into the liver over its border."""
    radius = float(np.clip(rng.uniform(1.0, 1.8) * depth, 0.19, 0.38))
    lobes = 5
    direction = rng.normal(size=(lobes, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    reach = radius * rng.uniform(0.6, 1.0, size=(lobes, 1))
    centers = np.concatenate([center[None], center + reach * direction])
    radii = np.concatenate([[0.6 * radius], radius * rng.uniform(0.3, 0.55, size=lobes)])
    level = metaballs(grid, centers=centers, radii=radii)
    level += 0.15 * smooth_field(grid, rng, wavelength=1.2 * radius)
    border = rng.uniform(0.015, 0.03)
    distance = level * radius / 2
    share = 1 / (1 + np.exp(-np.clip(distance / border, -30, 30)))
    contrast_hu = rng.uniform(36, 56)
    lesion_hu: FloatArray = liver_hu - contrast_hu + 3 * smooth_field(grid, rng, wavelength=0.15)
    mixed = share * lesion_hu + (1 - share) * canvas.hu
    in_liver = canvas.is_any(Tissue.LIVER, Tissue.LIVER_VESSEL, Tissue.CYST)
    np.copyto(canvas.hu, mixed.astype(np.float32), where=in_liver & (share > 0.02))
    canvas.paint((level > 0) & in_liver, tissue=Tissue.TARGET, hu=canvas.hu)
