"""The smallest box that holds a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Smallest box that holds a mask; None of an empty one.

    Example:
        >>> box_of(np.array([[False, False], [False, True]]))
        (slice(1, 2, None), slice(1, 2, None))
    """
    found: list[tuple[slice, ...] | None] = ndimage.find_objects(mask.view(np.uint8), max_label=1)
    return found[0]
