"""What goes wrong with an image and a label in volumes, done to the files of one case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.phantoms.clinic.case import Damage, Staged
from nnunet_ext.phantoms.clinic.dicom_layout import CT_INTERCEPT, DicomLayout
from nnunet_ext.phantoms.clinic.volume_layout import VolumeLayout

STRAY_LA = 421
# A value beside the highest of the challenge's.
_STEP = 1
_OTHER_AXES = "PIR"
# NIfTI counts to the right and to the front, ITK to the left and to the back.
_NIFTI_IDENTITY = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)

Array = NDArray[Any]


def truncated_file(staged: Staged) -> None:
    """Cut the image's file off, as a broken download does."""
    file, _ = _files(staged)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])


def nan(staged: Staged) -> None:
    """Put what is no number where the label is, as a division by zero leaves it."""
    file, _ = _files(staged)
    inside = staged.case.numbers > 0
    _change(file, lambda values: np.where(inside, np.float32(np.nan), values.astype(np.float32)))


def hu_offset(staged: Staged) -> None:
    """Write stored values: the intercept is not applied."""
    file, _ = _files(staged)
    _change(file, lambda values: values - np.int16(CT_INTERCEPT))


def label_grid(staged: Staged) -> None:
    """Shift the label's grid by half a voxel along each axis."""
    _, file = _files(staged)
    label = SimpleITK.ReadImage(str(file))
    label.SetOrigin(label.TransformContinuousIndexToPhysicalPoint((0.5, 0.5, 0.5)))
    write_image(label, file)


def label_value(staged: Staged) -> None:
    """Give a part of the label a value that stands for nothing."""
    _, file = _files(staged)

    def changed(values: Array) -> Array:
        highest = values.max()
        z, y, x = np.argwhere(values == highest)[0]
        values[z, y, x] = highest + _STEP
        return values

    _change(file, changed)


def stray_421(staged: Staged) -> None:
    """Give some voxels of the left atrium 421 for 420 (SPEC D1, quirk a)."""
    _, file = _files(staged)

    def changed(values: Array) -> Array:
        place = tuple(np.argwhere(staged.case.numbers == staged.case.labels["LA"])[::3].T)
        values[place] = STRAY_LA
        return values

    _change(file, changed)


def empty_label(staged: Staged) -> None:
    """Leave nothing in the label."""
    _, file = _files(staged)
    _change(file, np.zeros_like)


def identity_affine(staged: Staged) -> None:
    """Lose the geometry of both files: an affine that nobody has set (LiTS 28 to 47, SPEC D8)."""
    for file in _files(staged):
        image = SimpleITK.ReadImage(str(file))
        image.SetSpacing((1.0, 1.0, 1.0))
        image.SetOrigin((0.0, 0.0, 0.0))
        image.SetDirection(_NIFTI_IDENTITY)
        write_image(image, file)


def swapped_axes(staged: Staged) -> None:
    """Save SimpleITK's array (z, y, x) of the label as nibabel's (x, y, z), with the image's affine.

    Raises:
        ValueError: there are as many voxels along z as along x, so that the sizes would agree.
    """
    _, file = _files(staged)
    label = SimpleITK.ReadImage(str(file))
    across, _, slices = label.GetSize()
    if across == slices:
        raise ValueError(
            f"swapped-axes needs other numbers of voxels along z than along x, got {slices} along both"
        )
    turned = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(label).transpose(2, 1, 0))
    for copy, value in (
        (turned.SetSpacing, label.GetSpacing()),
        (turned.SetOrigin, label.GetOrigin()),
        (turned.SetDirection, label.GetDirection()),
    ):
        copy(value)
    write_image(turned, file)


def orientation(staged: Staged) -> None:
    """Store image and label along other axes, as MM-WHS mixes them."""
    staged.rewrite(staged.case.along(_OTHER_AXES))


def missing_channel(staged: Staged) -> None:
    """Remove the image."""
    file, _ = _files(staged)
    file.unlink()


def _files(staged: Staged) -> tuple[Path, Path]:
    layout = cast(VolumeLayout | DicomLayout, staged.layout)  # the registry gives these defects to no other
    image, label = layout.files_of(staged.case.number)
    return staged.folder / image, staged.folder / label


def _change(file: Path, change: Callable[[Array], Array]) -> None:
    image = SimpleITK.ReadImage(str(file))
    write_image(image_of(change(SimpleITK.GetArrayFromImage(image)), image), file)


# Needs a label in a volume, whatever the image is.
OF_LABEL: Mapping[str, Damage] = {
    "label-grid": label_grid,
    "label-value": label_value,
    "empty-label": empty_label,
    "swapped-axes": swapped_axes,
}
DAMAGE: Mapping[str, Damage] = {
    **OF_LABEL,
    "truncated-file": truncated_file,
    "nan": nan,
    "hu-offset": hu_offset,
    "stray-421": stray_421,
    "identity-affine": identity_affine,
    "orientation": orientation,
    "missing-channel": missing_channel,
}
