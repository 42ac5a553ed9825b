"""Finds what lies in a folder of DICOM files: the headers of every image, grouped by series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from nnunet_ext.clinical_io.dicom_slice import Slice, slices_of
from nnunet_ext.clinical_io.findings import CaseError

STRUCTURE_SET = "RTSTRUCT"
SEGMENTATION = "SEG"
IMAGE_MODALITIES = ("CT", "MR", "PT")
# What else may say of an image that it is a sketch for planning a scan, not a slice of one.
_SKETCHES = ("LOCALIZER", "SCOUT", "TOPOGRAM")
# Secondary Capture Image Storage, and its kinds with several frames behind another dot.
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SeriesDescription",
    "ImageType",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "GantryDetectorTilt",
    "RescaleSlope",
    "RescaleIntercept",
    "InstanceNumber",
    *_FUNCTIONAL_GROUPS,
)


@dataclass(frozen=True)
class Patient:
    """What tells one patient from another. It never leaves this process but as a salted hash."""

    identifier: str
    name: str
    birth_date: str

    @property
    def key(self) -> str:
        """Equal for one patient: the PatientID, and only where there is none the name and the birth date.

        Names are spelled in many ways, so they decide nothing that the number can.

        Example:
            >>> Patient("1", "Doe^Jane", "").key == Patient("1", "DOE^JANE", "19500101").key
            True
        """
        return self.identifier or "\n".join((self.name, self.birth_date)).strip()


@dataclass(frozen=True)
class SeriesHeaders:
    """The images of one series, in no order.

    Attributes:
        uid: SeriesInstanceUID.
        modality: ``"CT"``, ``"MR"`` or ``"PT"``.
        description: SeriesDescription, as the operator wrote it: it is read and never written.
        storage: SOPClassUID.
        frame_of_reference: FrameOfReferenceUID, "" where there is none.
        patient: whose it is.
        slices: headers.
    """

    uid: str
    modality: str
    description: str
    storage: str
    frame_of_reference: str
    patient: Patient
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class DicomFolder:
    """What was found below a folder.

    Attributes:
        series: every series of images but sketches, sorted by its UID.
        structure_sets: files with contours (RTSTRUCT), sorted.
        segmentations: number of files with labels in voxels (DICOM SEG), which nothing here reads.
        others: number of DICOM files that are none of these, such as dose, reports, scouts and screens.
    """

    series: tuple[SeriesHeaders, ...]
    structure_sets: tuple[Path, ...]
    segmentations: int
    others: int

    @property
    def patients(self) -> frozenset[str]:
        """The keys of everybody whose images lie here."""
        return frozenset(series.patient.key for series in self.series)


def find_dicom(folder: Path) -> DicomFolder:
    """Read the headers of every DICOM file below a folder.

    Files are told by their content, not their name; what is not DICOM is passed over.

    Args:
        folder: searched to any depth, hidden files left out.

    Raises:
        CaseError: ``unreadable`` where a file's header lacks what an image must say.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as empty:
        ...     find_dicom(Path(empty)).series
        ()
    """
    images: dict[str, list[tuple[Dataset, Path]]] = {}
    structure_sets, segmentations, others = [], 0, 0
    for file, header in _headers(folder):
        modality = header.get("Modality", "")
        if modality == STRUCTURE_SET:
            structure_sets.append(file)
        elif modality in IMAGE_MODALITIES and "Rows" in header and not _is_no_slice(header):
            images.setdefault(str(header.get("SeriesInstanceUID", "")), []).append((header, file))
        elif modality == SEGMENTATION:
            segmentations += 1
        else:
            others += 1
    series = tuple(_series(uid, images[uid]) for uid in sorted(images))
    return DicomFolder(series, tuple(structure_sets), segmentations, others)


def patient_of(header: Dataset) -> Patient:
    """The patient that a header names."""
    return Patient(
        identifier=str(header.get("PatientID", "") or "").strip(),
        name=str(header.get("PatientName", "") or "").strip(),
        birth_date=str(header.get("PatientBirthDate", "") or "").strip(),
    )


def _headers(folder: Path) -> Iterator[tuple[Path, Dataset]]:
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        try:
            header: Dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        except InvalidDicomError:
            header = _without_preamble(file)
        except Exception as error:  # pydicom raises what its parser meets: EOFError, ValueError, struct.error
            raise _cut_off(error) from error
        if "Modality" in header:
            yield file, header


def _without_preamble(file: Path) -> Dataset:
    """Old exports leave the first 132 bytes out; anything else that is read so has no modality."""
    if file.stat().st_size > 1 << 26 or file.name == "DICOMDIR":
        return Dataset()
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS), force=True)
    except Exception:  # any bytes at all may come here
        return Dataset()


def _cut_off(error: Exception) -> CaseError:
    return CaseError(
        "truncated-file",
        reason=f"the header of a DICOM file is cut off or damaged ({type(error).__name__})",
        remedy="export the series again",
    )


def _is_no_slice(header: Dataset) -> bool:
    """A sketch, or a picture of a screen, such as the table of doses that scanners send along as CT."""
    kinds = header.get("ImageType", None) or ()
    is_captured = str(header.get("SOPClassUID", "")).startswith(_SECONDARY_CAPTURE)
    has_place = "ImagePositionPatient" in header or _FUNCTIONAL_GROUPS[1] in header
    return any(str(kind).upper() in _SKETCHES for kind in kinds) or (is_captured and not has_place)


def _series(uid: str, files: Sequence[tuple[Dataset, Path]]) -> SeriesHeaders:
    first = files[0][0]
    if any(patient_of(header).key != patient_of(first).key for header, _ in files):
        raise CaseError(
            "mixed-patients",
            reason="one series holds images of more than one patient",
            remedy="export each patient's series into a folder of its own",
        )
    slices = [s for header, file in files for s in slices_of(header, file)]
    return SeriesHeaders(
        uid=uid,
        modality=str(first.Modality),
        description=str(first.get("SeriesDescription", "") or ""),
        storage=str(first.get("SOPClassUID", "") or ""),
        frame_of_reference=str(first.get("FrameOfReferenceUID", "") or ""),
        patient=patient_of(first),
        slices=tuple(slices),
    )
