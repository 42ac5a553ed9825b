"""Grids of images: what is checked before a step, which axis is axial, and whether two grids are one.

World coordinates are SimpleITK's: mm along the patient's left, posterior and superior (LPS). A direction
matrix holds in column ``a`` where axis ``a`` of the image points. Sizes and spacings in a :class:`Grid` are
in SimpleITK's order (x, y, z); the functions that users call take (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import GRID_TOLERANCE_MM, corner_distance_mm, image_of
from nnunet_ext.preparation.errors import PreparationError


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie, in SimpleITK's order (x, y, z).

    Attributes:
        size_vox: voxels along each axis.
        spacing_mm: voxel size.
        origin_mm: world coordinates of the first voxel's center.
        direction: the direction matrix, row by row.
    """

    size_vox: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: sitk.Image) -> Grid:
        """Grid of an image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @property
    def matrix(self) -> NDArray[np.float64]:
        """From voxel indices to mm: direction times spacing."""
        matrix: NDArray[np.float64] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_mm)
        return matrix

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in milliliters."""
        return float(np.prod(self.spacing_mm)) / 1000

    def world_mm(self, index_vox: NDArray[np.float64]) -> NDArray[np.float64]:
        """World coordinates of voxel indices (x, y, z), of shape (..., 3)."""
        world: NDArray[np.float64] = np.asarray(index_vox) @ self.matrix.T + np.asarray(self.origin_mm)
        return world

    def with_spacing(self, spacing_mm: tuple[float, float, float]) -> Grid:
        """The grid of another spacing about the same center.

        Sizes are rounded, as nnU-Net rounds them, so that the extent changes by at most half a new voxel, and
        equally on both sides: the center of every new voxel then lies inside the old extent.

        Args:
            spacing_mm: voxel size (x, y, z), each > 0.
        """
        extent = np.multiply(self.size_vox, self.spacing_mm)
        size = np.maximum(1, np.rint(extent / spacing_mm)).astype(int)
        center = self.world_mm((np.asarray(self.size_vox) - 1) / 2)
        matrix = np.reshape(self.direction, (3, 3)) * np.asarray(spacing_mm)
        origin = center - matrix @ ((size - 1) / 2)
        return Grid(
            tuple(size.tolist()), tuple(float(s) for s in spacing_mm), tuple(origin.tolist()), self.direction
        )


def everywhere(image: sitk.Image) -> sitk.Image:
    """A mask of all voxels of an image: uint8, 1 on its grid."""
    return image_of(np.ones(image.GetSize()[::-1], np.uint8), image)


def axial_axis(image: sitk.Image) -> int:
    """Axis of the image, (x, y, z) = (0, 1, 2), that runs closest to inferior-superior.

    Example:
        >>> axial_axis(sitk.Image(2, 3, 4, sitk.sitkInt16))
        2
        >>> sagittal = sitk.Image(2, 3, 4, sitk.sitkInt16)  # rows run downward, slices from right to left
        >>> sagittal.SetDirection([0, 0, 1, 1, 0, 0, 0, -1, 0])
        >>> axial_axis(sagittal)
        1
    """
    along = np.abs(np.reshape(image.GetDirection(), (3, 3))[2])
    # At a tie the last axis: scanners stack slices along it.
    return 2 - int(np.argmax(along[::-1] > along.max() - 1e-6))


def check_volume(image: sitk.Image, *, what: str = "the image") -> None:
    """Refuse what is no volume of finite numbers.

    Args:
        image: to be checked.
        what: it is called in the message.

    Raises:
        PreparationError: ``not-3d``, ``not-scalar``, ``empty-image`` or ``not-finite``.

    Example:
        >>> check_volume(sitk.Image(2, 3, 4, sitk.sitkInt16))
        >>> check_volume(sitk.Image(2, 3, sitk.sitkInt16))
        Traceback (most recent call last):
        nnunet_ext.preparation.errors.PreparationError: not-3d: expected the image with 3 axes, ...
    """
    if image.GetDimension() != 3:
        raise PreparationError(
            "not-3d",
            f"expected {what} with 3 axes, got {image.GetDimension()} (size {image.GetSize()})",
            "give one volume; take one time point or one channel out of a 4-D file",
        )
    if image.GetNumberOfComponentsPerPixel() != 1 or "complex" in image.GetPixelIDTypeAsString():
        raise PreparationError(
            "not-scalar",
            f"expected {what} with one number a voxel, got {image.GetPixelIDTypeAsString()}",
            "give one channel as one image",
        )
    if 0 in image.GetSize():
        raise PreparationError(
            "empty-image", f"{what} has no voxels, size {image.GetSize()}", "export it again"
        )
    values = sitk.GetArrayViewFromImage(image)
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise PreparationError(
            "not-finite",
            f"expected finite numbers in {what}, got {bad} voxels of {values.size} that are NaN or infinite",
            "export the image again, or replace those voxels on purpose",
        )


def check_same_grid(image: sitk.Image, reference: sitk.Image, *, what: str, reference_name: str) -> None:
    """Refuse an image that lies on another grid than ``reference``.

    Raises:
        PreparationError: ``grids-differ``.
    """
    if corner_distance_mm(image, reference) > GRID_TOLERANCE_MM:
        raise PreparationError(
            "grids-differ",
            f"expected {what} on the grid of {reference_name} (within {GRID_TOLERANCE_MM} mm), got "
            f"{_words(Grid.of(image))} instead of {_words(Grid.of(reference))}",
            "register or resample the one onto the other first",
        )


def _words(grid: Grid) -> str:
    spacing = tuple(round(s, 4) for s in grid.spacing_mm)
    origin = tuple(round(o, 3) for o in grid.origin_mm)
    return f"size {grid.size_vox}, spacing {spacing} mm, origin {origin} mm (x, y, z)"
