"""Reads one DICOM series into a volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from pydicom.uid import RLELossless

from nnunet_ext.clinical_io.dicom_folder import SeriesHeaders
from nnunet_ext.clinical_io.dicom_order import Stack, stack
from nnunet_ext.clinical_io.dicom_slice import Slice
from nnunet_ext.clinical_io.findings import CaseError, Note

# All that decoding needs: parsing the rest takes longer than the pixels.
_OF_PIXELS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
)


@dataclass(frozen=True)
class DicomVolume:
    """One series as a volume.

    Attributes:
        image: voxels (z, y, x as an array); slices in the order of their places along the normal.
        notes: what was put right.
        slices: header of each slice, first to last.
        headers: the series that it was read from.
    """

    image: SimpleITK.Image
    notes: tuple[Note, ...]
    slices: tuple[Slice, ...]
    headers: SeriesHeaders

    @property
    def instances(self) -> frozenset[str]:
        """SOPInstanceUIDs of all slices."""
        return frozenset(s.instance for s in self.slices)


def read_series(headers: SeriesHeaders) -> DicomVolume:
    """Read the pixels of a series.

    Slope and intercept are those of each slice. Two images at one place are one if they are equal; the
    second is dropped and noted.

    Args:
        headers: from :func:`~nnunet_ext.clinical_io.dicom_folder.find_dicom`.

    Returns:
        The volume: whole numbers (int16, or int32 where they do not fit) where all are, else float32.

    Raises:
        CaseError: as :func:`~nnunet_ext.clinical_io.dicom_order.stack`, and ``duplicate-slice`` (two
            different images at one place) or ``truncated-file``.
    """
    ordered = stack(headers.slices)
    voxels, dropped = _read_pixels(ordered)
    image = SimpleITK.GetImageFromArray(_smallest_type(voxels))
    _place(image, ordered)
    notes: tuple[Note, ...] = ()
    if dropped:
        notes = (Note("duplicate-slice", f"{dropped} images were there twice; one of each was kept"),)
    slices = tuple(place[0] for place in ordered.places)
    return DicomVolume(image=image, notes=notes, slices=slices, headers=headers)


def grid_of(headers: SeriesHeaders) -> SimpleITK.Image:
    """An image without content on the grid that :func:`read_series` gives, from the headers alone.

    Raises:
        CaseError: as :func:`~nnunet_ext.clinical_io.dicom_order.stack`.
    """
    ordered = stack(headers.slices)
    image = SimpleITK.Image(*ordered.first.size, len(ordered.places), SimpleITK.sitkUInt8)
    _place(image, ordered)
    return image


def _place(image: SimpleITK.Image, ordered: Stack) -> None:
    first = ordered.first
    image.SetSpacing((*first.pixel_mm, ordered.spacing_mm))
    image.SetOrigin(first.position_mm.tolist())
    image.SetDirection(np.column_stack([*first.axes, first.normal]).ravel().tolist())


def _read_pixels(ordered: Stack) -> tuple[NDArray[np.float32], int]:
    """Array (Z, Y, X) and the number of equal images that were left out."""
    across, down = ordered.first.size
    voxels = np.empty((len(ordered.places), down, across), np.float32)
    pixels = _PixelReader()
    dropped = 0
    for z, place in enumerate(ordered.places):
        voxels[z] = pixels.read(place[0])
        for twin in place[1:]:
            if not np.array_equal(pixels.read(twin), voxels[z]):
                raise CaseError(
                    "duplicate-slice",
                    reason=f"two different images lie at the place of slice {z + 1} of {len(ordered.places)}",
                    remedy="export one phase, echo or reconstruction only",
                )
            dropped += 1
    return voxels, dropped


class _PixelReader:
    """Pixels of slices; a file with many frames is decoded once.

    pydicom counts the bytes of what is not compressed, where SimpleITK takes what happens to be in memory for
    those that are missing. SimpleITK's GDCM knows the compressed transfer syntaxes.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._decoded = _Decoded(np.empty(0), is_rescaled=True)

    def read(self, header: Slice) -> NDArray[np.float32]:
        if self._file != header.file:
            try:
                self._decoded = _decode(header)
            except Exception as error:  # whatever the decoders meet in a broken file
                raise CaseError(
                    "truncated-file",
                    reason="the pixels of a DICOM image cannot be read: it is cut off, damaged or compressed "
                    f"in a way that is not known here ({type(error).__name__})",
                    remedy="export the series again, uncompressed",
                ) from error
            self._file = header.file
        pixels: NDArray[Any] = self._decoded.frames[header.frame or 0]
        if pixels.shape != header.size[::-1]:
            raise CaseError(
                "unreadable",
                reason=f"an image has {pixels.shape[::-1]} pixels where its header says {header.size}",
                remedy="export the series again",
            )
        if not self._decoded.is_rescaled:
            slope, intercept = header.rescale
            if pixels.dtype.kind in "iu" and slope == 1 and intercept.is_integer():
                pixels = pixels.astype(np.int32) + int(intercept)
            else:
                pixels = pixels * np.float64(slope) + intercept
        return pixels.astype(np.float32)


@dataclass(frozen=True)
class _Decoded:
    """All frames of a file, (frames, Y, X)."""

    frames: NDArray[Any]
    is_rescaled: bool


def _decode(header: Slice) -> _Decoded:
    content = pydicom.dcmread(header.file, specific_tags=list(_OF_PIXELS))
    syntax = content.file_meta.TransferSyntaxUID if "TransferSyntaxUID" in content.file_meta else None
    needs_gdcm = syntax is not None and syntax.is_encapsulated and syntax != RLELossless
    if needs_gdcm and header.frame is None:
        frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(header.file)))
    else:
        frames = content.pixel_array
    return _Decoded(
        frames=frames if frames.ndim == 3 else frames[None],
        is_rescaled=needs_gdcm and header.frame is None,
    )


def _smallest_type(voxels: NDArray[np.float32]) -> NDArray[np.generic]:
    """Whole numbers as such: float32 holds those of 24 bits exactly, which no scanner exceeds."""
    for kind in (np.int16, np.int32):
        limits = np.iinfo(kind)
        if voxels.min() >= limits.min and voxels.max() <= limits.max:
            whole = voxels.astype(kind)
            if np.array_equal(whole, voxels):
                return whole
    return voxels
