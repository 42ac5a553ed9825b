"""One patient as its clinic knows it: images with a place in the world, and what was drawn on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.phantoms.rigid import RigidMotion


@dataclass(frozen=True)
class ClinicCase:
    """One patient in memory.

    Attributes:
        clinic: key of :data:`~nnunet_ext.phantoms.clinic.catalog.CLINICS`.
        number: of the case, from 1.
        seed: the seed that made the patient.
        images: the channels in nnU-Net's order; the label lies on the first one's grid.
        label: uint8, numbers of nnU-Net's labels.
        labels: name to number, background included.
        further: uint8 images of 0 and 1: what is drawn beside that and is no label.
        motion: from the first channel's scanner to that of the others.
    """

    clinic: str
    number: int
    seed: int
    images: Mapping[str, SimpleITK.Image]
    label: SimpleITK.Image
    labels: Mapping[str, int]
    further: Mapping[str, SimpleITK.Image] = field(default_factory=dict)
    motion: RigidMotion = field(default_factory=RigidMotion)

    @property
    def reference(self) -> SimpleITK.Image:
        """The image whose grid the label has."""
        return next(iter(self.images.values()))

    @property
    def numbers(self) -> NDArray[np.uint8]:
        """The label as an array (Z, Y, X)."""
        array: NDArray[np.uint8] = SimpleITK.GetArrayFromImage(self.label)
        return array

    def with_numbers(self, numbers: NDArray[np.uint8]) -> ClinicCase:
        """The case with another label on the same grid."""
        return replace(self, label=image_of(numbers, self.label))

    def along(self, axes: str) -> ClinicCase:
        """The case with every array stored along other axes, such as ``"RPI"``; the world does not move."""

        def turned(images: Mapping[str, SimpleITK.Image]) -> dict[str, SimpleITK.Image]:
            return {name: SimpleITK.DICOMOrient(image, axes) for name, image in images.items()}

        label = SimpleITK.DICOMOrient(self.label, axes)
        return replace(self, images=turned(self.images), label=label, further=turned(self.further))


class Layout(Protocol):
    """How one clinic keeps its cases."""

    @property
    def has_own_folder(self) -> bool:
        """Whether each case has a folder; otherwise cases share one and are told by their files' names."""

    @property
    def most_cases(self) -> int:
        """How many cases the names of the layout can tell apart."""

    def name_of(self, number: int) -> str:
        """Name of a case: what the converter calls it, or its folder."""

    def folder_of(self, number: int) -> Path:
        """Folder of a case's files below the clinic's."""

    def write(self, case: ClinicCase, folder: Path) -> None:
        """Write all files of a case."""


@dataclass(frozen=True)
class Staged:
    """A case that was written and is not yet in its place, so that a defect can be planted.

    Attributes:
        case: what was written.
        folder: where its files are.
        truth: the label as it must come out.
        layout: of the clinic.
        another: number of another case, whose patient this one may share.
    """

    case: ClinicCase
    folder: Path
    truth: Path
    layout: Layout
    another: int

    def rewrite(self, case: ClinicCase) -> None:
        """Write another case over this one; the truth stays."""
        self.layout.write(case, self.folder)


Damage = Callable[[Staged], None]
