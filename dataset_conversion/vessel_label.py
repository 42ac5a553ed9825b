"""Whether a label of vessels lies on what contrast medium made bright."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.checks import check_values
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.grids import in_one_orientation, require_same_grid

# Median inside vessels filled with contrast medium (SPEC D2).
VESSEL_HU = 150
# What a flip must gain to be called far brighter: soft tissue is 100 HU darker than the faintest such vessel.
_FAR_HU = 100


def check_vessels(image: SimpleITK.Image, label: SimpleITK.Image) -> tuple[Note, ...]:
    """Refuse a label that lies better on bright vessels once it is flipped.

    Args:
        image: CT with contrast medium, in Hounsfield units.
        label: not 0 inside vessels; on the same grid, in any orientation.

    Returns:
        A note ``faint-vessel`` where the median inside is not above ``VESSEL_HU`` and no flip finds more.

    Raises:
        CaseError: ``flipped-label``, ``label-grid``, and as
            :func:`~nnunet_ext.dataset_conversion.checks.check_values`.

    Example:
        >>> hu = np.full((2, 2, 4), -50, np.int16)
        >>> hu[0, 0, 0] = 400
        >>> image, label = (SimpleITK.GetImageFromArray(array) for array in (hu, (hu > 0).astype(np.uint8)))
        >>> check_vessels(image, label)
        ()
        >>> check_vessels(image, SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(label)[..., ::-1]))
        Traceback (most recent call last):
        nnunet_ext.clinical_io.findings.CaseError: flipped-label: the median inside the label is -50 HU, \
and 400 HU once it is flipped along x; vessels with contrast medium have more than 150; look at image and \
label, and correct the geometry of the one that is wrong
    """
    image, label = in_one_orientation(image), in_one_orientation(label)
    require_same_grid(label, image, what="the label", whose="the CT")
    check_values(image, "CT")  # flips are told by them
    values = SimpleITK.GetArrayViewFromImage(image)
    place = np.nonzero(SimpleITK.GetArrayViewFromImage(label))
    if not place[0].size:
        return ()
    median = _median_hu(values, place, flips=(False, False, False))
    if median > VESSEL_HU:
        return ()
    flips = list(product((False, True), repeat=3))[1:]
    best, axes = max((_median_hu(values, place, flips=flip), flip) for flip in flips)
    if best > max(VESSEL_HU, median + _FAR_HU):
        along = ", ".join(name for name, flipped in zip("zyx", axes, strict=True) if flipped)
        raise CaseError(
            "flipped-label",
            reason=f"the median inside the label is {median:g} HU, and {best:g} HU once it is flipped along "
            f"{along}; vessels with contrast medium have more than {VESSEL_HU}",
            remedy="look at image and label, and correct the geometry of the one that is wrong",
        )
    return (Note("faint-vessel", f"the median inside the label is {median:g} HU, not above {VESSEL_HU}"),)


def _median_hu(
    values: NDArray[np.generic], place: tuple[NDArray[np.int64], ...], *, flips: Sequence[bool]
) -> float:
    """Median of an image (Z, Y, X) at the voxels of a label that is flipped along some axes."""
    index = tuple(
        size - 1 - i if flip else i for i, size, flip in zip(place, values.shape, flips, strict=True)
    )
    return float(np.median(np.asarray(values)[index]))
