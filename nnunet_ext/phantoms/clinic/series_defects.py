"""What goes wrong with a DICOM series, done to the files of one case."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from math import radians, tan
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from nnunet_ext.phantoms.clinic.case import Damage, Staged
from nnunet_ext.phantoms.clinic.dicom_layout import patient_id, patient_name

TILT_DEGREES = 12.0
# Of the distance between slices: more than rounding, and no whole slice.
GAP_SHARE = 0.4
# Feet first: columns to the right, slices to the feet. Right-handed, as DICOM's slices are.
_OTHER_AXES = "RPI"
_FEW = 3


def slice_files(staged: Staged) -> list[Path]:
    """The files of the first channel, in the order of the slices."""
    return sorted((staged.folder / next(iter(staged.case.images))).glob("*.dcm"))


def missing_slice(staged: Staged) -> None:
    """Remove a slice in the middle: those at the ends leave no gap."""
    files = slice_files(staged)
    files[len(files) // 2].unlink()


def duplicate_slice(staged: Staged) -> None:
    """Add a copy of a slice under a name of its own, as when a folder was sent twice."""
    files = slice_files(staged)
    _save_as_new(pydicom.dcmread(files[len(files) // 2]), number=len(files) + 1, folder=files[0].parent)


def uneven_spacing(staged: Staged) -> None:
    """Shift the upper half along the normal."""
    files = slice_files(staged)
    step = _position(files[1]) - _position(files[0])
    for file in files[len(files) // 2 :]:
        _move(file, GAP_SHARE * step)


def tilt(staged: Staged) -> None:
    """Shift each slice against the one before, as a tilted gantry does, and say so in the header."""
    files = slice_files(staged)
    first = _position(files[0])
    for file in files:
        along = float(np.linalg.norm(_position(file) - first))
        content = pydicom.dcmread(file)
        content.GantryDetectorTilt = f"{TILT_DEGREES:g}"
        content.save_as(file, enforce_file_format=True)
        _move(file, np.array([0.0, tan(radians(TILT_DEGREES)) * along, 0.0]))


def mixed_series(staged: Staged) -> None:
    """Put coronal images into the series, as where a workstation adds its reformats to it."""
    files = slice_files(staged)
    for number, file in enumerate(files[:_FEW], start=len(files) + 1):
        content = pydicom.dcmread(file)
        content.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
        _save_as_new(content, number=number, folder=file.parent)


def truncated_file(staged: Staged) -> None:
    """Cut a slice within its pixels."""
    file = slice_files(staged)[_FEW]
    content = file.read_bytes()
    file.write_bytes(content[: -len(pydicom.dcmread(file).PixelData) // 2])


def hu_offset(staged: Staged) -> None:
    """Lose the intercept: stored values are left, which no reader can know."""
    for file in slice_files(staged):
        content = pydicom.dcmread(file)
        content.RescaleIntercept = "0"
        content.save_as(file, enforce_file_format=True)


def orientation(staged: Staged) -> None:
    """Scan feet first: arrays run to the right and down, the world is the same."""
    staged.rewrite(staged.case.along(_OTHER_AXES))


def missing_channel(staged: Staged) -> None:
    """Remove the series of the last channel."""
    shutil.rmtree(staged.folder / list(staged.case.images)[-1])


def shared_patient(staged: Staged) -> None:
    """Make the case a second visit of another one's patient."""
    for file in sorted(staged.folder.rglob("*.dcm")):
        content = pydicom.dcmread(file)
        content.PatientID = patient_id(staged.another)
        content.PatientName = patient_name(staged.another)
        content.save_as(file, enforce_file_format=True)


def _position(file: Path) -> NDArray[np.float64]:
    return np.asarray(pydicom.dcmread(file, stop_before_pixels=True).ImagePositionPatient, np.float64)


def _move(file: Path, by_mm: NDArray[np.float64]) -> None:
    content = pydicom.dcmread(file)
    place = np.asarray(content.ImagePositionPatient, np.float64) + by_mm
    content.ImagePositionPatient = [f"{mm:.6f}" for mm in place]
    content.save_as(file, enforce_file_format=True)


def _save_as_new(content: Dataset, *, number: int, folder: Path) -> None:
    content.SOPInstanceUID = generate_uid(entropy_srcs=[content.SOPInstanceUID, str(number)])
    content.file_meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID
    content.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)


DAMAGE: Mapping[str, Damage] = {
    "missing-slice": missing_slice,
    "duplicate-slice": duplicate_slice,
    "uneven-spacing": uneven_spacing,
    "tilt": tilt,
    "mixed-series": mixed_series,
    "truncated-file": truncated_file,
    "hu-offset": hu_offset,
    "orientation": orientation,
    "missing-channel": missing_channel,
    "shared-patient": shared_patient,
}
