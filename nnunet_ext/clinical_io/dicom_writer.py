"""Writes a volume as a DICOM series, one file a slice: for phantoms, and for tests of what reads one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from nnunet_ext.clinical_io.grids import affine
from nnunet_ext.files import whole_file

STORAGE = {"CT": CTImageStorage, "MR": MRImageStorage}


@dataclass(frozen=True)
class SeriesIdentity:
    """What the files of one series share beside their geometry.

    Attributes:
        modality: ``"CT"`` or ``"MR"``.
        patient_id: PatientID.
        patient_name: PatientName.
        study: StudyInstanceUID.
        series: SeriesInstanceUID.
        frame_of_reference: FrameOfReferenceUID.
        description: SeriesDescription.
        number: SeriesNumber.
    """

    modality: str
    patient_id: str
    patient_name: str
    study: str
    series: str
    frame_of_reference: str
    description: str = ""
    number: int = 1

    @classmethod
    def from_seed(
        cls, *entropy: str, modality: str, patient_id: str, patient_name: str, description: str = ""
    ) -> SeriesIdentity:
        """An identity whose UIDs follow from words: study and frame from the patient, series from all.

        Example:
            >>> a = SeriesIdentity.from_seed("1", modality="CT", patient_id="p", patient_name="P")
            >>> b = SeriesIdentity.from_seed("1", modality="MR", patient_id="p", patient_name="P")
            >>> a.study == b.study, a.series == b.series
            (True, False)
        """
        whole = [*entropy, patient_id]
        return cls(
            modality=modality,
            patient_id=patient_id,
            patient_name=patient_name,
            study=generate_uid(entropy_srcs=[*whole, "study"]),
            series=generate_uid(entropy_srcs=[*whole, modality, description]),
            frame_of_reference=generate_uid(entropy_srcs=[*whole, "frame"]),
            description=description,
        )


def slices_of_volume(
    image: SimpleITK.Image, identity: SeriesIdentity, *, slope: float = 1.0, intercept: float = 0.0
) -> list[Dataset]:
    """One DICOM dataset for each slice, which a caller may change before it is saved.

    Args:
        image: whole numbers; stored value = (value - intercept) / slope must fit 16 bits.
        identity: of the series.
        slope: RescaleSlope.
        intercept: RescaleIntercept.

    Raises:
        ValueError: a value does not fit.

    Example:
        >>> identity = SeriesIdentity.from_seed("1", modality="CT", patient_id="p", patient_name="P")
        >>> slices = slices_of_volume(SimpleITK.Image(4, 3, 2, SimpleITK.sitkInt16), identity)
        >>> len(slices), slices[1].Rows, float(slices[1].ImagePositionPatient[2])
        (2, 3, 1.0)
    """
    values = (SimpleITK.GetArrayFromImage(image).astype(np.float64) - intercept) / slope
    stored = np.rint(values)
    limits = np.iinfo(np.int16)
    if stored.min() < limits.min or stored.max() > limits.max:
        raise ValueError(
            f"expected stored values from {limits.min} to {limits.max}, got {stored.min():g} to "
            f"{stored.max():g}; choose another slope or intercept"
        )
    matrix = affine(image)
    spacing = image.GetSpacing()
    slices = []
    for z, pixels in enumerate(stored.astype(np.int16)):
        item = _common(identity, z)
        item.ImagePositionPatient = [f"{mm:.6f}" for mm in (matrix @ [0, 0, z, 1])[:3]]
        item.ImageOrientationPatient = [
            f"{cosine:.9f}" for axis in (0, 1) for cosine in matrix[:3, axis] / spacing[axis]
        ]
        item.PixelSpacing = [f"{spacing[1]:.9g}", f"{spacing[0]:.9g}"]
        item.SliceThickness = f"{spacing[2]:.9g}"
        item.Rows, item.Columns = pixels.shape
        item.RescaleSlope, item.RescaleIntercept = f"{slope:g}", f"{intercept:g}"
        item.PixelData = pixels.astype("<i2").tobytes()
        slices.append(item)
    return slices


def save_slices(slices: list[Dataset], folder: Path) -> list[Path]:
    """Write datasets as ``0001.dcm``, ``0002.dcm``, ... and return the files."""
    files = [folder / f"{number:04d}.dcm" for number in range(1, len(slices) + 1)]
    for item, file in zip(slices, files, strict=True):
        with whole_file(file) as temporary:
            item.save_as(temporary, enforce_file_format=True)
    return files


def _common(identity: SeriesIdentity, z: int) -> Dataset:
    item = Dataset()
    item.SOPClassUID = STORAGE[identity.modality]
    item.SOPInstanceUID = generate_uid(entropy_srcs=[identity.series, str(z)])
    item.Modality = identity.modality
    item.PatientID, item.PatientName = identity.patient_id, identity.patient_name
    item.PatientBirthDate, item.PatientSex = "", ""
    item.StudyInstanceUID, item.SeriesInstanceUID = identity.study, identity.series
    item.FrameOfReferenceUID = identity.frame_of_reference
    item.SeriesDescription, item.SeriesNumber = identity.description, identity.number
    item.InstanceNumber = z + 1
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = item.SOPClassUID
    meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.file_meta = meta
    return item
