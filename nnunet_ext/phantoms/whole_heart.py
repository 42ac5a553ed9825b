"""Phantom ``whole-heart``: CT or MR of the heart with the seven structures of MM-WHS.

Stands in for MM-WHS 2017 (paper 001), whose images need a registration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms import mr
from nnunet_ext.phantoms.coronary import cardiac_tones, coronary_strokes, ct_channel
from nnunet_ext.phantoms.heart import draw_heart, heart_strokes
from nnunet_ext.phantoms.materials import Appearance, Material, Tone, label_values
from nnunet_ext.phantoms.phantom import Channel, FieldOfView, Patient
from nnunet_ext.phantoms.scene import Paint, portray
from nnunet_ext.phantoms.thorax import draw_thorax
from nnunet_ext.phantoms.view import Frame

Modality = Literal["CT", "MR"]
# SPEC D1: CT 0.44 x 0.44 x 0.625 mm (median), 512 x 512 x 177 to 363; MR 0.97 x 0.97 x 1.05 mm (median),
# 256 to 512 pixels x 112 to 200 slices.
DEFAULT_SIZE_VOX: Mapping[Modality, tuple[int, int, int]] = {"CT": (272, 512, 512), "MR": (160, 288, 288)}
_USUAL_MM: Mapping[Modality, tuple[float, float, float]] = {
    "CT": (170.0, 225.28, 225.28),
    "MR": (168.0, 279.36, 279.36),
}
FIELDS_OF_VIEW: Mapping[Modality, FieldOfView] = {
    modality: FieldOfView(
        fewest_vox=(16, 32, 32),
        usual_mm=usual_mm,
        smallest_mm=(140.0, 160.0, 160.0),
        largest_mm=(260.0, 420.0, 420.0),
    )
    for modality, usual_mm in _USUAL_MM.items()
}
LABELS: Mapping[str, int] = {
    "background": 0,
    "Myo": 1,
    "LA": 2,
    "LV": 3,
    "RA": 4,
    "RV": 5,
    "AA": 6,
    "PA": 7,
}
# The values in MM-WHS's own files (SPEC D1).
MM_WHS_VALUES: Mapping[str, int] = {
    "background": 0,
    "Myo": 205,
    "LA": 420,
    "LV": 500,
    "RA": 550,
    "RV": 600,
    "AA": 820,
    "PA": 850,
}
_MADE_OF = {
    "Myo": (Material.LV_MYOCARDIUM,),
    "LA": (Material.LEFT_ATRIUM,),
    "LV": (Material.LEFT_VENTRICLE,),
    "RA": (Material.RIGHT_ATRIUM,),
    "RV": (Material.RIGHT_VENTRICLE,),
    "AA": (Material.ASCENDING_AORTA,),
    "PA": (Material.PULMONARY_TRUNK,),
}
# Balanced steady-state free precession, the sequence of MM-WHS: signal follows T2 / T1, so blood and fat are
# bright, muscle is dim, lung and compact bone are dark. Arbitrary units.
CARDIAC_MR: Mapping[Material, Tone] = {
    Material.AIR: Tone(0, 0),
    # A couch gives no signal.
    Material.COUCH: Tone(0, 0),
    Material.FOAM: Tone(0, 0),
    Material.FAT: Tone(480, 640, 40),
    Material.MUSCLE: Tone(190, 250, 18),
    Material.CARTILAGE: Tone(150, 220, 20),
    Material.COMPACT_BONE: Tone(30, 60),
    Material.SPONGY_BONE: Tone(260, 380, 40),
    Material.NERVE: Tone(350, 480, 30),
    Material.LUNG: Tone(30, 60, 8),
    Material.AIRWAY: Tone(0, 10),
    Material.VEIN: Tone(520, 680, 40),
    Material.LIVER: Tone(230, 320, 20),
    Material.STOMACH: Tone(200, 600, 60),
    Material.LV_MYOCARDIUM: Tone(210, 280, 20),
    Material.OTHER_MYOCARDIUM: Tone(200, 280, 20),
    Material.LEFT_ATRIUM: Tone(560, 680, 35),
    Material.LEFT_VENTRICLE: Tone(580, 700, 35),
    Material.RIGHT_ATRIUM: Tone(540, 680, 35),
    Material.RIGHT_VENTRICLE: Tone(560, 690, 35),
    Material.ASCENDING_AORTA: Tone(560, 700, 40),
    Material.FURTHER_AORTA: Tone(560, 700, 40),
    Material.PULMONARY_TRUNK: Tone(540, 690, 45),
    Material.PULMONARY_BRANCH: Tone(520, 680, 45),
    Material.CORONARY: Tone(520, 660),
    Material.PLAQUE: Tone(40, 80),
}


def make_whole_heart(
    *,
    seed: int,
    modality: Modality = "CT",
    size_vox: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> Patient:
    """Synthetic CT or MR of a heart with seven labeled structures.

    Reference:
        Paper 001 (MAUNet, CM-TranCaF) and MM-WHS 2017 (SPEC D1): labels Myo, LA, LV, RA, RV, AA, PA; the
        aorta from its valve to about the top of the atria, the pulmonary artery from its valve to the
        bifurcation.

    Differences from the paper:
        - synthetic anatomy, without heart disease; the patients of MM-WHS's MR had several.
        - all images have one orientation; MM-WHS mixes them.

    One seed is one patient in both modalities; MM-WHS's CT and MR come from different patients, so draw them
    from different seeds. All blood has nearly one signal, and veins, other vessels, fat (MR) and bone (CT)
    share it, so no threshold finds a structure.

    Args:
        seed: whole number >= 0 that decides everything random.
        modality: ``CT`` or ``MR``.
        size_vox: voxels along (z, y, x), at least (16, 32, 32); MM-WHS's typical size if not given.
        spacing_mm: voxel size in mm; None spreads 170 x 225 x 225 mm (CT) or 168 x 279 x 279 mm (MR) over the
            voxels.

    Returns:
        The patient, with one channel named as the modality. :data:`MM_WHS_VALUES` has the challenge's values.

    Raises:
        ValueError: modality, seed, size or spacing is outside its range, or the field of view is.
        TypeError: seed or size is not a whole number.

    Example:
        >>> patient = make_whole_heart(seed=1, modality="MR", size_vox=(16, 32, 32))
        >>> np.unique(patient.label).tolist(), patient.reference.name
        ([0, 1, 2, 3, 4, 5, 6, 7], 'MR')
    """
    if modality not in FIELDS_OF_VIEW:
        raise ValueError(f"modality must be one of {sorted(FIELDS_OF_VIEW)}, got {modality!r}")
    size, spacing = FIELDS_OF_VIEW[modality].checked(
        seed=seed, size_vox=size_vox or DEFAULT_SIZE_VOX[modality], spacing_mm=spacing_mm
    )
    chest, organ, vessels, look, noise = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)
    )
    heart = draw_heart(organ)
    strokes = [
        *draw_thorax(chest),
        heart_strokes(heart, organ),
        *coronary_strokes(heart, vessels, thinnest_mm=(0.0, 0.0, 0.0)),
    ]
    frame = Frame(size_vox=size, spacing_mm=spacing)
    if modality == "CT":
        channel = ct_channel(frame, strokes, tones=cardiac_tones(look), look=look, noise=noise)
    else:
        channel = _mr_channel(frame, strokes, look=look, noise=noise)
    label: NDArray[np.uint8] = label_values(LABELS, _MADE_OF)[channel.tissue]
    return Patient(name="whole-heart", seed=int(seed), channels=(channel,), label=label, labels=LABELS)


def _mr_channel(
    frame: Frame, strokes: Sequence[Paint], *, look: np.random.Generator, noise: np.random.Generator
) -> Channel:
    """The MR of an anatomy, as the channel ``MR``."""
    tissue, (signal,) = portray(frame, strokes, [Appearance.draw(CARDIAC_MR, look)])
    image = mr.scan(
        signal,
        noise,
        frame=frame,
        coil=mr.Coil.draw(look, wavelength_mm=450),
        noise_at_3_mm3=float(noise.uniform(8, 16)),
    )
    return Channel(
        name="MR", image=image, tissue=tissue, spacing_mm=frame.spacing_mm, origin_mm=frame.origin_mm
    )
