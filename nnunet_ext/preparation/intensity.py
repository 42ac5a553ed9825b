"""Intensities of CT and MR, where plans cannot say it: a fixed window, and percentiles with a z-score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import check_same_grid, check_volume


@dataclass(frozen=True)
class Standardized:
    """An image with mean 0 and standard deviation 1.

    Attributes:
        image: float32 on the grid of the input.
        low: value of the lower percentile, in the input's unit.
        high: value of the upper percentile.
        mean: of the clipped values, taken within the mask.
        std: of the clipped values, taken within the mask.
    """

    image: sitk.Image
    low: float
    high: float
    mean: float
    std: float


def window(image: sitk.Image, *, low: float, high: float) -> sitk.Image:
    """Map [low, high] linearly to [-1, 1] and clip what lies outside.

    Reference: paper 004 (liver target): HU clipped to [-150, 150] and divided by 150. nnU-Net's
    CTNormalization says the same from plans (``nnunet_ext plan --window``), so this step is for what plans
    cannot say: a window for each of several channels, or data for other programs.

    Differences from the paper: any window, not only a symmetric one.

    Args:
        image: CT in HU, or any image with a fixed unit.
        low: becomes -1.
        high: becomes 1; > low.

    Returns:
        float32 image on the same grid, in [-1, 1].

    Raises:
        ValueError: ``high`` is not above ``low``.
        PreparationError: what :func:`check_volume` refuses.

    Example:
        >>> image = sitk.GetImageFromArray(np.array([[[-1000, 0, 75, 150]]], np.int16))
        >>> sitk.GetArrayFromImage(window(image, low=-150, high=150)).tolist()
        [[[-1.0, 0.0, 0.5, 1.0]]]
    """
    if not low < high:
        raise ValueError(f"a window needs low < high, got low={low} and high={high}")
    check_volume(image)
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    values -= (low + high) / 2
    values /= (high - low) / 2
    return image_of(np.clip(values, -1, 1, out=values), image)


def standardize(
    image: sitk.Image,
    *,
    mask: sitk.Image | None = None,
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Standardized:
    """Clip to percentiles, then subtract the mean and divide by the standard deviation.

    Reference: paper 003, MR channels (SPEC A4: percentile clip, then z-score). Values outside the mask are
    clipped and scaled alike.

    Differences from the paper: the percentiles, which it does not give, are those of nnU-Net's CT.

    Args:
        image: MR, any unit.
        mask: voxels that percentiles, mean and deviation are taken from; None for all.
        percentiles: lower and upper, 0 <= lower < upper <= 100.

    Raises:
        ValueError: percentiles outside their range.
        PreparationError: ``constant-image`` where all values are one; ``empty-mask``; ``grids-differ``; or
            what :func:`check_volume` refuses.

    Example:
        >>> image = sitk.GetImageFromArray(np.arange(1000, dtype=np.float32).reshape(10, 10, 10))
        >>> result = standardize(image, percentiles=(10, 90))
        >>> round(result.low), round(result.high), round(result.mean, 1)
        (100, 899, 499.5)
    """
    lower, upper = percentiles
    if not 0 <= lower < upper <= 100:
        raise ValueError(f"percentiles need 0 <= lower < upper <= 100, got {percentiles}")
    check_volume(image)
    values = sitk.GetArrayFromImage(image).astype(np.float32)
    chosen = values[mask_array(mask, image)] if mask is not None else values.ravel()
    low, high = (float(p) for p in np.percentile(chosen, percentiles))
    clipped = np.clip(chosen, low, high)
    mean, std = float(clipped.mean(dtype=np.float64)), float(clipped.std(dtype=np.float64))
    # Relative to the values: float32 keeps about 7 digits.
    if std <= 1e-6 * max(abs(low), abs(high)):
        raise PreparationError(
            "constant-image",
            f"expected values that differ, got a standard deviation of {std:g} about {mean:g} between the "
            f"percentiles {lower:g} and {upper:g}",
            "look at the image; widen the percentiles or give another mask",
        )
    np.clip(values, low, high, out=values)
    values -= mean
    values /= std
    return Standardized(image_of(values, image), low=low, high=high, mean=mean, std=std)


def foreground(image: sitk.Image) -> sitk.Image:
    """Otsu's foreground of an MR: uint8, 1 in the patient (dark tissue may be missing) and 0 in air.

    Raises:
        PreparationError: ``constant-image``.

    Example:
        >>> image = sitk.GetImageFromArray(np.array([[[0, 1, 0, 90, 100, 95]]], np.float32))
        >>> sitk.GetArrayFromImage(foreground(image)).tolist()
        [[[0, 0, 0, 1, 1, 1]]]
    """
    values = sitk.GetArrayViewFromImage(image)
    if values.min() == values.max():
        raise PreparationError(
            "constant-image",
            f"expected values that differ, got {float(values.flat[0]):g} everywhere",
            "look at the image; export it again",
        )
    # 200 bins, as in SimpleITK's example of N4.
    mask: sitk.Image = sitk.OtsuThreshold(image, 0, 1, 200)
    return mask


def mask_array(mask: sitk.Image, image: sitk.Image) -> NDArray[np.bool_]:
    """A mask as a bool array (Z, Y, X).

    Raises:
        PreparationError: ``grids-differ`` or ``empty-mask``.
    """
    check_same_grid(mask, image, what="the mask", reference_name="the image")
    inside: NDArray[np.bool_] = sitk.GetArrayViewFromImage(mask) != 0
    if not inside.any():
        raise PreparationError(
            "empty-mask", "expected a mask with voxels, got none", "give another mask, or none at all"
        )
    return inside
