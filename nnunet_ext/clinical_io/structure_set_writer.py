"""Writes masks as an RTSTRUCT on the DICOM series that they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

import nnunet_ext
from nnunet_ext.clinical_io.contours import contours_of
from nnunet_ext.clinical_io.dicom_folder import STRUCTURE_SET
from nnunet_ext.clinical_io.dicom_series import DicomVolume
from nnunet_ext.clinical_io.grids import to_index
from nnunet_ext.files import whole_file

# DICOM's decimal strings have 16 characters: nanometers, with room for a sign and eight digits.
_DECIMALS = 6
_COPIED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
    "SpecificCharacterSet",
)
_UNICODE = "ISO_IR 192"
_MANUFACTURER = "nnunet_ext"
# Detached Study Management, retired since, is what RTSTRUCTs name for a study.
_STUDY = "1.2.840.10008.3.1.2.3.1"


@dataclass(frozen=True)
class NamedMask:
    """One structure to write.

    Attributes:
        name: ROIName.
        mask: bool array (Z, Y, X) on the grid of the series.
        color: red, green and blue from 0 to 255.
    """

    name: str
    mask: NDArray[np.bool_]
    color: tuple[int, int, int]


def write_structure_set(
    masks: Sequence[NamedMask],
    volume: DicomVolume,
    *,
    path: Path,
    label: str,
    written: datetime | None = None,
    entropy: str | None = None,
) -> None:
    """Write an RTSTRUCT with one structure for each mask.

    The file names the series, its images, its patient and its study, so that a planning system hangs it on
    that series. An empty mask becomes a structure without contours: looked
    for and not found.

    Args:
        masks: structures, in the order in which they are to be listed.
        volume: the series, as :func:`~nnunet_ext.clinical_io.dicom_series.read_series` read it.
        path: where to write.
        label: StructureSetLabel, 16 characters at most.
        written: date and time in the file; None takes now.
        entropy: what the file's own UIDs follow from, for files that must come out alike; None draws them.

    Raises:
        ValueError: a mask and the series differ in size, or the label is too long.
        OSError: the file could not be written.
    """
    if len(label) > 16:
        raise ValueError(f"expected a label of at most 16 characters, got {label!r} ({len(label)})")
    written = written or datetime.now()
    content = _header(volume, written, entropy)
    _use_letters_of(content, masks)
    content.StructureSetLabel = label
    content.StructureSetDate, content.StructureSetTime = _date_and_time(written)
    content.ReferencedFrameOfReferenceSequence = DicomSequence([_references(content, volume)])
    rois, curves, observations = [], [], []
    for number, named in enumerate(masks, start=1):
        rois.append(_roi(number, named, volume))
        curves.append(_curves(number, named, volume))
        observations.append(_observation(number))
    content.StructureSetROISequence = DicomSequence(rois)
    content.ROIContourSequence = DicomSequence(curves)
    content.RTROIObservationsSequence = DicomSequence(observations)
    with whole_file(path) as temporary:
        content.save_as(temporary, enforce_file_format=True)


def _header(volume: DicomVolume, written: datetime, entropy: str | None) -> Dataset:
    image = pydicom.dcmread(volume.slices[0].file, stop_before_pixels=True)
    content = Dataset()
    for keyword in _COPIED:
        if keyword in image:
            content[keyword] = image[keyword]
    # DICOM wants these, if only empty.
    for keyword in ("PatientSex", "PatientBirthDate", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
        if keyword not in content:
            setattr(content, keyword, "")
    content.Modality = STRUCTURE_SET
    content.SOPClassUID = RTStructureSetStorage
    of_file = None if entropy is None else [entropy, "structures"]
    content.SOPInstanceUID = generate_uid(entropy_srcs=of_file)
    content.SeriesInstanceUID = generate_uid(entropy_srcs=of_file and [*of_file, "series"])
    content.SeriesNumber = None
    content.OperatorsName = ""
    content.ApprovalStatus = "UNAPPROVED"
    content.Manufacturer = _MANUFACTURER
    content.SoftwareVersions = nnunet_ext.__version__
    content.FrameOfReferenceUID = volume.headers.frame_of_reference
    content.InstanceCreationDate, content.InstanceCreationTime = _date_and_time(written)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = content.SOPClassUID
    meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    content.file_meta = meta
    return content


def _use_letters_of(content: Dataset, masks: Sequence[NamedMask]) -> None:
    """Keep the character set of the images, unless a name has letters that it lacks: then Unicode.

    pydicom would write question marks in their place.
    """
    names = "".join(mask.name for mask in masks)
    if names.isascii():
        return
    encodings = convert_encodings(content.get("SpecificCharacterSet", None) or "")
    try:
        # Several sets in one text are beyond Python's own codecs; ASCII is pydicom's Latin 1.
        is_plain = "SpecificCharacterSet" in content and len(encodings) == 1
        names.encode(encodings[0] if is_plain else "ascii")
    except UnicodeEncodeError:
        content.SpecificCharacterSet = _UNICODE


def _date_and_time(written: datetime) -> tuple[str, str]:
    return written.strftime("%Y%m%d"), written.strftime("%H%M%S")


def _image(volume: DicomVolume, z: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = volume.headers.storage
    item.ReferencedSOPInstanceUID = volume.slices[z].instance
    frame = volume.slices[z].frame
    if frame is not None:
        item.ReferencedFrameNumber = frame + 1
    return item


def _references(content: Dataset, volume: DicomVolume) -> Dataset:
    """The tree that leads from the frame of reference over the study to the images of the series."""
    series = Dataset()
    series.SeriesInstanceUID = volume.headers.uid
    series.ContourImageSequence = DicomSequence([_image(volume, z) for z in range(len(volume.slices))])
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY
    study.ReferencedSOPInstanceUID = content.StudyInstanceUID
    study.RTReferencedSeriesSequence = DicomSequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = volume.headers.frame_of_reference
    frame.RTReferencedStudySequence = DicomSequence([study])
    return frame


def _roi(number: int, named: NamedMask, volume: DicomVolume) -> Dataset:
    item = Dataset()
    item.ROINumber = number
    item.ReferencedFrameOfReferenceUID = volume.headers.frame_of_reference
    item.ROIName = named.name
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    return item


def _curves(number: int, named: NamedMask, volume: DicomVolume) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(named.color)
    item.ReferencedROINumber = number
    drawn = []
    for contour in contours_of(named.mask, volume.image):
        curve = Dataset()
        z = round(float(to_index(contour.points_mm[:1], volume.image)[0, 2]))
        curve.ContourImageSequence = DicomSequence([_image(volume, z)])
        curve.ContourGeometricType = contour.kind
        curve.NumberOfContourPoints = len(contour.points_mm)
        curve.ContourData = [f"{mm:.{_DECIMALS}f}" for mm in contour.points_mm.ravel()]
        drawn.append(curve)
    if drawn:
        item.ContourSequence = DicomSequence(drawn)
    return item


def _observation(number: int) -> Dataset:
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = number
    item.RTROIInterpretedType = ""
    item.ROIInterpreter = ""
    return item
