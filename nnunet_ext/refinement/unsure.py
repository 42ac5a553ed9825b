"""Where a first network was unsure: only there does a refiner change anything, unless it is told to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 1000
# Of the first network's out-of-fold errors, this share lies below the threshold.
SHARE_OF_ERRORS = 0.95
WITHOUT_ERRORS = 0.9


def certainty(probabilities: NDArray[Any], *, has_regions: bool) -> NDArray[Any]:
    """How sure a network is of each voxel, 0 to 1.

    Args:
        probabilities: (L, ...).
        has_regions: outputs are regions: the one that is least sure, either way, counts.

    Returns:
        The largest probability of a class; for regions the smallest of max(p, 1 - p).

    Example:
        >>> certainty(np.array([[0.2], [0.8]]), has_regions=False).tolist()
        [0.8]
        >>> certainty(np.array([[0.9], [0.6]]), has_regions=True).tolist()
        [0.6]
    """
    return np.asarray(certainties(probabilities, has_regions=has_regions).min(axis=0))


def certainties(probabilities: NDArray[Any], *, has_regions: bool) -> NDArray[Any]:
    """How sure a network is of each answer: one a voxel for classes, one a region and voxel for regions.

    Example:
        >>> certainties(np.array([[0.2], [0.8]]), has_regions=False).tolist()
        [[0.8]]
        >>> certainties(np.array([[0.1], [0.6]]), has_regions=True).tolist()
        [[0.9], [0.6]]
    """
    if has_regions:
        return np.asarray(np.maximum(probabilities, 1 - probabilities))
    return np.asarray(probabilities.max(axis=0, keepdims=True))


def threshold_of(errors: Iterable[NDArray[np.int64]]) -> float:
    """The certainty below which 95 % of the first network's errors lie.

    Networks are sure of many of their errors, how many differs from one to the next; a fixed number would
    leave an overconfident network uncorrected.

    Args:
        errors: counts by certainty of each case, in ``BINS`` bins from 0 to 1.

    Returns:
        The upper edge of a bin; 0.9 where there are no errors.

    Example:
        >>> errors = np.zeros(BINS, np.int64)
        >>> errors[[500, 700]] = 99, 1
        >>> threshold_of([errors])
        0.501
    """
    total = np.sum(list(errors), axis=0)
    if not np.any(total):
        return WITHOUT_ERRORS
    share = np.cumsum(total) / np.sum(total)
    return float((int(np.argmax(share >= SHARE_OF_ERRORS)) + 1) / BINS)
