"""What goes wrong with an RTSTRUCT, done to the file of one case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scipy import ndimage

from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.phantoms.clinic.case import ClinicCase, Damage, Staged
from nnunet_ext.phantoms.clinic.dicom_layout import STRUCTURES

# A word that says nothing of what it names.
STRANGE_NAME = "Volume 1"
# So many times the height of the image: nobody scanned there.
_FAR = 5.0
_MOST_GROWTH = 8


def unknown_name(staged: Staged) -> None:
    """Give the structure a name that no table knows."""
    with _opened(staged) as content:
        _roi(content, _target(staged.case)).ROIName = STRANGE_NAME


def duplicate_contour(staged: Staged) -> None:
    """Draw a contour a second time: by even and odd alone it would cancel itself."""
    with _opened(staged) as content:
        contours = _curves(content, _target(staged.case)).ContourSequence
        contours.append(deepcopy(contours[len(contours) // 2]))


def hole(staged: Staged) -> None:
    """Give the structure a hole of one voxel in its largest slice; the truth gets it too."""
    case = staged.case
    numbers = _with_hole(case.numbers, case.labels[_target(case)])
    changed = case.with_numbers(numbers)
    staged.rewrite(changed)
    write_image(changed.label, staged.truth)


def contour_outside(staged: Staged) -> None:
    """Move all contours of the structure beyond the image."""
    image = staged.case.reference
    far_mm = _FAR * image.GetSize()[2] * image.GetSpacing()[2]
    with _opened(staged) as content:
        for contour in _curves(content, _target(staged.case)).ContourSequence:
            points = np.asarray(contour.ContourData, np.float64).reshape(-1, 3)
            points[:, 2] += far_mm
            contour.ContourData = [f"{mm:.6f}" for mm in points.ravel()]


def empty_roi(staged: Staged) -> None:
    """Leave the structure in the list and take its contours away."""
    with _opened(staged) as content:
        del _curves(content, _target(staged.case)).ContourSequence


def broken_reference(staged: Staged) -> None:
    """Let the RTSTRUCT name another frame of reference, series and images, as of another scan."""

    def other(uid: object) -> str:
        return generate_uid(entropy_srcs=[str(uid), "another scan"])

    with _opened(staged) as content:
        content.FrameOfReferenceUID = other(content.FrameOfReferenceUID)
        for roi in content.StructureSetROISequence:
            roi.ReferencedFrameOfReferenceUID = other(roi.ReferencedFrameOfReferenceUID)
        for frame in content.ReferencedFrameOfReferenceSequence:
            frame.FrameOfReferenceUID = other(frame.FrameOfReferenceUID)
            series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
            series.SeriesInstanceUID = other(series.SeriesInstanceUID)
            _rename_images(series, other)
        for curves in content.ROIContourSequence:
            for contour in curves.get("ContourSequence", None) or ():
                _rename_images(contour, other)


def _rename_images(item: Dataset, other: Callable[[object], str]) -> None:
    for image in item.ContourImageSequence:
        image.ReferencedSOPInstanceUID = other(image.ReferencedSOPInstanceUID)


@contextmanager
def _opened(staged: Staged) -> Iterator[Dataset]:
    path = staged.folder / STRUCTURES
    content = pydicom.dcmread(path)
    yield content
    content.save_as(path, enforce_file_format=True)


def _target(case: ClinicCase) -> str:
    """The label that is damaged: the first one, which every converter requires."""
    return next(name for name, number in case.labels.items() if number)


def _roi(content: Dataset, name: str) -> Dataset:
    found: Dataset = next(roi for roi in content.StructureSetROISequence if roi.ROIName == name)
    return found


def _curves(content: Dataset, name: str) -> Dataset:
    number = _roi(content, name).ROINumber
    found: Dataset = next(c for c in content.ROIContourSequence if c.ReferencedROINumber == number)
    return found


def _with_hole(numbers: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """The label with a hole that background fills; a structure too thin for one is drawn thicker there."""
    changed = numbers.copy()
    z = int(np.argmax((numbers == number).sum(axis=(1, 2))))
    plane = changed[z]
    ring = np.ones((3, 3), bool)
    for _ in range(_MOST_GROWTH):
        inner = ndimage.binary_erosion(plane == number, ring)
        if inner.any():
            middle = np.argwhere(inner)[np.count_nonzero(inner) // 2]
            plane[tuple(middle)] = 0
            return changed
        plane[ndimage.binary_dilation(plane == number, ring) & (plane == 0)] = number
    raise ValueError("the structure has no room for a hole; write the phantom with smaller voxels")


DAMAGE: Mapping[str, Damage] = {
    "unknown-name": unknown_name,
    "duplicate-contour": duplicate_contour,
    "hole": hole,
    "contour-outside": contour_outside,
    "empty-roi": empty_roi,
    "broken-reference": broken_reference,
}
