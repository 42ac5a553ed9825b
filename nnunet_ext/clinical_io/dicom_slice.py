"""What the header of a DICOM image says of its place: one :class:`Slice` for each plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nnunet_ext.clinical_io.findings import CaseError

_VALUES = "PixelValueTransformationSequence"
# Unit vectors are written with at least three decimals.
_AXES_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Slice:
    """Header of one image: a file, or a frame of one.

    Attributes:
        file: where its pixels are.
        frame: number of the frame from 0, None where a file is one image.
        instance: SOPInstanceUID.
        number: InstanceNumber, None where there is none; it orders nothing, but other files may name it.
        position_mm: (3,) array, world coordinates of the center of the first pixel.
        axes: (2, 3) array of unit vectors: along a row (x of the array) and down a column (y).
        pixel_mm: distance of pixels along x and along y, in mm.
        size: number of pixels along x and along y.
        tilt_degrees: what the scanner says of its gantry; 0 where it says nothing.
        rescale: slope and intercept from stored values to those of the modality.
    """

    file: Path
    frame: int | None
    instance: str
    number: int | None
    position_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    pixel_mm: tuple[float, float]
    size: tuple[int, int]
    tilt_degrees: float
    rescale: tuple[float, float] = (1.0, 0.0)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector from slice to slice: x cross y."""
        return np.cross(self.axes[0], self.axes[1])


def slices_of(header: Dataset, file: Path) -> list[Slice]:
    """The planes of one file.

    Args:
        header: what pydicom read of it.
        file: where it lies.

    Returns:
        One slice, or one for each frame of an enhanced image.

    Raises:
        CaseError: ``unreadable``: no gray image, or not placed in the world.
    """
    try:
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise _incomplete("one value a pixel, got a color image")
        if "PerFrameFunctionalGroupsSequence" in header:
            return [_frame(header, file, number) for number in range(int(header.NumberOfFrames))]
        if int(header.get("NumberOfFrames", None) or 1) > 1:
            raise _incomplete("a place for every frame; old multi-frame files have none")
        return [_slice(header, header, header, header, header, file=file, frame=None)]
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        if isinstance(error, CaseError):
            raise
        raise _incomplete("position, orientation and pixel spacing") from error


def _incomplete(expected: str) -> CaseError:
    return CaseError(
        "unreadable",
        reason=f"the header of a DICOM image lacks what a volume needs: {expected}",
        remedy="export the original series, not a capture of the screen or a derived one",
    )


def _frame(header: Dataset, file: Path, number: int) -> Slice:
    """One frame of an enhanced CT or MR: what it does not say itself all frames share."""
    own = header.PerFrameFunctionalGroupsSequence[number]
    shared = (header.get("SharedFunctionalGroupsSequence", None) or [Dataset()])[0]

    def group(name: str) -> Dataset:
        found: Dataset = (own.get(name, None) or shared.get(name, None))[0]
        return found

    values = group(_VALUES) if own.get(_VALUES, None) or shared.get(_VALUES, None) else Dataset()
    return _slice(
        header,
        group("PlanePositionSequence"),
        group("PlaneOrientationSequence"),
        group("PixelMeasuresSequence"),
        values,
        file=file,
        frame=number,
    )


def _slice(
    header: Dataset,
    plane: Dataset,
    orientation: Dataset,
    measures: Dataset,
    values: Dataset,
    *,
    file: Path,
    frame: int | None,
) -> Slice:
    axes = np.asarray(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if abs(lengths - 1).max() > _AXES_TOLERANCE or abs(float(axes[0] @ axes[1])) > _AXES_TOLERANCE:
        raise _incomplete("an orientation of two unit vectors at right angles")
    # Written with few decimals the two are not quite at right angles, which a volume's axes must be.
    axes = axes / lengths
    axes[1] -= (axes[0] @ axes[1]) * axes[0]
    axes[1] /= np.linalg.norm(axes[1])
    down_mm, along_mm = (float(mm) for mm in measures.PixelSpacing)  # DICOM: between rows first
    return Slice(
        file=file,
        frame=frame,
        instance=str(header.get("SOPInstanceUID", "")),
        number=None if header.get("InstanceNumber", None) in (None, "") else int(header.InstanceNumber),
        position_mm=np.asarray(plane.ImagePositionPatient, dtype=np.float64).reshape(3),
        axes=axes,
        pixel_mm=(along_mm, down_mm),
        size=(int(header.Columns), int(header.Rows)),
        tilt_degrees=_number(header, "GantryDetectorTilt", 0.0),
        rescale=(_number(values, "RescaleSlope", 1.0), _number(values, "RescaleIntercept", 0.0)),
    )


def _number(item: Dataset, keyword: str, default: float) -> float:
    value = item.get(keyword, None)
    return default if value in (None, "") else float(value)
