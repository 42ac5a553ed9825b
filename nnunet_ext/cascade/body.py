"""Where the patient is in an image: what fallback positions are measured in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.boxes import box_of

# A body is found on a grid of about this many voxels along each axis: that is enough for a position.
COARSE_VOXELS = 128


def body_box(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Mask of the box around the body: the largest piece that is brighter than Otsu's threshold.

    The threshold moves with a change of scale and offset, so that an image and its normalized form have the
    same body; a CT has to be clipped before as nnU-Net's normalization clips it.

    Args:
        image: (Z, Y, X), one channel.

    Returns:
        Mask of the same shape; everywhere True for a constant image.

    Example:
        >>> image = np.zeros((8, 8, 8))
        >>> image[2:6, 1:5, 3:7] = 1
        >>> box_of(body_box(image))
        (slice(2, 6, None), slice(1, 5, None), slice(3, 7, None))
    """
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    steps = [max(1, n // COARSE_VOXELS) for n in image.shape]
    small = np.asarray(image[tuple(slice(None, None, step) for step in steps)])
    if small.min() == small.max():
        return np.ones(image.shape, bool)
    pieces, count = ndimage.label(small > threshold_otsu(small))
    largest = int(np.bincount(pieces.ravel())[1:].argmax()) + 1 if count else 0
    box = box_of(pieces == largest)
    body = np.zeros(image.shape, bool)
    if box is not None:
        body[tuple(slice(b.start * step, b.stop * step) for b, step in zip(box, steps, strict=True))] = True
    return body
