"""A hospital's folder: patients with a CT in DICOM and an RTSTRUCT, small and with known voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from clinical_images import oblique_direction, placed
from numpy.typing import NDArray

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.dicom_writer import SeriesIdentity, save_slices, slices_of_volume
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set

SIZE = (8, 20, 24)  # z, y, x


@dataclass(frozen=True)
class Truth:
    """What was written of one patient: CT and target as arrays (Z, Y, X)."""

    image: SimpleITK.Image
    target: NDArray[np.bool_]


def write_patient(
    folder: Path,
    *,
    seed: int,
    patient: str = "",
    structure: str = "GTV",
    angles: Sequence[float] = (0, 0, 0),
    description: str = "CT",
) -> Truth:
    """One patient: air, a body, and a target in it, on a grid of its own; a series in a folder called so."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(SIZE)
    body = np.hypot((y - 10) / 8, (x - 12) / 10) < 1
    center = rng.uniform((3, 8, 9), (5, 12, 15))
    target = np.sqrt((z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2) < rng.uniform(2, 3)
    values = np.where(body, 50, -1000) + np.where(target, 60, 0) + rng.normal(0, 10, SIZE).round()
    image = placed(
        np.clip(values, -1024, 3071).astype(np.int16),
        spacing=(0.9, 0.9, 2.5),
        origin=rng.uniform(-200, 200, 3).round(2),
        direction=oblique_direction(*angles),
    )
    identity = SeriesIdentity.from_seed(
        "clinic",
        modality="CT",
        patient_id=patient or f"ID-{seed}-secret",
        patient_name=f"Doe^Jane{seed}",
        description=description,
    )
    save_slices(slices_of_volume(image, identity, intercept=-1024), folder / description)
    volume = read_series(find_dicom(folder / description).series[0])
    write_structure_set(
        [NamedMask(structure, target, (255, 0, 0))], volume, path=folder / "RS.dcm", label="plan"
    )
    return Truth(image, target)


def write_clinic(folder: Path, patients: int = 6) -> dict[str, Truth]:
    """A folder for each patient, called as somebody might be called."""
    return {
        f"Doe_Jane_{seed:02d}": write_patient(folder / f"Doe_Jane_{seed:02d}", seed=seed)
        for seed in range(1, patients + 1)
    }
