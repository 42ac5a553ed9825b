"""Phantom ``lower-limb``: CT of both legs around the knees, with the bones to segment.

Stands in for the lower-limb CT of paper 002 (AFU-Net), whose images are not public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms import ct
from nnunet_ext.phantoms.leg import REACH_MM, draw_leg, leg_strokes
from nnunet_ext.phantoms.materials import Appearance, Material, Tone, label_values
from nnunet_ext.phantoms.phantom import Channel, FieldOfView, Patient
from nnunet_ext.phantoms.scene import Paint, Stroke, portray
from nnunet_ext.phantoms.solids import Shape
from nnunet_ext.phantoms.view import Frame

# Hospital CT of the legs: 512 x 512 pixels of about 0.8 mm and slices of 2 mm (the paper gives no spacing).
DEFAULT_SIZE_VOX = (200, 512, 512)
FIELD_OF_VIEW = FieldOfView(
    fewest_vox=(16, 48, 48),
    usual_mm=(400.0, 409.6, 409.6),
    smallest_mm=(120.0, 300.0, 300.0),
    largest_mm=(2 * REACH_MM, 600.0, 600.0),
)
LABELS: Mapping[str, int] = {"background": 0, "bone": 1}
_MADE_OF = {"bone": (Material.LIMB_COMPACT, Material.LIMB_SPONGY, Material.LIMB_MARROW)}
# HU from radiology textbooks. Yellow marrow is fat with a little water, so it lies between fat and muscle.
_TONES: Mapping[Material, Tone] = {
    Material.AIR: Tone(-1000, -1000),
    Material.COUCH: Tone(150, 420),
    Material.FOAM: Tone(-930, -880),
    Material.SKIN: Tone(20, 60),
    Material.FAT: Tone(-112, -92, 8),
    Material.MUSCLE: Tone(48, 66, 9),
    Material.TENDON: Tone(85, 125, 8),
    Material.CARTILAGE: Tone(90, 140, 8),
    Material.VEIN: Tone(40, 60),
    Material.LIMB_COMPACT: Tone(900, 1350, 90),
    Material.LIMB_SPONGY: Tone(60, 220, 60),
    Material.LIMB_MARROW: Tone(-75, 25, 20),
}


def make_lower_limb(
    *,
    seed: int,
    size_vox: Sequence[int] = DEFAULT_SIZE_VOX,
    spacing_mm: Sequence[float] | None = None,
) -> Patient:
    """Synthetic CT of both legs; label 1 is femur, tibia, fibula and patella of both, marrow included.

    Reference:
        Paper 002 (AFU-Net; SPEC B2, D5): lower-limb CT with one binary label of the bones.

    Differences from the paper:
        - synthetic anatomy from mid-thigh to mid-shin; no hip, no foot, no fracture and no implant.
        - the paper does not say whether the label holds the marrow; here it does, as a filled Mimics mask.

    Marrow and spongy bone share the attenuation of fat, muscle and tendon; the couch's shell and, in about
    half of the patients, contrast in the arteries share that of bone. So a threshold finds the cortex only.

    Args:
        seed: whole number >= 0 that decides everything random.
        size_vox: voxels along (z, y, x), at least (16, 48, 48).
        spacing_mm: voxel size in mm; None spreads 400 x 409.6 x 409.6 mm over the voxels. The knees lie in
            the middle.

    Returns:
        The patient, with one channel ``CT``.

    Raises:
        ValueError: seed, size or spacing is outside its range, or the field of view is.
        TypeError: seed or size is not a whole number.

    Example:
        >>> patient = make_lower_limb(seed=1, size_vox=(16, 48, 48))
        >>> [c.name for c in patient.channels], patient.label.max()
        (['CT'], np.uint8(1))
    """
    size, spacing = FIELD_OF_VIEW.checked(seed=seed, size_vox=size_vox, spacing_mm=spacing_mm)
    body, look, noise = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    frame = Frame(size_vox=size, spacing_mm=spacing)
    contrast_hu = float(look.uniform(220, 420) if look.random() < 0.5 else look.uniform(42, 60))
    tones = {**_TONES, Material.ARTERY: Tone(contrast_hu, contrast_hu)}
    tissue, (hu,) = portray(frame, _draw_legs(body), [Appearance.draw(tones, look)])
    image = ct.scan(hu, noise, spacing_mm=spacing, noise_hu_at_3_mm3=float(noise.uniform(10, 18)))
    channel = Channel(name="CT", image=image, tissue=tissue, spacing_mm=spacing, origin_mm=frame.origin_mm)
    label: NDArray[np.uint8] = label_values(LABELS, _MADE_OF)[tissue]
    return Patient(name="lower-limb", seed=int(seed), channels=(channel,), label=label, labels=LABELS)


def _draw_legs(rng: np.random.Generator) -> list[Paint]:
    """The couch and both legs, a little different from each other."""
    apart_mm, scale = rng.uniform(82, 100), rng.uniform(0.9, 1.1)
    cortex_mm, fat_mm = rng.uniform(4.5, 7), rng.uniform(8, 20)
    couch_y_mm = float(70 * scale)
    strokes = _couch(couch_y_mm)
    for side in (-1, 1):
        # One foot lies a little further down or out than the other.
        z, y, x = rng.uniform(-12, 12), rng.uniform(-8, 2), rng.uniform(-6, 6)
        leg = draw_leg(rng, knee_mm=(z, y, side * apart_mm + x), side=side, scale=scale, cortex_mm=cortex_mm)
        strokes += leg_strokes(leg, rng, fat_mm=fat_mm, couch_y_mm=couch_y_mm)
    return strokes


def _couch(top_mm: float) -> list[Paint]:
    """A curved couch: a thin shell, as bright as bone, around foam."""

    def slab(start_mm: float, stop_mm: float) -> Shape:
        middle, half = np.float32(top_mm + (start_mm + stop_mm) / 2), np.float32((stop_mm - start_mm) / 2)
        # The edges rise, as on a diagnostic scanner.
        return Shape(lambda view: half - np.abs(view.grid.y + (view.grid.x / 30) ** 2 - 4 - middle))

    return [Stroke(slab(0, 34), Material.COUCH), Stroke(slab(2.5, 31.5), Material.FOAM)]
