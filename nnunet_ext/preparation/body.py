"""Couch and thermoplastic mask out of a CT: what is not body becomes air.

A coarse grid of about 2 mm says which things are body; the grid of the image says where their skin is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.preparation.coarse import BoolArray, FloatArray, coarse_mean, distance_mm, in_fine_slice
from nnunet_ext.preparation.errors import PreparationError
from nnunet_ext.preparation.geometry import Grid, axial_axis, check_volume
from nnunet_ext.preparation.parts import (
    Parts,
    RemovedPart,
    backward_axis,
    filled,
    removed_parts_of,
    touching,
)

logger = logging.getLogger(__name__)

AIR_HU = -1000.0
# Otsu's range (SPEC A4): metal above and padding below it would pull the threshold.
CLIP_HU = (-1000.0, 500.0)
# Otsu lies midway between the means of air (-1000, with lungs about -850) and of tissue (-150 in fat to 300
# in bone): -575 to -275. Outside this range the image has no air, no body, or no Hounsfield units.
PLAUSIBLE_THRESHOLD_HU = (-800.0, -200.0)
# Fine enough for the gap between mask and cheek, coarse enough for a volume of 512 x 512 x 300 in seconds.
_COARSE_MM = 2.0


@dataclass(frozen=True)
class CouchRemoval:
    """A CT without couch and mask.

    Attributes:
        image: the CT on its own grid, air outside the body.
        mask: uint8 on the same grid, 1 in the body, its holes (lungs, bowel gas) included.
        threshold_hu: between air and body, from Otsu.
        body_share: of the volume, 0 to 1.
        kept_parts: separate parts of the body: 1 for a trunk, 2 for two legs.
        removed_ml: above the threshold and not kept.
        removed_parts: the largest of it, at most ten, those of 1 ml and more.
    """

    image: sitk.Image
    mask: sitk.Image
    threshold_hu: float
    body_share: float
    kept_parts: int
    removed_ml: float
    removed_parts: tuple[RemovedPart, ...]


def remove_couch(
    image: sitk.Image,
    *,
    opening_radius_mm: float = 4.0,
    limb_radius_mm: float = 12.0,
    min_part_share: float = 0.005,
    min_body_share: float = 0.02,
    max_removed_share: float = 0.5,
    smoothing_mm: float = 1.0,
    air_hu: float = AIR_HU,
) -> CouchRemoval:
    """Set everything outside the body to air.

    Reference: paper 003 (organs at risk in the brain), preprocessing: Otsu threshold, largest component,
    holes filled slice by slice, outside set to -1000 HU. Otsu, A threshold selection method from gray-level
    histograms, 1979, doi 10.1109/TSMC.1979.4310076.

    Differences from the paper:
        - an opening cuts the thin mask and the couch's shell from the body, which a threshold alone leaves
          connected;
        - every part that is thick and large enough is kept, not the largest alone: two legs, arms beside the
          trunk; a part whose center lies behind the whole of the largest is couch (patients lie on their
          backs);
        - a result that cannot be a body is refused.

    A mask or couch that lies on the skin without a gap of a voxel stays there, as does one of solid material
    thicker than twice ``limb_radius_mm`` that does not lie behind the patient. Body parts thinner than twice
    ``opening_radius_mm`` (the free rim of an ear) are cut back. Air in the body that runs out at the image's
    edge counts as outside.

    Args:
        image: CT in HU, signed or floating point. Stays as it is.
        opening_radius_mm: things thinner than twice this are cut off, >= 0. Masks are 2 to 4 mm thick, shells
            of couches up to 5 mm.
        limb_radius_mm: a part is kept only if a ball of this radius fits, >= 0. Hands are about 25 mm thick.
        min_part_share: and if it has this share of the volume of the largest part, both after the erosion of
            the opening, in [0, 1]. A hand beside a pelvis has about 1 %.
        min_body_share: of the volume, in [0, 1]; a head in a field of view of 700 mm has about 5 %.
        max_removed_share: of what is above the threshold, in [0, 1].
        smoothing_mm: standard deviation of the Gaussian before the threshold, >= 0; within the slice.
        air_hu: the new value outside.

    Raises:
        PreparationError: ``not-hounsfield`` for pixels that cannot be ``air_hu``; ``threshold-implausible``
            for no air, no body or no HU; ``body-not-found`` where no part is thick enough;
            ``body-too-small``; ``too-much-removed``; or what :func:`check_volume` refuses.

    Example:
        >>> hu = np.full((2, 60, 60), -1000, np.int16)
        >>> hu[:, 5:45, 10:50] = 40  # body
        >>> hu[:, 50:53] = 100  # couch
        >>> result = remove_couch(sitk.GetImageFromArray(hu))
        >>> kept = sitk.GetArrayFromImage(result.image)
        >>> int(kept[0, 20, 20]), int(kept[0, 51, 20]), result.kept_parts
        (40, -1000, 1)
    """
    check_volume(image, what="the CT")
    _check_pixels(image, air_hu)
    axis = axial_axis(image)
    # Slices first: (slices, rows, columns), whatever axis of the image the slices lie along.
    order = (2 - axis, *(a for a in range(3) if a != 2 - axis))
    hu = sitk.GetArrayViewFromImage(image).transpose(order)
    spacing = [image.GetSpacing()[::-1][a] for a in order]
    factors = tuple(max(1, round(_COARSE_MM / s)) for s in spacing)
    coarse_spacing = tuple(s * f for s, f in zip(spacing, factors, strict=True))
    coarse = coarse_mean(hu, factors, clip=CLIP_HU)
    coarse = ndimage.gaussian_filter(coarse, [0.0, *(smoothing_mm / s for s in coarse_spacing[1:])])
    threshold = _otsu(coarse)

    foreground = coarse > threshold
    parts = Parts.of(foreground, coarse_spacing, opening_radius_mm)
    kept, number = parts.kept(
        limb_radius_mm=limb_radius_mm, min_part_share=min_part_share, backward=backward_axis(image, axis)
    )
    # The opened parts, and what may belong to them: a rim of about a coarse voxel, where the skin runs.
    reach = distance_mm(kept, coarse_spacing)
    near = reach <= parts.radius_mm + 1.5 * max(coarse_spacing[1:])
    bright = _bright_slices(hu, threshold, [smoothing_mm / s for s in spacing[1:]])
    body, above, kept_above = _at_full_resolution(bright, reach <= parts.radius_mm, near, factors, hu.shape)

    share = float(body.mean())
    _check_body(share, above, kept_above, min_body_share=min_body_share, max_removed_share=max_removed_share)
    mask = image_of(np.moveaxis(body, 0, 2 - axis), image)
    result = CouchRemoval(
        image=sitk.Mask(image, mask, outsideValue=air_hu),
        mask=mask,
        threshold_hu=threshold,
        body_share=share,
        kept_parts=number,
        removed_ml=(above - kept_above) * Grid.of(image).voxel_ml,
        removed_parts=removed_parts_of(foreground & ~near, coarse_spacing),
    )
    # A finger is about 15 mm thick.
    _log(result, limb_thickness_mm=1.25 * limb_radius_mm)
    return result


def _otsu(coarse: FloatArray) -> float:
    low, high = PLAUSIBLE_THRESHOLD_HU
    threshold = float(coarse.flat[0])
    if coarse.min() < coarse.max():
        split = threshold_otsu(coarse)
        # Midway between the two classes, which Otsu's best split is, too: where no voxel lies between them
        # every split is as good, and scikit-image answers with the lowest.
        threshold = float(coarse[coarse > split].mean() + coarse[coarse <= split].mean()) / 2
    if low <= threshold <= high:
        return threshold
    raise PreparationError(
        "threshold-implausible",
        f"expected Otsu's threshold between air and body from {low:g} to {high:g} HU, got {threshold:.0f} "
        f"HU, mean of the image {float(coarse.mean()):.0f} HU",
        "check that the image is a CT in Hounsfield units that shows a body and the air around it; an image "
        "cropped inside the body has no couch to remove",
    )


def _check_pixels(image: sitk.Image, air_hu: float) -> None:
    dtype = sitk.GetArrayViewFromImage(image).dtype
    if np.issubdtype(dtype, np.integer) and not np.iinfo(dtype).min <= air_hu <= np.iinfo(dtype).max:
        raise PreparationError(
            "not-hounsfield",
            f"expected pixels that can be {air_hu:g} HU, got {image.GetPixelIDTypeAsString()}",
            "apply the rescale slope and intercept and store signed numbers",
        )


def _check_body(
    share: float, above: int, kept_above: int, *, min_body_share: float, max_removed_share: float
) -> None:
    if share < min_body_share:
        raise PreparationError(
            "body-too-small",
            f"expected the body to fill at least {min_body_share:.1%} of the volume, got {share:.2%}",
            "look at the CT; for a small part in a large field of view make min_body_share smaller",
        )
    removed = 1 - kept_above / above
    if removed > max_removed_share:
        raise PreparationError(
            "too-much-removed",
            f"expected at most {max_removed_share:.0%} of what is denser than air outside the body, "
            f"got {removed:.0%}",
            "look at the CT: is it a patient on a couch? make limb_radius_mm smaller if a part was lost",
        )


def _log(result: CouchRemoval, *, limb_thickness_mm: float) -> None:
    logger.info(
        "body: %.1f %% of the volume in %d part(s), threshold %.0f HU, removed %.0f ml",
        100 * result.body_share,
        result.kept_parts,
        result.threshold_hu,
        result.removed_ml,
    )
    for part in result.removed_parts:
        if part.thickness_mm > limb_thickness_mm:
            logger.warning(
                "removed a part of %.0f ml that is %.0f mm thick: couch, or a hand? look at the image",
                part.volume_ml,
                part.thickness_mm,
            )


def _bright_slices(
    hu: NDArray[np.generic], threshold: float, blur_vox: list[float]
) -> Iterator[tuple[int, BoolArray]]:
    """Slice by slice, so that no second volume of floating-point numbers is needed."""
    for z in range(len(hu)):
        smooth = ndimage.gaussian_filter(np.clip(hu[z], *CLIP_HU).astype(np.float32), blur_vox, truncate=3.0)
        yield z, smooth > threshold


def _at_full_resolution(
    bright_slices: Iterator[tuple[int, BoolArray]],
    opened: BoolArray,
    near: BoolArray,
    factors: tuple[int, ...],
    shape: tuple[int, ...],
) -> tuple[NDArray[np.uint8], int, int]:
    """The body (Z, Y, X), and how many voxels lie above the threshold, in all and in the body."""
    body = np.zeros(shape, np.uint8)
    above, kept = 0, 0
    for z, bright in bright_slices:
        of_body = touching(
            bright & in_fine_slice(near, z, factors, bright.shape),
            in_fine_slice(opened, z, factors, bright.shape),
        )
        above += int(bright.sum())
        kept += int(of_body.sum())
        body[z] = filled(of_body)
    return body, above, kept
