"""Phantom ``brain-oar``: CT, T1w and T2w MR of one head, with the organs at risk of the optic pathway.

Stands in for the 60 patients of paper 003, whose images are not public.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms import ct, mr
from nnunet_ext.phantoms.head import draw_head, head_strokes
from nnunet_ext.phantoms.head_tones import ALIKE, CT_TONES, MR_TONES
from nnunet_ext.phantoms.materials import Appearance, Material, Tone, label_values
from nnunet_ext.phantoms.orbits import optic_strokes
from nnunet_ext.phantoms.phantom import Channel, FieldOfView, Patient
from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.phantoms.scene import Paint, portray
from nnunet_ext.phantoms.shapes import FloatArray, Triple
from nnunet_ext.phantoms.view import Frame

# SPEC B3: CT of 2.5 to 5 x 0.488 to 0.976 mm; MR of 4 to 7 x 0.449 to 0.687 mm.
DEFAULT_SIZE_VOX = (48, 512, 512)
FIELD_OF_VIEW = FieldOfView(
    fewest_vox=(24, 64, 64),
    usual_mm=(120.0, 256.0, 256.0),
    smallest_mm=(72.0, 200.0, 160.0),
    largest_mm=(260.0, 512.0, 512.0),
)
LABELS: Mapping[str, int] = {
    "background": 0,
    "Eye_L": 1,
    "Eye_R": 2,
    "Lens_L": 3,
    "Lens_R": 4,
    "OpticNrv_L": 5,
    "OpticNrv_R": 6,
    "OpticChiasm": 7,
}
LEFT_RIGHT_PAIRS = (("Eye_L", "Eye_R"), ("Lens_L", "Lens_R"), ("OpticNrv_L", "OpticNrv_R"))
_MADE_OF = {
    "Eye_L": (Material.EYE_LEFT,),
    "Eye_R": (Material.EYE_RIGHT,),
    "Lens_L": (Material.LENS_LEFT,),
    "Lens_R": (Material.LENS_RIGHT,),
    "OpticNrv_L": (Material.NERVE_LEFT,),
    "OpticNrv_R": (Material.NERVE_RIGHT,),
    "OpticChiasm": (Material.CHIASM,),
}
MR_CHANNELS = ("T1w", "T2w")
# The field of view holds the face in front and the couch behind, the skull base and most of the brain.
_CENTER_MM: Triple = (12.0, 8.0, 0.0)


@dataclass(frozen=True)
class Acquisition:
    """Grid of one MR image, and how the head lies in it.

    Attributes:
        size_vox: voxels along (z, y, x).
        spacing_mm: voxel size in mm; the slice thickness is ``spacing_mm[0]``.
        motion: from the CT's frame to this image's.
    """

    size_vox: Sequence[int]
    spacing_mm: Sequence[float]
    motion: RigidMotion = field(default_factory=RigidMotion)


def make_brain_oar(
    *,
    seed: int,
    size_vox: Sequence[int] = DEFAULT_SIZE_VOX,
    spacing_mm: Sequence[float] | None = None,
    mr_acquisitions: Mapping[str, Acquisition] | None = None,
) -> Patient:
    """Synthetic CT, T1w and T2w MR of one head, with seven organs at risk labeled on the CT's grid.

    Reference:
        Paper 003 (SPEC B3): CT of 2.5 to 5 x 0.488 to 0.976 mm and T1w, T2w MR of 4 to 7 x 0.449 to 0.687 mm
        of the same patient; eyeballs, lenses, optic nerves, chiasm. Names follow TG-263.

    Differences from the paper:
        - synthetic anatomy without a tumor; the nerve's label reaches from the eyeball to the chiasm.
        - MR differs from CT by a rigid motion at most; the paper registers deformably.

    The chiasm is nearly invisible in CT and shares its signal with white matter in MR; the eyeball shares its
    signal with brain fluid in every modality. Where voxels are larger than the lens or the nerve is thick,
    both are drawn about a voxel thick. Lens voxels are not eyeball voxels, and chiasm voxels are not nerve
    voxels.

    Args:
        seed: whole number >= 0 that decides everything random about the patient.
        size_vox: voxels of the CT along (z, y, x), at least (24, 64, 64).
        spacing_mm: voxel size of the CT in mm; None spreads 120 x 256 x 256 mm over the voxels.
        mr_acquisitions: grid and motion of ``T1w`` and ``T2w``; a channel that is not named has the CT's grid
            and no motion, as after registration.

    Returns:
        The patient, with channels ``CT``, ``T1w`` and ``T2w``.

    Raises:
        ValueError: seed, size, spacing or field of view is outside its range, or a channel is unknown.
        TypeError: seed or size is not a whole number.

    Example:
        >>> patient = make_brain_oar(seed=1, size_vox=(24, 64, 64))
        >>> [c.name for c in patient.channels], np.unique(patient.label).tolist()
        (['CT', 'T1w', 'T2w'], [0, 1, 2, 3, 4, 5, 6, 7])
    """
    size, spacing = FIELD_OF_VIEW.checked(seed=seed, size_vox=size_vox, spacing_mm=spacing_mm)
    frame = Frame(size_vox=size, spacing_mm=spacing, center_mm=_CENTER_MM)
    frames = _mr_frames(frame, mr_acquisitions or {}, seed=seed)
    body, eyes, *images = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5))
    head = draw_head(body)
    strokes = head_strokes(head, body, organs=optic_strokes(head, eyes, voxel_mm=spacing))
    channels = _channels({"CT": frame, **frames}, strokes, rngs=images)
    label: NDArray[np.uint8] = label_values(LABELS, _MADE_OF)[channels[0].tissue]
    return Patient(name="brain-oar", seed=int(seed), channels=channels, label=label, labels=LABELS)


def _mr_frames(frame: Frame, acquisitions: Mapping[str, Acquisition], *, seed: int) -> dict[str, Frame]:
    """Grid of each MR channel, around the middle of the CT wherever the motion moved it."""
    if unknown := sorted(set(acquisitions) - set(MR_CHANNELS)):
        raise ValueError(f"mr_acquisitions must name some of {MR_CHANNELS}, got {unknown}")
    frames = dict.fromkeys(MR_CHANNELS, frame)
    for name, given in acquisitions.items():
        # The organs need not be resolved in MR: its slices are thick.
        limits = FieldOfView(
            fewest_vox=(12, 48, 48),
            usual_mm=(12 * 10.0, 48 * 6.0, 48 * 6.0),
            smallest_mm=FIELD_OF_VIEW.smallest_mm,
            largest_mm=FIELD_OF_VIEW.largest_mm,
        )
        size, spacing = limits.checked(seed=seed, size_vox=given.size_vox, spacing_mm=given.spacing_mm)
        z, y, x = given.motion.move(np.array([frame.center_mm]))[0]
        frames[name] = Frame(
            size_vox=size,
            spacing_mm=spacing,
            center_mm=(float(z), float(y), float(x)),
            motion=given.motion,
        )
    return frames


def _channels(
    frames: Mapping[str, Frame], strokes: Sequence[Paint], *, rngs: Sequence[np.random.Generator]
) -> tuple[Channel, ...]:
    """The images; those that share a grid share the painting."""
    looks = {name: _look(name, rng) for name, rng in zip(frames, rngs, strict=True)}
    portraits: dict[str, tuple[NDArray[np.uint8], FloatArray]] = {}
    for frame in dict.fromkeys(frames.values()):
        names = [name for name, own in frames.items() if own == frame]
        tissue, signals = portray(frame, strokes, [looks[name] for name in names])
        portraits.update({name: (tissue, signal) for name, signal in zip(names, signals, strict=True)})
    channels = []
    for (name, frame), rng in zip(frames.items(), rngs, strict=True):
        tissue, signal = portraits.pop(name)
        channels.append(
            Channel(
                name=name,
                image=_scan(name, signal, rng, frame=frame),
                tissue=tissue,
                spacing_mm=frame.spacing_mm,
                origin_mm=frame.origin_mm,
                motion=frame.motion,
            )
        )
    return tuple(channels)


def _look(name: str, rng: np.random.Generator) -> Appearance:
    """Signals of one image; in about half of the CTs the arteries hold contrast."""
    if name != "CT":
        return Appearance.draw(MR_TONES[name], rng, alike=ALIKE)
    artery_hu = float(rng.uniform(150, 260) if rng.random() < 0.5 else rng.uniform(40, 52))
    return Appearance.draw({**CT_TONES, Material.ARTERY: Tone(artery_hu, artery_hu)}, rng, alike=ALIKE)


def _scan(name: str, signal: FloatArray, rng: np.random.Generator, *, frame: Frame) -> NDArray[np.int16]:
    """The image that the scanner of a channel makes of a signal."""
    if name == "CT":
        # A head is thinner than a trunk, so its CT is less noisy.
        noise_hu = float(rng.uniform(4, 7))
        return ct.scan(signal, rng, spacing_mm=frame.spacing_mm, noise_hu_at_3_mm3=noise_hu)
    coil = mr.Coil.draw(rng, wavelength_mm=320)
    return mr.scan(signal, rng, frame=frame, coil=coil, noise_at_3_mm3=float(rng.uniform(8, 18)))
