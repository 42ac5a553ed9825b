"""A hospital's folder: a folder for each patient with DICOM series, and what was drawn on the first one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.dicom_writer import SeriesIdentity, save_slices, slices_of_volume
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set
from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.phantoms.clinic.case import ClinicCase

STRUCTURES = "RS.dcm"
MASKS = "mask"
LABEL = "label.nrrd"
# One day for all files: bytes follow from the seed alone.
_WRITTEN = datetime(2000, 1, 1)
# Stored values of CT start at 0, as scanners do.
CT_INTERCEPT = -1024
# Repetition and echo time in ms of spin echo, by which a person tells the weighting.
_TIMES_MS = {"T1w": ("500", "10"), "T2w": ("4000", "100"), "MR": ("4", "2")}
_COLORS = (
    (255, 0, 0),
    (0, 160, 255),
    (255, 200, 0),
    (0, 200, 80),
    (200, 0, 255),
    (255, 120, 0),
    (0, 220, 220),
    (160, 160, 160),
)


@dataclass(frozen=True)
class DicomLayout:
    """``PHANTOM-0001/CT/0001.dcm``, ... with ``RS.dcm``, ``mask/mask_1.png``, ... or ``label.nrrd``.

    Attributes:
        drawn: how the label is kept.
    """

    drawn: Literal["rtstruct", "png", "volume"]

    @property
    def has_own_folder(self) -> bool:
        """Every patient has a folder."""
        return True

    @property
    def most_cases(self) -> int:
        """Numbers have four digits, so that folders sort as they are numbered."""
        return 9999

    def name_of(self, number: int) -> str:
        """The folder, called as the patient is."""
        return patient_id(number)

    def folder_of(self, number: int) -> Path:
        """The patient's folder."""
        return Path(patient_id(number))

    def files_of(self, number: int) -> tuple[str, str]:
        """Names of the first channel's folder and of the label, in the patient's folder."""
        return "CT", {"rtstruct": STRUCTURES, "png": MASKS, "volume": LABEL}[self.drawn]

    def write(self, case: ClinicCase, folder: Path) -> None:
        """Write series and label; what was in the folder is removed."""
        shutil.rmtree(folder, ignore_errors=True)
        for channel, image in case.images.items():
            intercept = CT_INTERCEPT if channel == "CT" else 0
            slices = slices_of_volume(image, _identity(case, channel), intercept=intercept)
            save_slices([_scanned(item, channel) for item in slices], folder / channel)
        if self.drawn == "rtstruct":
            _write_structures(case, folder)
        elif self.drawn == "png":
            write_masks(case.numbers > 0, folder / MASKS)
        else:
            write_image(case.label, folder / LABEL)


def patient_id(number: int) -> str:
    """PatientID of a case: nobody can take it for a person's.

    Example:
        >>> patient_id(1), patient_name(1)
        ('PHANTOM-0001', 'Phantom^0001')
    """
    return f"PHANTOM-{number:04d}"


def patient_name(number: int) -> str:
    """PatientName of a case."""
    return f"Phantom^{number:04d}"


def write_masks(mask: NDArray[np.bool_], folder: Path) -> None:
    """One PNG of 0 and 1 for each slice of an array (Z, Y, X), named by InstanceNumber without zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, plane in enumerate(mask, start=1):
        Image.fromarray(plane.astype(np.uint8)).save(folder / f"mask_{number}.png")


def _identity(case: ClinicCase, channel: str) -> SeriesIdentity:
    made = SeriesIdentity.from_seed(
        "nnunet_ext phantom",
        case.clinic,
        str(case.seed),
        modality="CT" if channel == "CT" else "MR",
        patient_id=patient_id(case.number),
        patient_name=patient_name(case.number),
        description=channel,
    )
    made = replace(made, number=list(case.images).index(channel) + 1)
    if channel == "CT" or case.motion.is_identity:  # registered images share the CT's frame
        return made
    return replace(made, frame_of_reference=generate_uid(entropy_srcs=[made.study, "MR scanner"]))


def _scanned(item: Dataset, channel: str) -> Dataset:
    """A slice with what a scanner writes beside the pixels, on one day for all."""
    day, time = _WRITTEN.strftime("%Y%m%d"), _WRITTEN.strftime("%H%M%S")
    item.StudyDate = item.SeriesDate = item.ContentDate = day
    item.StudyTime = item.SeriesTime = item.ContentTime = time
    item.Manufacturer = "nnunet_ext phantom"
    item.StudyID, item.AccessionNumber, item.ReferringPhysicianName = "1", "", ""
    if channel in _TIMES_MS:
        item.ScanningSequence, item.SequenceVariant = "SE", "NONE"
        item.RepetitionTime, item.EchoTime = _TIMES_MS[channel]
    return item


def _write_structures(case: ClinicCase, folder: Path) -> None:
    (series,) = find_dicom(folder / next(iter(case.images))).series
    numbers = case.numbers
    drawn = {name: numbers == number for name, number in case.labels.items() if number}
    drawn |= {name: SimpleITK.GetArrayFromImage(image) > 0 for name, image in case.further.items()}
    masks = [NamedMask(name, mask, _COLORS[i % len(_COLORS)]) for i, (name, mask) in enumerate(drawn.items())]
    path = folder / STRUCTURES
    write_structure_set(
        masks, read_series(series), path=path, label="PHANTOM", written=_WRITTEN, entropy=series.uid
    )
