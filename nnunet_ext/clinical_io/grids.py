"""Where the voxels of an image lie in the world, and whether two images have the same grid.

An image is a ``SimpleITK.Image``: its geometry travels with its voxels. World coordinates are millimeters,
x to the patient's left, y to the back, z to the head (LPS, as in DICOM and ITK). Index order is (x, y, z)
as SimpleITK counts; arrays of voxels are (z, y, x).
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import ArrayLike, NDArray

from nnunet_ext.clinical_io.findings import CaseError

FloatArray = NDArray[np.float64]

# Two grids are one if no corner is further apart. Files in NIfTI's single precision differ by up to 0.0002 mm
# at half a meter from the origin, exports with two decimals by 0.005 mm.
GRID_TOLERANCE_MM = 0.01
# The orientation of every image that converters write: rows to the left, columns to the back, slices up.
ORIENTATION = "LPS"


def affine(image: SimpleITK.Image) -> FloatArray:
    """Matrix (4, 4) from index (x, y, z, 1) to world, in mm.

    Example:
        >>> image = SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8)
        >>> image.SetSpacing((1.0, 2.0, 3.0)); image.SetOrigin((10.0, 0.0, 0.0))
        >>> (affine(image) @ [1, 1, 1, 1]).tolist()
        [11.0, 2.0, 3.0, 1.0]
    """
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix


def to_index(points_mm: ArrayLike, image: SimpleITK.Image) -> FloatArray:
    """Continuous index (x, y, z) of points of the world; whole numbers are centers of voxels.

    Args:
        points_mm: (N, 3) array of world coordinates in mm.
        image: gives the grid.

    Returns:
        (N, 3) array.

    Example:
        >>> image = SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8)
        >>> image.SetSpacing((1.0, 2.0, 4.0))
        >>> to_index([[0.0, 2.0, 2.0]], image).tolist()
        [[0.0, 1.0, 0.5]]
    """
    points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
    inverse = np.linalg.inv(affine(image))
    index: FloatArray = points @ inverse[:3, :3].T + inverse[:3, 3]
    return index


def to_world(index: ArrayLike, image: SimpleITK.Image) -> FloatArray:
    """World coordinates in mm of indices (x, y, z): the inverse of :func:`to_index`.

    Example:
        >>> image = SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8)
        >>> image.SetOrigin((5.0, 0.0, 0.0))
        >>> to_world([[1, 0, 0]], image).tolist()
        [[6.0, 0.0, 0.0]]
    """
    matrix = affine(image)
    points = np.asarray(index, dtype=np.float64).reshape(-1, 3)
    world: FloatArray = points @ matrix[:3, :3].T + matrix[:3, 3]
    return world


def corner_distance_mm(a: SimpleITK.Image, b: SimpleITK.Image) -> float:
    """Largest distance in mm between the same corner of two images; infinite where their sizes differ.

    Example:
        >>> a, b = (SimpleITK.Image(4, 4, 4, SimpleITK.sitkUInt8) for _ in range(2))
        >>> b.SetOrigin((0.0, 0.5, 0.0))
        >>> corner_distance_mm(a, b)
        0.5
    """
    if a.GetSize() != b.GetSize():
        return float("inf")
    corners = list(product(*((0, n - 1) for n in a.GetSize())))
    return float(np.linalg.norm(to_world(corners, a) - to_world(corners, b), axis=1).max())


def require_same_grid(
    image: SimpleITK.Image,
    reference: SimpleITK.Image,
    *,
    what: str,
    whose: str,
    code: str = "label-grid",
    remedy: str = "export both on one grid",
) -> None:
    """Raise unless two images have one grid, to within ``GRID_TOLERANCE_MM`` at every corner.

    Args:
        image: the one that has to fit.
        reference: the one that it has to fit to.
        what: ``image`` in words: ``"the label"``.
        whose: ``reference`` in words: ``"the CT"``.
        code: of the error.
        remedy: what to do.

    Raises:
        CaseError: with that code.

    Example:
        >>> a, b = (SimpleITK.Image(n, 4, 4, SimpleITK.sitkUInt8) for n in (4, 5))
        >>> require_same_grid(a, b, what="the label", whose="the CT")
        Traceback (most recent call last):
        nnunet_ext.clinical_io.findings.CaseError: label-grid: the label has 4 x 4 x 4 voxels (x, y, z), \
the CT 5 x 4 x 4; export both on one grid
    """
    distance = corner_distance_mm(image, reference)
    if distance <= GRID_TOLERANCE_MM:
        return
    if np.isinf(distance):
        sizes = [" x ".join(map(str, i.GetSize())) for i in (image, reference)]
        found = f"{what} has {sizes[0]} voxels (x, y, z), {whose} {sizes[1]}"
    else:
        found = (
            f"a corner of {what} lies {distance:.3g} mm from that of {whose}, more than {GRID_TOLERANCE_MM:g}"
        )
    raise CaseError(code, reason=found, remedy=remedy)


def orientation(image: SimpleITK.Image) -> str:
    """The three letters of the directions nearest to which x, y and z of the array run: ``"LPS"``.

    Example:
        >>> orientation(SimpleITK.Image(2, 2, 2, SimpleITK.sitkUInt8))
        'LPS'
    """
    letters: str = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())
    return letters


def in_one_orientation(image: SimpleITK.Image) -> SimpleITK.Image:
    """The same image with its axes exchanged and turned round until they run nearest to left, back, head.

    No voxel changes its value or its place in the world: an oblique image stays oblique. nnU-Net ignores
    directions, so that all images of a dataset must have one orientation.

    Example:
        >>> image = SimpleITK.Image(4, 2, 2, SimpleITK.sitkUInt8)
        >>> image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        >>> turned = in_one_orientation(image)
        >>> orientation(image), orientation(turned), turned.GetOrigin()
        ('RAS', 'LPS', (-3.0, -1.0, 0.0))
    """
    if orientation(image) == ORIENTATION:
        return image  # the filter would copy every voxel
    turned: SimpleITK.Image = SimpleITK.DICOMOrient(image, ORIENTATION)
    return turned


def with_grid_of(image: SimpleITK.Image, reference: SimpleITK.Image) -> SimpleITK.Image:
    """A copy of ``image`` with the very numbers of ``reference``'s grid, for grids that were found equal."""
    copy = SimpleITK.Image(image)
    copy.CopyInformation(reference)
    return copy


def image_of(voxels: NDArray[Any], reference: SimpleITK.Image) -> SimpleITK.Image:
    """An image from an array (Z, Y, X) on the grid of another.

    Example:
        >>> reference = SimpleITK.Image(4, 3, 2, SimpleITK.sitkUInt8)
        >>> reference.SetOrigin((0.0, 0.0, 5.0))
        >>> image_of(np.zeros((2, 3, 4), np.int16), reference).GetOrigin()
        (0.0, 0.0, 5.0)
    """
    image = SimpleITK.GetImageFromArray(voxels)
    image.CopyInformation(reference)
    return image
