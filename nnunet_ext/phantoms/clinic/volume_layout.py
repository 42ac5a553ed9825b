"""Challenges that publish volumes: an image and a label file for each patient (ImageCAS, MM-WHS)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.phantoms.clinic.case import ClinicCase
from nnunet_ext.phantoms.whole_heart import MM_WHS_VALUES

# SPEC D2: folders of 200 patients.
_IN_A_FOLDER = 200


@dataclass(frozen=True)
class ImageCASLayout:
    """``1-200/7.img.nii.gz`` and ``1-200/7.label.nii.gz`` (SPEC D2)."""

    has_own_folder = False
    most_cases = 1000

    def name_of(self, number: int) -> str:
        """What the converter calls the case."""
        return f"ImageCAS_{number:04d}"

    def folder_of(self, number: int) -> Path:
        """The folder of 200 patients.

        Example:
            >>> ImageCASLayout().folder_of(201).name
            '201-400'
        """
        first = (number - 1) // _IN_A_FOLDER * _IN_A_FOLDER + 1
        return Path(f"{first}-{first + _IN_A_FOLDER - 1}")

    def files_of(self, number: int) -> tuple[str, str]:
        """Names of image and label."""
        return f"{number}.img.nii.gz", f"{number}.label.nii.gz"

    def published(self, numbers: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """The label's values in the challenge's files."""
        return numbers.astype(np.uint16)

    def write(self, case: ClinicCase, folder: Path) -> None:
        """Write image and label."""
        write_pair(self, case, folder)


@dataclass(frozen=True)
class MMWHSLayout:
    """``ct_train/ct_train_1001_image.nii.gz`` and ``..._label.nii.gz``, values 205 to 850 (SPEC D1).

    Attributes:
        modality: which part of the challenge.
    """

    modality: Literal["ct", "mr"]

    has_own_folder = False
    most_cases = 999

    def name_of(self, number: int) -> str:
        """What the converter calls the case.

        Example:
            >>> MMWHSLayout("mr").name_of(1)
            'mr_train_1001'
        """
        return f"{self.modality}_train_{1000 + number}"

    def folder_of(self, number: int) -> Path:
        """The folder of the training set."""
        return Path(f"{self.modality}_train")

    def files_of(self, number: int) -> tuple[str, str]:
        """Names of image and label."""
        return f"{self.name_of(number)}_image.nii.gz", f"{self.name_of(number)}_label.nii.gz"

    def published(self, numbers: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """The label's values in the challenge's files: beyond 8 bits."""
        return np.array(list(MM_WHS_VALUES.values()), np.uint16)[numbers]

    def write(self, case: ClinicCase, folder: Path) -> None:
        """Write image and label."""
        write_pair(self, case, folder)


VolumeLayout = ImageCASLayout | MMWHSLayout


def write_pair(layout: VolumeLayout, case: ClinicCase, folder: Path) -> None:
    """Write image and label of a case."""
    image, label = layout.files_of(case.number)
    write_image(case.reference, folder / image)
    write_image(image_of(layout.published(case.numbers), case.label), folder / label)
