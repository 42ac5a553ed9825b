"""N4: the slow change of brightness across an MR, estimated on a coarse grid and divided out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import check_volume
from nnunet_ext.preparation.intensity import foreground, mask_array
from nnunet_ext.preparation.threads import one_thread

logger = logging.getLogger(__name__)

# Voxels that an axis keeps when the image is shrunk: N4 needs some for its spline.
_MIN_SIZE = 8


@dataclass(frozen=True)
class BiasCorrection:
    """An MR without its bias field.

    Attributes:
        image: float32 on the grid of the input.
        mask: uint8, where the field was estimated.
        variation_before: standard deviation over mean within the mask.
        variation_after: the same after the correction.
        field_range: smallest and largest value of the field within the mask.
        clipped_voxels: that were below 0.
    """

    image: sitk.Image
    mask: sitk.Image
    variation_before: float
    variation_after: float
    field_range: tuple[float, float]
    clipped_voxels: int = 0


def correct_bias_field(
    image: sitk.Image,
    *,
    mask: sitk.Image | None = None,
    shrink_factor: int = 4,
    iterations: tuple[int, ...] = (50, 50, 50, 50),
    convergence: float = 1e-3,
    control_points: int = 4,
    full_width_at_half_maximum: float = 0.15,
    clip_negative: bool = False,
) -> BiasCorrection:
    """Divide an MR by its bias field.

    Reference: paper 003, MR channels. Tustison et al., N4ITK: improved N3 bias correction, 2010,
    doi 10.1109/TMI.2010.2046908; SimpleITK's N4BiasFieldCorrectionImageFilter with its default parameters.

    Differences from the paper:
        - parameters, which it does not give, are SimpleITK's;
        - the image is shrunk only along axes whose voxels are small, so that thick slices stay;
        - outside the mask the field is kept within its range inside.

    Args:
        image: MR with values >= 0. Stays as it is.
        mask: where to estimate the field, non-zero inside, on the grid of the image; None for Otsu's
            foreground. The field is divided out everywhere.
        shrink_factor: voxels that are averaged along the finest axis while the field is estimated, >= 1.
        iterations: at most so many on each level; each level has twice the control points of the one before.
        convergence: a level ends when the field changes by less than this, > 0.
        control_points: of the spline along each axis on the first level, >= 4 (the spline is cubic).
        full_width_at_half_maximum: of the Gaussian that the histogram is sharpened with, > 0.
        clip_negative: set values below 0, which magnitude images do not have but which interpolation leaves,
            to 0 instead of refusing them; the result counts them.

    Raises:
        ValueError: a parameter outside its range.
        PreparationError: ``negative-values``, ``constant-image``, ``empty-mask``, ``grids-differ``,
            ``bias-field-failed`` where N4 ends in numbers that are not finite; or what :func:`check_volume`
            refuses.

    Example:
        >>> z, y, x = np.ogrid[:12, :24, :24]
        >>> ball = ((z - 6) / 5) ** 2 + ((y - 12) / 9) ** 2 + ((x - 12) / 9) ** 2 < 1
        >>> mr = sitk.GetImageFromArray((100 * ball * np.exp(x / 24)).astype(np.float32))
        >>> result = correct_bias_field(mr, shrink_factor=1)
        >>> result.variation_after < result.variation_before / 2
        True
    """
    if shrink_factor < 1 or control_points < 4 or not iterations or min(iterations) < 1:
        raise ValueError(
            "expected shrink_factor >= 1, control_points >= 4 and iterations >= 1 on one level or more, got "
            f"{shrink_factor}, {control_points} and {iterations}"
        )
    check_volume(image, what="the MR")
    original = sitk.Cast(image, sitk.sitkFloat32)
    negative = int((sitk.GetArrayViewFromImage(original) < 0).sum())
    if negative and not clip_negative:
        lowest = float(sitk.GetArrayViewFromImage(original).min())
        raise PreparationError(
            "negative-values",
            f"expected an MR with values >= 0, got {negative} voxels below, the lowest {lowest:g}",
            "correct the bias field before the image is resampled or standardized, or let clip_negative "
            "set them to 0",
        )
    original = sitk.Clamp(original, lowerBound=0.0)
    where = foreground(original) if mask is None else sitk.Cast(mask != 0, sitk.sitkUInt8)
    inside = mask_array(where, image)

    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(list(iterations))
    n4.SetConvergenceThreshold(convergence)
    n4.SetNumberOfControlPoints([control_points] * 3)
    n4.SetBiasFieldFullWidthAtHalfMaximum(full_width_at_half_maximum)
    factors = shrink_factors(image, shrink_factor)
    with one_thread():
        n4.Execute(sitk.BinShrink(original, factors), _shrunk_mask(where, factors))
        log_field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(original))
    # Nothing holds the spline beyond the mask, where it may run off by many powers of ten.
    field = np.exp(np.clip(log_field, log_field[inside].min(), log_field[inside].max(), out=log_field))

    before = sitk.GetArrayViewFromImage(original)
    with np.errstate(divide="ignore", over="ignore"):
        after = before / field
    if not np.isfinite(after).all():
        raise PreparationError(
            "bias-field-failed",
            f"expected finite values, got a bias field from {field.min():g} to {field.max():g}",
            "give a mask of the patient, or a smaller shrink_factor",
        )
    result = BiasCorrection(
        image=image_of(after, image),
        mask=where,
        variation_before=_variation(before[inside]),
        variation_after=_variation(after[inside]),
        field_range=(float(field[inside].min()), float(field[inside].max())),
        clipped_voxels=negative,
    )
    logger.info(
        "bias field %.2f to %.2f, coefficient of variation %.3f before and %.3f after",
        *result.field_range,
        result.variation_before,
        result.variation_after,
    )
    return result


def shrink_factors(image: sitk.Image, factor: int) -> list[int]:
    """Voxels to average along each axis (x, y, z): ``factor`` along the finest, fewer along coarser ones.

    Example:
        >>> shrink_factors(sitk.Image(100, 100, 6, sitk.sitkFloat32), 4)
        [4, 4, 1]
    """
    finest = min(image.GetSpacing())
    return [
        max(1, min(round(factor * finest / spacing), size // _MIN_SIZE))
        for size, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]


def _shrunk_mask(mask: sitk.Image, factors: list[int]) -> sitk.Image:
    """Where half or more of the voxels of a bin are inside."""
    shrunk: sitk.Image = sitk.BinShrink(sitk.Cast(mask, sitk.sitkFloat32), factors) >= 0.5
    return shrunk


def _variation(values: NDArray[np.float32]) -> float:
    return float(values.std(dtype=np.float64) / values.mean(dtype=np.float64))
