"""Makes the patients of a clinic: each phantom's arrays as images with a place in the world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunet_ext.phantoms import brain_oar, coronary, liver_target, lower_limb, whole_heart
from nnunet_ext.phantoms.clinic.case import ClinicCase
from nnunet_ext.phantoms.ct import Tissue
from nnunet_ext.phantoms.phantom import FieldOfView, Patient, checked_geometry
from nnunet_ext.phantoms.rigid import RigidMotion, random_motion
from nnunet_ext.phantoms.shapes import Triple
from nnunet_ext.phantoms.view import Frame

Size = tuple[int, int, int]
# SPEC B3: MR slices of 4 to 7 mm, CT slices of 2.5 to 5 mm.
_MR_SLICE_FACTOR = 1.25
# What is inside of the skin: the couch is not.
_OUTSIDE = (Tissue.AIR, Tissue.COUCH)


@dataclass(frozen=True)
class Anatomy:
    """Grid of all patients of a clinic.

    Attributes:
        clinic: key of :data:`~nnunet_ext.phantoms.clinic.catalog.CLINICS`.
        size_vox: voxels (z, y, x) of the first channel.
        spacing_mm: its voxel size.
        misaligned: brain-oar: the head lies otherwise in the MR, on grids of its own.
    """

    clinic: str
    size_vox: Size
    spacing_mm: Triple
    misaligned: bool = False

    def make(self, *, number: int, seed: int) -> ClinicCase:
        """The patient of a seed.

        Example:
            >>> anatomy = anatomy_of("lower-limb", size_vox=(16, 48, 48), spacing_mm=None)
            >>> case = anatomy.make(number=1, seed=1)
            >>> case.reference.GetSize(), sorted(case.images), case.numbers.max()
            ((48, 48, 16), ['CT'], np.uint8(1))
        """
        if self.clinic == "liver-target":
            return self._liver(number=number, seed=seed)
        motion = motion_of(seed) if self.misaligned else RigidMotion()
        patient = self._patient(seed=seed, motion=motion)
        images = {c.name: placed(c.image, c.spacing_mm, c.origin_mm) for c in patient.channels}
        reference = patient.reference
        return ClinicCase(
            clinic=self.clinic,
            number=number,
            seed=seed,
            images=images,
            label=placed(patient.label, reference.spacing_mm, reference.origin_mm),
            labels=patient.labels,
            motion=motion,
        )

    def _liver(self, *, number: int, seed: int) -> ClinicCase:
        made = liver_target.make_liver_target(seed=seed, size_vox=self.size_vox, spacing_mm=self.spacing_mm)
        origin_mm = Frame(size_vox=self.size_vox, spacing_mm=self.spacing_mm).origin_mm
        # What planning systems list beside the target. The liver as tissue: vessels and target are holes.
        drawn = {
            "Body": ~np.isin(made.tissue, [int(tissue) for tissue in _OUTSIDE]),
            "Liver": made.tissue == Tissue.LIVER,
        }
        return ClinicCase(
            clinic=self.clinic,
            number=number,
            seed=seed,
            images={"CT": placed(made.image, self.spacing_mm, origin_mm)},
            label=placed(made.label, self.spacing_mm, origin_mm),
            labels={"background": 0, "GTV": 1},
            further={
                name: placed(mask.astype(np.uint8), self.spacing_mm, origin_mm)
                for name, mask in drawn.items()
            },
        )

    def _patient(self, *, seed: int, motion: RigidMotion) -> Patient:
        grid: dict[str, Any] = {"size_vox": self.size_vox, "spacing_mm": self.spacing_mm}
        if self.misaligned:
            slices = round(self.size_vox[0] / _MR_SLICE_FACTOR)
            thickness = self.size_vox[0] * self.spacing_mm[0] / slices
            acquisition = brain_oar.Acquisition(
                (slices, *self.size_vox[1:]), (thickness, *self.spacing_mm[1:]), motion
            )
            grid["mr_acquisitions"] = dict.fromkeys(brain_oar.MR_CHANNELS, acquisition)
        return _MAKERS[self.clinic](seed=seed, **grid)


def anatomy_of(
    clinic: str,
    *,
    size_vox: Sequence[int] | None,
    spacing_mm: Sequence[float] | None,
    misaligned: bool = False,
) -> Anatomy:
    """The patients of a clinic on one grid.

    Args:
        clinic: key of :data:`~nnunet_ext.phantoms.clinic.catalog.CLINICS`.
        size_vox: voxels (z, y, x); None takes what the clinic's scanner has.
        spacing_mm: voxel size; None takes the clinic's.
        misaligned: for brain-oar: the MR is not registered.

    Raises:
        ValueError: the phantom cannot be drawn on that grid, or another clinic is to be misaligned.
        TypeError: a size is not a whole number.
    """
    if misaligned and clinic != "brain-oar":
        raise ValueError(f"misaligned is for brain-oar alone, got it for {clinic}")
    size = size_vox or _SIZES[clinic]
    if clinic == "liver-target":
        spacing_mm = spacing_mm or liver_target.PAPER_SPACING_MM
        return Anatomy(clinic, *checked_geometry(seed=0, size_vox=size, spacing_mm=spacing_mm))
    checked = _VIEWS[clinic].checked(seed=0, size_vox=size, spacing_mm=spacing_mm)
    return Anatomy(clinic, *checked, misaligned=misaligned)


def motion_of(seed: int) -> RigidMotion:
    """How the head of a misaligned patient lies in the MR scanner, compared with the CT's."""
    return random_motion(seed=seed)


def placed(array: NDArray[Any], spacing_mm: Triple, origin_mm: Triple) -> SimpleITK.Image:
    """An array (Z, Y, X) of the phantoms' frame, which is DICOM's, as an image.

    Example:
        >>> placed(np.zeros((2, 3, 4), np.uint8), (3.0, 2.0, 1.0), (30.0, 20.0, 10.0)).GetOrigin()
        (10.0, 20.0, 30.0)
    """
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])  # SimpleITK counts (x, y, z)
    image.SetOrigin(origin_mm[::-1])
    return image


_MAKERS: Mapping[str, Callable[..., Patient]] = {
    "coronary": coronary.make_coronary,
    "coronary-cta": coronary.make_coronary,
    "whole-heart-ct": whole_heart.make_whole_heart,
    "whole-heart-mr": lambda **grid: whole_heart.make_whole_heart(modality="MR", **grid),
    "lower-limb": lower_limb.make_lower_limb,
    "brain-oar": brain_oar.make_brain_oar,
}
_VIEWS: Mapping[str, FieldOfView] = {
    "coronary": coronary.FIELD_OF_VIEW,
    "coronary-cta": coronary.FIELD_OF_VIEW,
    "whole-heart-ct": whole_heart.FIELDS_OF_VIEW["CT"],
    "whole-heart-mr": whole_heart.FIELDS_OF_VIEW["MR"],
    "lower-limb": lower_limb.FIELD_OF_VIEW,
    "brain-oar": brain_oar.FIELD_OF_VIEW,
}
_SIZES: Mapping[str, Size] = {
    "liver-target": liver_target.DEFAULT_SIZE_VOX,
    "coronary": coronary.DEFAULT_SIZE_VOX,
    "coronary-cta": coronary.DEFAULT_SIZE_VOX,
    "whole-heart-ct": whole_heart.DEFAULT_SIZE_VOX["CT"],
    "whole-heart-mr": whole_heart.DEFAULT_SIZE_VOX["MR"],
    "lower-limb": lower_limb.DEFAULT_SIZE_VOX,
    "brain-oar": brain_oar.DEFAULT_SIZE_VOX,
}
