"""Signals of the head's materials in CT, T1w and T2w MR.

CT in HU, from radiology textbooks. MR in arbitrary units, ordered as in spin-echo images at 1.5 to 3 T: in
T1w fat, then white and gray matter, muscle, fluid; in T2w fluid, then fat, gray and white matter, muscle.
Compact bone, air and fast-flowing blood are dark in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunet_ext.phantoms.materials import Material, Tone

# What is one tissue on both sides has one signal, so that no network can tell the sides by brightness.
ALIKE: Sequence[Sequence[Material]] = (
    (Material.EYE_LEFT, Material.EYE_RIGHT),
    (Material.LENS_LEFT, Material.LENS_RIGHT),
    (Material.NERVE_LEFT, Material.NERVE_RIGHT, Material.CHIASM),
)

CT_TONES: Mapping[Material, Tone] = {
    Material.AIR: Tone(-1000, -1000),
    Material.COUCH: Tone(-180, -60),
    Material.FOAM: Tone(-940, -890),
    Material.MASK: Tone(-60, 110),
    Material.SKIN: Tone(25, 60),
    Material.FAT: Tone(-108, -88, 6),
    Material.MUSCLE: Tone(46, 62, 6),
    Material.COMPACT_BONE: Tone(850, 1350, 90),
    Material.SPONGY_BONE: Tone(280, 520, 70),
    Material.NERVE: Tone(28, 40),
    Material.AIRWAY: Tone(-1000, -985),
    Material.GRAY_MATTER: Tone(35, 41, 1.5),
    Material.WHITE_MATTER: Tone(25, 30, 1.5),
    Material.BRAINSTEM: Tone(27, 34, 1.5),
    Material.FLUID: Tone(3, 11, 1),
    Material.DURA: Tone(50, 66),
    Material.GLAND: Tone(45, 60, 3),
    Material.EYE_LEFT: Tone(5, 14, 1),
    Material.LENS_LEFT: Tone(70, 100),
    Material.NERVE_LEFT: Tone(28, 40, 1.5),
    Material.EYE_RIGHT: Tone(5, 14, 1),
    Material.LENS_RIGHT: Tone(70, 100),
    Material.NERVE_RIGHT: Tone(28, 40, 1.5),
    Material.CHIASM: Tone(28, 40, 1.5),
}

# Material: (T1w, T2w).
_MR_TONES: Mapping[Material, tuple[Tone, Tone]] = {
    # Couch, foam and mask have no mobile protons; the MR is made without the mask anyway.
    Material.AIR: (Tone(0, 0), Tone(0, 0)),
    Material.COUCH: (Tone(0, 0), Tone(0, 0)),
    Material.FOAM: (Tone(0, 0), Tone(0, 0)),
    Material.MASK: (Tone(0, 0), Tone(0, 0)),
    Material.SKIN: (Tone(380, 480, 20), Tone(220, 300, 20)),
    Material.FAT: (Tone(780, 920, 30), Tone(480, 640, 30)),
    Material.MUSCLE: (Tone(300, 370, 20), Tone(120, 170, 15)),
    Material.COMPACT_BONE: (Tone(25, 60), Tone(15, 45)),
    Material.SPONGY_BONE: (Tone(430, 640, 50), Tone(280, 420, 40)),
    Material.NERVE: (Tone(430, 500), Tone(270, 330)),
    Material.AIRWAY: (Tone(0, 10), Tone(0, 10)),
    Material.ARTERY: (Tone(40, 90), Tone(15, 50)),
    Material.GRAY_MATTER: (Tone(440, 500, 12), Tone(370, 430, 14)),
    Material.WHITE_MATTER: (Tone(570, 640, 12), Tone(270, 320, 10)),
    Material.BRAINSTEM: (Tone(540, 600, 12), Tone(280, 340, 12)),
    Material.FLUID: (Tone(110, 160, 8), Tone(860, 1000, 40)),
    Material.DURA: (Tone(250, 340), Tone(110, 160)),
    Material.GLAND: (Tone(430, 540, 20), Tone(300, 380, 20)),
    Material.EYE_LEFT: (Tone(120, 170, 6), Tone(830, 970, 25)),
    Material.LENS_LEFT: (Tone(330, 420), Tone(120, 190)),
    Material.NERVE_LEFT: (Tone(500, 590, 12), Tone(270, 350, 12)),
    Material.EYE_RIGHT: (Tone(120, 170, 6), Tone(830, 970, 25)),
    Material.LENS_RIGHT: (Tone(330, 420), Tone(120, 190)),
    Material.NERVE_RIGHT: (Tone(500, 590, 12), Tone(270, 350, 12)),
    Material.CHIASM: (Tone(500, 590, 12), Tone(270, 350, 12)),
}

MR_TONES: Mapping[str, Mapping[Material, Tone]] = {
    "T1w": {material: tones[0] for material, tones in _MR_TONES.items()},
    "T2w": {material: tones[1] for material, tones in _MR_TONES.items()},
}
