"""From images to values between -1 and 1, which the networks see, and from there to Hounsfield units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.translation.domains import Window

# Enough for percentiles to 0.01 of the range, whatever the size of the image.
_SAMPLE_VOXELS = 2_000_000


@dataclass(frozen=True)
class Range:
    """The values that become -1 and 1.

    Attributes:
        low: becomes -1.
        high: becomes 1.

    Example:
        >>> Range(0, 100).to_unit(np.array([-5.0, 50.0, 100.0])).tolist()
        [-1.0, 0.0, 1.0]
    """

    low: float
    high: float

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values between -1 and 1; what lies outside the range is clipped."""
        scaled = (np.asarray(values, np.float32) - self.low) * (2 / (self.high - self.low)) - 1
        unit: NDArray[np.float32] = np.clip(scaled, -1, 1, dtype=np.float32)
        return unit


def percentile_range(values: NDArray[Any], percentiles: Sequence[float]) -> Range:
    """The range between two percentiles of an image.

    Any linear normalization before, such as nnU-Net's z-score, leaves the result of :meth:`Range.to_unit` as
    it is.

    Reference:
        SPEC A2.1 recommends the 5th and 95th percentile. Differences: what lies beyond is clipped, since a
        generator cannot reach it, and the brightest twentieth of a heart's MR is blood and fat, which must
        not become one value; so the settings have 0.5 and 99.5.

    Args:
        values: the image, of any shape.
        percentiles: low and high, 0 to 100.

    Raises:
        ValueError: a value is not finite, or the percentiles have the same value.

    Example:
        >>> percentile_range(np.arange(101), (5, 95))
        Range(low=5.0, high=95.0)
    """
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // _SAMPLE_VOXELS)]
    low, high = (float(p) for p in np.percentile(flat, percentiles))
    # Of all values: one that is not a number may lie between those that were sampled.
    if not np.isfinite(values).all():
        raise ValueError("expected finite values, got NaN or infinity")
    if not low < high:
        raise ValueError(f"expected an image, got the same value {low:g} at percentiles {tuple(percentiles)}")
    return Range(low, high)


def to_hu(unit: NDArray[Any], window: Window) -> NDArray[np.int16]:
    """Whole Hounsfield units of values between -1 and 1.

    Example:
        >>> to_hu(np.array([-1.0, 0.0, 1.0]), Window(-1000, 1001)).tolist()
        [-1000, 0, 1001]
    """
    hu = window.low_hu + (np.asarray(unit, np.float32) + 1) * ((window.high_hu - window.low_hu) / 2)
    whole: NDArray[np.int16] = np.rint(hu).astype(np.int16)
    return whole
