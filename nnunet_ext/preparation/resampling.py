"""Images and labels on another grid: cubic splines for the one, the likeliest label for the other."""

from __future__ import annotations

from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import Grid, check_volume, everywhere

LabelMethod = Literal["linear", "nearest"]
# SimpleITK's interpolators by the order of the spline; 3 is paper 003's.
_INTERPOLATORS = {0: sitk.sitkNearestNeighbor, 1: sitk.sitkLinear, 3: sitk.sitkBSpline}
# Interpolated shares of labels that differ by less are equal: they are float32.
_TIE = 1e-5


def grid_for(
    image: sitk.Image,
    *,
    spacing_mm: tuple[float, ...] | None = None,
    reference: sitk.Image | None = None,
) -> Grid:
    """The grid that an image is to be resampled to.

    Args:
        image: to be resampled.
        spacing_mm: voxel size (z, y, x) of the array in mm, each > 0: the axes and the center stay, the
            extent changes by at most half a new voxel.
        reference: or the image whose grid to take.

    Raises:
        ValueError: not exactly one of the two, or a spacing that is not positive.

    Example:
        >>> image = sitk.Image(10, 10, 4, sitk.sitkInt16)
        >>> image.SetSpacing((1.0, 1.0, 3.0))
        >>> grid_for(image, spacing_mm=(2, 1, 1)).size_vox
        (10, 10, 6)
    """
    if (spacing_mm is None) == (reference is None):
        raise ValueError("expected spacing_mm or reference, and not both")
    if reference is not None:
        return Grid.of(reference)
    spacing = tuple(float(s) for s in spacing_mm or ())
    if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing_mm must be three numbers > 0, (z, y, x), got {spacing_mm}")
    return Grid.of(image).with_spacing((spacing[2], spacing[1], spacing[0]))


def resample_image(
    image: sitk.Image,
    *,
    grid: Grid,
    background: float,
    order: int = 3,
    transform: sitk.Transform | None = None,
) -> sitk.Image:
    """Resample an image, never beyond its own range of values.

    Reference: paper 003: cubic interpolation (order 3) to 1.25 x 0.8 x 0.8 mm. Unser, Splines: a perfect fit
    for signal and image processing, 1999, doi 10.1109/79.799930.

    Differences from the paper: the overshoot of cubic splines beside sharp edges is clipped to the range of
    the input, so that no CT falls below its own air. As in the paper nothing is smoothed before a coarser
    grid.

    Args:
        image: any scalar volume. Stays as it is.
        grid: where to; :func:`grid_for` makes one.
        background: value of voxels whose centers lie outside the image.
        order: of the spline: 3, 1 (linear) or 0 (nearest).
        transform: from points of ``grid`` to points of the image; None for the same world.

    Returns:
        Image on ``grid`` of the input's pixel type, rounded where that is whole numbers.

    Raises:
        ValueError: another order, or a background that the pixel type cannot hold.
        PreparationError: what :func:`check_volume` refuses.

    Example:
        >>> image = sitk.GetImageFromArray(np.array([[[0, 0, 100, 100]]], np.int16))
        >>> fine = resample_image(image, grid=grid_for(image, spacing_mm=(1, 1, 0.5)), background=0)
        >>> sitk.GetArrayFromImage(fine).tolist()
        [[[0, 0, 0, 21, 79, 100, 100, 100]]]
    """
    if order not in _INTERPOLATORS:
        raise ValueError(f"order must be one of {sorted(_INTERPOLATORS)}, got {order}")
    check_volume(image)
    values = sitk.GetArrayViewFromImage(image)
    low, high = values.min(), values.max()
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and not np.iinfo(values.dtype).min <= background <= np.iinfo(values.dtype).max:
        raise ValueError(f"background {background} does not fit pixels of {image.GetPixelIDTypeAsString()}")
    # Single precision holds whole numbers to 2 ** 24; SimpleITK itself would cut decimals off, not round.
    wide = sitk.sitkFloat32 if values.dtype.itemsize < 4 or values.dtype == np.float32 else sitk.sitkFloat64
    moved = _resampled(image, grid, transform, _INTERPOLATORS[order], float(low), wide)
    result = sitk.GetArrayFromImage(moved)
    np.clip(result, low, high, out=result)
    # The background comes last, so that its value is no reason to clip less.
    if background != low:
        inside = _resampled(everywhere(image), grid, transform, sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
        result[sitk.GetArrayViewFromImage(inside) == 0] = background
    if whole:
        np.rint(result, out=result)
    return _on_grid(result.astype(values.dtype, copy=False), grid)


def resample_label(
    label: sitk.Image,
    *,
    grid: Grid,
    method: LabelMethod = "linear",
    transform: sitk.Transform | None = None,
) -> sitk.Image:
    """Resample a label image: every voxel becomes a value that the input has, or 0 outside.

    Args:
        label: whole numbers, in any pixel type. Stays as it is.
        grid: where to.
        method: ``linear`` interpolates the share of each label and takes the largest; of equal shares the
            foreground's, so that a structure of one voxel outlives a grid of twice the spacing, and of two
            labels the smaller value. ``nearest`` takes the nearest voxel.
        transform: from points of ``grid`` to points of the label; None for the same world.

    Returns:
        Image on ``grid`` of the input's pixel type.

    Raises:
        ValueError: another method.
        PreparationError: ``label-not-whole``; or what :func:`check_volume` refuses.

    Example:
        >>> label = sitk.GetImageFromArray(np.array([[[0, 0, 500, 500]]], np.uint16))
        >>> fine = resample_label(label, grid=grid_for(label, spacing_mm=(1, 1, 0.5)))
        >>> sitk.GetArrayFromImage(fine).tolist()
        [[[0, 0, 0, 0, 500, 500, 500, 500]]]
    """
    if method not in ("linear", "nearest"):
        raise ValueError(f'method must be "linear" or "nearest", got {method!r}')
    check_volume(label, what="the label")
    values = sitk.GetArrayViewFromImage(label)
    present = np.unique(values)
    if (odd := present[present != np.rint(present)]).size:
        raise PreparationError(
            "label-not-whole",
            f"expected whole numbers in the label, got values such as {odd[0]}",
            "give the label itself, not probabilities or an interpolated image",
        )
    if method == "nearest":
        return _resampled(label, grid, transform, sitk.sitkNearestNeighbor, 0.0, label.GetPixelID())
    # What no label has is background's, outside the image all of it. It wins only where it is clearly more.
    best = 1 - _share(label, values != 0, grid, transform) - _TIE
    result = np.zeros(best.shape, values.dtype)
    for value in present[present != 0]:
        share = _share(label, values == value, grid, transform)
        wins = share > best + _TIE * (result != 0)
        result[wins] = value
        best[wins] = share[wins]
    return _on_grid(result, grid)


def _share(
    label: sitk.Image, where: NDArray[np.bool_], grid: Grid, transform: sitk.Transform | None
) -> NDArray[np.float32]:
    share = image_of(where.astype(np.uint8), label)
    moved = _resampled(share, grid, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    array: NDArray[np.float32] = sitk.GetArrayFromImage(moved)
    return array


def _resampled(
    image: sitk.Image,
    grid: Grid,
    transform: sitk.Transform | None,
    interpolator: int,
    outside: float,
    pixel_type: int,
) -> sitk.Image:
    return sitk.Resample(
        image,
        grid.size_vox,
        transform or sitk.Transform(3, sitk.sitkIdentity),
        interpolator,
        grid.origin_mm,
        grid.spacing_mm,
        grid.direction,
        outside,
        pixel_type,
    )


def _on_grid(values: NDArray[np.generic], grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image
