"""Voxels to contours: the curves around a mask from which the same voxels come again."""

from __future__ import annotations

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from skimage.measure import find_contours

from nnunet_ext.clinical_io.grids import to_world
from nnunet_ext.clinical_io.structure_set import Contour


def contours_of(mask: NDArray[np.bool_], image: SimpleITK.Image) -> tuple[Contour, ...]:
    """The curves around a mask, slice by slice along the image's own z.

    A curve passes half-way between the centers of voxels inside and outside, so that the centers say which
    is which and :func:`~nnunet_ext.clinical_io.rasterize.rasterize` gives the same mask. Holes are curves
    of their own, by the even-odd rule; so are parts that touch at a corner only.

    Args:
        mask: bool array (Z, Y, X).
        image: gives the grid.

    Returns:
        Closed curves, in the order of the slices; none for an empty mask.

    Raises:
        ValueError: mask and image differ in size.

    Example:
        >>> image = SimpleITK.Image(3, 3, 1, SimpleITK.sitkUInt8)
        >>> mask = np.zeros((1, 3, 3), bool); mask[0, 1, 1] = True
        >>> contours_of(mask, image)[0].points_mm.tolist()
        [[1.0, 1.5, 0.0], [0.5, 1.0, 0.0], [1.0, 0.5, 0.0], [1.5, 1.0, 0.0]]
    """
    if mask.shape != image.GetSize()[::-1]:
        raise ValueError(f"expected a mask of {image.GetSize()[::-1]} voxels (z, y, x), got {mask.shape}")
    found = []
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        # A frame of background closes the curves of what touches the edge of the image.
        plane = np.pad(mask[z], 1).astype(np.float32)
        for curve in find_contours(plane, 0.5, fully_connected="low"):
            rows_columns = _corners(curve[:-1] - 1)  # the last point repeats the first
            index = np.column_stack([rows_columns[:, ::-1], np.full(len(rows_columns), float(z))])
            found.append(Contour(to_world(index, image), "CLOSED_PLANAR"))
    return tuple(found)


def _corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points at which a closed curve turns; those on a straight line add nothing."""
    arriving = points - np.roll(points, 1, axis=0)
    leaving = np.roll(points, -1, axis=0) - points
    turns = arriving[:, 0] * leaving[:, 1] - arriving[:, 1] * leaving[:, 0]
    return points[np.abs(turns) > 1e-9]
