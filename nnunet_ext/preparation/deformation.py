"""How a transform stretches space: Jacobian determinants on a grid."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_ext.preparation.geometry import Grid


def jacobian_determinants(transform: sitk.Transform, grid: Grid) -> NDArray[np.float64]:
    """Determinant of a transform's Jacobian at each voxel of a grid.

    1 keeps volumes, 0.5 halves them; 0 or less folds space: two points of the grid come from one. Central
    differences between neighboring voxels, one-sided at the edges.

    SimpleITK's DisplacementFieldJacobianDeterminant takes its differences along the axes of the image but
    adds them to displacements in world coordinates, and sees no change beyond the edge. So displacements are
    turned into the image's axes and continued by one voxel first.

    Args:
        transform: from points of the grid to other points, 3-D.
        grid: where to look.

    Returns:
        Array (Z, Y, X).

    Example:
        >>> grid = Grid.of(sitk.Image(4, 4, 4, sitk.sitkUInt8))
        >>> jacobian_determinants(sitk.ScaleTransform(3, (2.0, 1.0, 1.5)), grid).round(6).max()
        np.float64(3.0)
    """
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, grid.size_vox, grid.origin_mm, grid.spacing_mm, grid.direction
    )
    along_axes = sitk.GetArrayViewFromImage(field) @ np.reshape(grid.direction, (3, 3))
    # "odd" reflection continues a straight line.
    continued = np.pad(along_axes, [(1, 1)] * 3 + [(0, 0)], mode="reflect", reflect_type="odd")
    image = sitk.GetImageFromArray(continued, isVector=True)
    image.SetSpacing(grid.spacing_mm)
    determinants = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    inner: NDArray[np.float64] = determinants[1:-1, 1:-1, 1:-1].astype(np.float64)
    return inner
