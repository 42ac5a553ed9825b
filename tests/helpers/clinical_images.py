"""Small images with a stated place in the world, and DICOM series of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import DicomVolume, read_series
from nnunet_ext.clinical_io.dicom_writer import SeriesIdentity, save_slices, slices_of_volume


def oblique_direction(about_x: float, about_y: float, about_z: float) -> tuple[float, ...]:
    """Direction cosines of axes turned by three angles in degrees, as SimpleITK takes them."""
    turned: NDArray[np.float64] = Rotation.from_euler(
        "xyz", [about_x, about_y, about_z], degrees=True
    ).as_matrix()
    return tuple(turned.ravel().tolist())


def placed(
    voxels: ArrayLike,
    *,
    spacing: Sequence[float] = (1, 1, 1),
    origin: Sequence[float] = (0, 0, 0),
    direction: Sequence[float] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
) -> SimpleITK.Image:
    """An image from an array (Z, Y, X); spacing, origin and direction as SimpleITK counts, (x, y, z)."""
    image = SimpleITK.GetImageFromArray(np.asarray(voxels))
    image.SetSpacing([float(mm) for mm in spacing])
    image.SetOrigin([float(mm) for mm in origin])
    image.SetDirection([float(cosine) for cosine in direction])
    return image


def identity(*, modality: str = "CT", patient: str = "patient-1", description: str = "") -> SeriesIdentity:
    """A series of a patient with a name that must not be seen anywhere."""
    return SeriesIdentity.from_seed(
        "tests", modality=modality, patient_id=patient, patient_name="Doe^Jane", description=description
    )


def ct_slices(image: SimpleITK.Image, **of_identity: Any) -> list[Dataset]:
    """DICOM datasets of a CT image, stored with the usual intercept."""
    return slices_of_volume(image, identity(**of_identity), slope=1, intercept=-1024)


def saved_and_read(slices: list[Dataset], folder: Path) -> DicomVolume:
    """What comes back of datasets that were written to a folder."""
    save_slices(slices, folder)
    (series,) = find_dicom(folder).series
    return read_series(series)
