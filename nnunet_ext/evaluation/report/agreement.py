"""Where a prediction and its reference agree, voxel by voxel, and the colors that say so everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """What one voxel says of a prediction."""

    NOTHING = 0
    AGREEMENT = 1
    MISSED = 2
    EXTRA = 3
    CONFUSED = 4
    IGNORED = 5


# Hues of the Okabe-Ito palette, which people with any color vision tell apart; they also differ in lightness.
COLORS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.AGREEMENT: "#56B4E9",
        Kind.MISSED: "#D55E00",
        Kind.EXTRA: "#F0E442",
        Kind.CONFUSED: "#CC79A7",
        Kind.IGNORED: "#999999",
    }
)
WORDS: Mapping[Kind, str] = MappingProxyType(
    {
        Kind.AGREEMENT: "agreement",
        Kind.MISSED: "missed: in the reference alone",
        Kind.EXTRA: "extra: in the prediction alone",
        Kind.CONFUSED: "another structure than in the reference",
        Kind.IGNORED: "not annotated",
    }
)


def agreement(
    prediction: NDArray[Any], reference: NDArray[Any], *, ignore: int | None = None
) -> NDArray[np.uint8]:
    """Say of every voxel what :class:`Kind` it is.

    Args:
        prediction: array of labels, 0 is background; or a mask.
        reference: the same shape.
        ignore: label of the reference that stands for no annotation.

    Returns:
        Array of the same shape with values of :class:`Kind`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> agreement(np.array([0, 1, 0, 2, 1, 1]), np.array([0, 1, 1, 0, 2, 9]), ignore=9).tolist()
        [0, 1, 2, 3, 4, 5]
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"expected one shape, got {prediction.shape} and {reference.shape}")
    predicted, present = prediction != 0, reference != 0
    kinds = np.zeros(prediction.shape, np.uint8)
    kinds[predicted & ~present] = Kind.EXTRA
    kinds[present & ~predicted] = Kind.MISSED
    both = predicted & present
    kinds[both] = np.where(prediction[both] == reference[both], Kind.AGREEMENT, Kind.CONFUSED)
    if ignore is not None:
        kinds[reference == ignore] = Kind.IGNORED
    return kinds
