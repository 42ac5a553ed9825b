"""Reads an RTSTRUCT: structures, each with its contours in world coordinates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nnunet_ext.clinical_io.dicom_folder import STRUCTURE_SET, Patient, patient_of
from nnunet_ext.clinical_io.findings import CaseError, Note

XOR = "CLOSEDPLANAR_XOR"
AREAS = ("CLOSED_PLANAR", XOR, "INTERPOLATED_PLANAR")


@dataclass(frozen=True)
class Contour:
    """One closed curve in a plane.

    Attributes:
        points_mm: (N, 3) array, world coordinates; the last point is joined to the first.
        kind: ContourGeometricType; only those in ``AREAS`` enclose anything.
    """

    points_mm: NDArray[np.float64]
    kind: str

    @property
    def is_area(self) -> bool:
        """False for points, open curves and what has fewer than three points."""
        return self.kind in AREAS and len(self.points_mm) >= 3


@dataclass(frozen=True)
class Structure:
    """One region of interest.

    Attributes:
        name: as the planning system spells it.
        number: ROINumber.
        color: red, green and blue from 0 to 255, None where it has none.
        contours: its curves; none where nothing was drawn.
        frame_of_reference: FrameOfReferenceUID of its coordinates, "" where it is not said.
    """

    name: str
    number: int
    color: tuple[int, int, int] | None
    contours: tuple[Contour, ...]
    frame_of_reference: str

    @property
    def is_empty(self) -> bool:
        """True where no curve encloses anything: listed in the plan, never drawn."""
        return not any(contour.is_area for contour in self.contours)


@dataclass(frozen=True)
class StructureSet:
    """What one RTSTRUCT file says.

    Attributes:
        structures: in the order of the file.
        patient: whose it is.
        series: SeriesInstanceUIDs of the images it was drawn on.
        instances: SOPInstanceUIDs of those images.
        frames_of_reference: FrameOfReferenceUIDs that it names.
    """

    structures: tuple[Structure, ...]
    patient: Patient
    series: frozenset[str]
    instances: frozenset[str]
    frames_of_reference: frozenset[str]


def read_structure_set(file: Path) -> StructureSet:
    """Read all contours of an RTSTRUCT.

    Args:
        file: a DICOM file of modality RTSTRUCT.

    Raises:
        CaseError: ``unreadable`` where it is no RTSTRUCT or a contour is not made of points.
    """
    try:
        content = pydicom.dcmread(file, force=True)
        if content.get("Modality", "") != STRUCTURE_SET:
            raise CaseError(
                "unreadable",
                reason="expected an RTSTRUCT, got a DICOM file of another kind",
                remedy="give the file with the contours",
            )
        return _read(content)
    except CaseError:
        raise
    except Exception as error:  # pydicom raises what its parser meets: EOFError, ValueError, AttributeError
        raise CaseError(
            "unreadable",
            reason=f"the RTSTRUCT is cut off or damaged ({type(error).__name__})",
            remedy="export the structures again",
        ) from error


def require_frame_of_reference(
    structures: StructureSet, wanted: Sequence[Structure], *, frame: str, instances: Collection[str]
) -> tuple[Note, ...]:
    """Raise unless contours and images share a frame of reference; the world is the same only then.

    Args:
        structures: what was read of the RTSTRUCT.
        wanted: those of its structures that matter.
        frame: FrameOfReferenceUID of the image.
        instances: SOPInstanceUIDs of the image's slices.

    Returns:
        A note where the RTSTRUCT names other images than these, as after many an anonymization: the
        contours are then placed by their coordinates alone.

    Raises:
        CaseError: ``broken-reference``.
    """
    whole = structures.frames_of_reference
    for structure in wanted:
        named = {structure.frame_of_reference} - {""} or whole
        if not frame or frame not in named:
            found = "the RTSTRUCT names no frame of reference"
            if named:
                found = "a structure was drawn in another frame of reference than that of the images"
            raise CaseError(
                "broken-reference",
                reason=found,
                remedy="give the RTSTRUCT that belongs to this series, or export both together",
            )
    known = len(structures.instances.intersection(instances))
    if known and known == len(structures.instances):
        return ()
    text = (
        f"of the {len(structures.instances)} images that the RTSTRUCT names {known} are here; the frame of "
        "reference agrees, and the contours were placed by their coordinates"
    )
    return (Note("broken-reference", text),)


def _read(content: Dataset) -> StructureSet:
    curves = {int(item.ReferencedROINumber): item for item in content.get("ROIContourSequence", None) or ()}
    structures = []
    for item in content.get("StructureSetROISequence", None) or ():
        drawn = curves.get(int(item.ROINumber), Dataset())
        structures.append(
            Structure(
                name=str(item.get("ROIName", "") or "").strip(),
                number=int(item.ROINumber),
                color=_color(drawn),
                contours=tuple(_contour(c) for c in drawn.get("ContourSequence", None) or ()),
                frame_of_reference=str(item.get("ReferencedFrameOfReferenceUID", "") or ""),
            )
        )
    frames = content.get("ReferencedFrameOfReferenceSequence", None) or ()
    named = [
        series
        for frame in frames
        for study in frame.get("RTReferencedStudySequence", None) or ()
        for series in study.get("RTReferencedSeriesSequence", None) or ()
    ]
    images = [image for series in named for image in series.get("ContourImageSequence", None) or ()]
    return StructureSet(
        structures=tuple(structures),
        patient=patient_of(content),
        series=frozenset(str(s.get("SeriesInstanceUID", "")) for s in named) - {""},
        instances=frozenset(str(i.get("ReferencedSOPInstanceUID", "")) for i in images) - {""},
        frames_of_reference=frozenset(str(f.get("FrameOfReferenceUID", "") or "") for f in frames) - {""},
    )


def _contour(item: Dataset) -> Contour:
    points = _coordinates(item)
    if len(points) % 3 or not np.isfinite(points).all():
        raise CaseError(
            "unreadable",
            reason=f"a contour has {len(points)} numbers, which are not points of three coordinates",
            remedy="export the structures again",
        )
    return Contour(points.reshape(-1, 3), str(item.get("ContourGeometricType", "")).strip().upper())


def _coordinates(item: Dataset) -> NDArray[np.float64]:
    """ContourData as numbers; from its bytes, since pydicom makes an object of each."""
    raw = item.get_item("ContourData") if "ContourData" in item else None
    value = getattr(raw, "value", None)
    if isinstance(value, bytes):
        text = value.decode("ascii").strip("\0 ")
        return np.array(text.split("\\") if text else [], dtype=np.float64)
    return np.asarray(value if value is not None else (), dtype=np.float64).ravel()


def _color(item: Dataset) -> tuple[int, int, int] | None:
    color = item.get("ROIDisplayColor", None)
    if color is None or len(color) != 3:
        return None
    return int(color[0]), int(color[1]), int(color[2])
