"""One case as it is shown: label maps and image turned to one orientation, with their place in the world."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.grids import affine, corner_distance_mm, in_one_orientation
from nnunet_ext.evaluation.label_maps import (
    PICTURE_ENDINGS,
    label_voxels,
    read_labels,
    read_volume_or_slice,
    require_comparable,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownCase:
    """Arrays are (Z, Y, X) and run nearest to head, back and left of the patient.

    Attributes:
        name: of the case.
        prediction: labels.
        reference: labels; None where there is none.
        image: what was segmented; None where it is not at hand.
        spacing_mm: voxel size along z, y, x.
        to_lps_mm: (4, 4) matrix from index (x, y, z, 1) to the patient's coordinates, LPS.
    """

    name: str
    prediction: NDArray[Any]
    reference: NDArray[Any] | None
    image: NDArray[Any] | None
    spacing_mm: tuple[float, float, float]
    to_lps_mm: NDArray[np.float64]

    @property
    def is_flat(self) -> bool:
        """Whether it is one slice."""
        return bool(self.prediction.shape[0] == 1)


def read_shown_case(
    prediction: Path, *, name: str, reference: Path | None = None, image: Path | None = None
) -> ShownCase:
    """Read what there is of a case.

    Args:
        prediction: label map.
        name: of the case.
        reference: label map on the same grid.
        image: on the same grid; one that is not, or cannot be read, is left out with a warning, since it
            is only the background of a picture.

    Raises:
        CaseError: ``grid-mismatch``, ``not-labels``, or a file that cannot be read.
        OSError: a label map is missing.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "a.nii.gz"
        ...     SimpleITK.WriteImage(SimpleITK.Image(4, 3, 2, SimpleITK.sitkUInt8), str(file))
        ...     read_shown_case(file, name="a").prediction.shape
        (2, 3, 4)
    """
    labels = read_labels(prediction)
    expected = None if reference is None else read_labels(reference)
    if expected is not None:
        require_comparable(labels, expected)
    background = None if image is None else _background(image, labels)
    # The reference's grid is what was measured on; a prediction may differ from it by a rounding.
    place = _turned(labels if expected is None else expected)
    x_mm, y_mm, z_mm = place.GetSpacing()
    return ShownCase(
        name=name,
        prediction=label_voxels(_turned(labels), "the prediction"),
        reference=None if expected is None else label_voxels(place, "the reference"),
        image=None if background is None else SimpleITK.GetArrayFromImage(_turned(background)),
        spacing_mm=(z_mm, y_mm, x_mm),
        to_lps_mm=affine(place),
    )


def _turned(image: SimpleITK.Image) -> SimpleITK.Image:
    """In one orientation; one slice stays as it lies, it has no head or feet to put on top."""
    return image if 1 in image.GetSize() else in_one_orientation(image)


def _background(path: Path, labels: SimpleITK.Image) -> SimpleITK.Image | None:
    try:
        image = _picture(path) if path.suffix in PICTURE_ENDINGS else read_volume_or_slice(path)
    except (CaseError, OSError, RuntimeError) as error:
        logger.warning("%s is left out of the pictures: %s", path.name, error)
        return None
    if corner_distance_mm(image, labels) > max(labels.GetSpacing()) / 2:
        logger.warning("%s is left out of the pictures: its grid is not that of the labels", path.name)
        return None
    return image


def _picture(path: Path) -> SimpleITK.Image:
    """A picture in gray as a volume of one slice, its pixels 1 mm apart as those of its labels."""
    voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    gray = voxels.mean(axis=2) if voxels.ndim == 3 else voxels
    return SimpleITK.GetImageFromArray(gray[None].astype(np.float32))
