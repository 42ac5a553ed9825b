"""Reads a prediction and its reference, and refuses pairs that cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, read_volume
from nnunet_ext.clinical_io.grids import require_same_grid
from nnunet_ext.clinical_io.volumes import ENDINGS

# Two-dimensional label maps without a place in the world, as nnU-Net's NaturalImage2DIO reads them.
PICTURE_ENDINGS = (".png", ".bmp")
LABEL_ENDINGS = (*ENDINGS, *PICTURE_ENDINGS)


@dataclass(frozen=True)
class LabelPair:
    """Two label maps on one grid.

    Attributes:
        prediction: (Z, Y, X) of an unsigned type.
        reference: the same.
        spacing_mm: distance between voxels along z, y, x.
    """

    prediction: NDArray[Any]
    reference: NDArray[Any]
    spacing_mm: tuple[float, float, float]


def read_pair(prediction: Path, reference: Path) -> LabelPair:
    """Read two files that must have one grid.

    Args:
        prediction: a file with one of ``LABEL_ENDINGS``.
        reference: the same.

    Returns:
        The voxels as they lie in the files, and the reference's spacing.

    Raises:
        CaseError: ``grid-mismatch``, ``not-labels``, or one of
            :func:`~nnunet_ext.clinical_io.volumes.read_volume`'s.
        OSError: there is no such file, or it may not be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "a.nii.gz"
        ...     SimpleITK.WriteImage(SimpleITK.Image(4, 3, 2, SimpleITK.sitkUInt8), str(file))
        ...     read_pair(file, file).prediction.shape
        (2, 3, 4)
    """
    images = [read_labels(file) for file in (prediction, reference)]
    require_comparable(*images)
    x_mm, y_mm, z_mm = images[1].GetSpacing()
    return LabelPair(
        label_voxels(images[0], "the prediction"),
        label_voxels(images[1], "the reference"),
        (z_mm, y_mm, x_mm),
    )


def require_comparable(prediction: SimpleITK.Image, reference: SimpleITK.Image) -> None:
    """Raise unless a prediction lies on its reference's grid.

    Raises:
        CaseError: ``grid-mismatch``.
    """
    require_same_grid(
        prediction,
        reference,
        what="the prediction",
        whose="the reference",
        code="grid-mismatch",
        remedy="predict on the image of this reference and compare in its own space; nothing is resampled",
    )


def read_volume_or_slice(path: Path) -> SimpleITK.Image:
    """A volume, or an image of two dimensions, which nnU-Net's SimpleITKIO reads too, as one slice.

    Raises:
        CaseError: one of :func:`~nnunet_ext.clinical_io.volumes.read_volume`'s.
        OSError: there is no such file, or it may not be read.
    """
    try:
        return read_volume(path).image
    except CaseError as error:
        if error.code != "not-3d":
            raise
        image = SimpleITK.ReadImage(str(path))
        if image.GetDimension() != 2 or image.GetNumberOfComponentsPerPixel() != 1:
            raise
        volume: SimpleITK.Image = SimpleITK.JoinSeries([image])
        return volume


def read_labels(path: Path) -> SimpleITK.Image:
    """A label map as it lies in its file; a picture becomes a volume of one slice.

    Raises:
        CaseError: ``not-labels``, ``unreadable``, or one of
            :func:`~nnunet_ext.clinical_io.volumes.read_volume`'s.
        OSError: there is no such file, or it may not be read.
    """
    if path.suffix not in PICTURE_ENDINGS:
        return read_volume_or_slice(path)
    with path.open("rb"):  # SimpleITK reports a missing file as an unknown format
        pass
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:  # SimpleITK's only exception; its text holds the path
        raise CaseError(
            "unreadable",
            reason=f"SimpleITK cannot read a {path.suffix} file",
            remedy="copy or write the file again",
        ) from error
    if image.GetDimension() != 2 or image.GetNumberOfComponentsPerPixel() != 1:
        raise CaseError(
            "not-labels",
            reason="a picture of labels is in color",
            remedy="write labels as one channel of whole numbers",
        )
    # What pictures call resolution is that of a printer.
    return SimpleITK.GetImageFromArray(SimpleITK.GetArrayViewFromImage(image)[None])


def label_voxels(image: SimpleITK.Image, what: str) -> NDArray[Any]:
    """Voxels (Z, Y, X) of a label map in the smallest unsigned type.

    Args:
        image: the label map.
        what: it in words, for the error.

    Raises:
        CaseError: ``not-labels``.
    """
    voxels: NDArray[Any] = SimpleITK.GetArrayViewFromImage(image)
    if voxels.dtype == np.uint8:
        return voxels.copy()  # the view does not keep its image alive
    low, high = voxels.min(), voxels.max()
    # NaN fails every comparison.
    is_whole = voxels.dtype.kind in "ui" or bool(np.isfinite([low, high]).all() and (voxels % 1 == 0).all())
    if not (is_whole and low >= 0 and high <= np.iinfo(np.uint16).max):
        raise CaseError(
            "not-labels",
            reason=f"expected {what} to hold whole numbers from 0 to 65535, got numbers from {low:g} to "
            f"{high:g}",
            remedy="evaluate label maps, not images or probabilities",
        )
    return voxels.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
