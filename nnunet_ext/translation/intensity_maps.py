"""Tables of single intensities: where anchored generators begin, in place of random numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_multiotsu
from torch import Tensor

from nnunet_ext.translation.facts import HISTOGRAM_BINS, Gathered

_EDGES = np.linspace(-1, 1, HISTOGRAM_BINS + 1)
_CENTERS = (_EDGES[1:] + _EDGES[:-1]) / 2
# Between dark and tissue a table rises over twice this.
_HALF_STEP = 0.05


@dataclass(frozen=True)
class IntensityMaps:
    """Tables over equal steps from -1 to 1: air stays dark, all else becomes the middle of the other's body.

    Attributes:
        to_ct: of MR values.
        to_mr: of CT values.
    """

    to_ct: tuple[float, ...]
    to_mr: tuple[float, ...]

    @classmethod
    def of(cls, mr: Gathered, ct: Gathered) -> IntensityMaps:
        """From what was seen of the cases."""
        of_mr, of_ct = (np.sum([f.whole for f in found.facts], axis=0) for found in (mr, ct))
        return cls(tuple(anchor_table(of_mr, of_ct)), tuple(anchor_table(of_ct, of_mr)))


def anchor_table(source: Iterable[float], target: Iterable[float]) -> list[float]:
    """What is dark stays dark; all else becomes the target's middle value of what is not dark.

    Nothing is said of the order of tissues: in T1-weighted MRI fat is brighter than muscle, in CT darker, so
    that every ascending map, histogram matching among them, exchanges the two.

    Args:
        source: counts of whole images in equal bins from -1 to 1.
        target: likewise.

    Returns:
        Values, one for each edge of the bins.

    Raises:
        ValueError: fewer than three different values.

    Example:
        >>> mr, ct = np.zeros(HISTOGRAM_BINS), np.zeros(HISTOGRAM_BINS)
        >>> mr[[0, 40, 120]], ct[[2, 70, 80]] = (50, 30, 20), (60, 10, 30)
        >>> table = anchor_table(mr, ct)
        >>> [round(table[edge], 2) for edge in (0, 40, 120)]
        [-1.0, 0.26, 0.26]
    """
    dark, _, border = _parts(source)
    step = float(np.clip((dark + border) / 2, -1 + 2 * _HALF_STEP, 1 - 2 * _HALF_STEP))
    low, high, _ = _parts(target)
    knots = [-1.0, step - _HALF_STEP, step + _HALF_STEP, 1.0]
    return [float(v) for v in np.interp(_EDGES, knots, [-1.0, low, high, high])]


def mapped(image: Tensor, table: Tensor) -> Tensor:
    """An image whose values went through a table, linear between its entries.

    Args:
        image: of any shape, from -1 to 1.
        table: values at equal steps from -1 to 1.

    Example:
        >>> mapped(torch.tensor([-1.0, -0.5, 1.0]), torch.tensor([-1.0, 0.0, 1.0])).tolist()
        [-1.0, -0.5, 1.0]
    """
    place = (image.clamp(-1, 1) + 1) * ((len(table) - 1) / 2)
    below = place.floor().clamp(0, len(table) - 2)
    index = below.long()
    return torch.lerp(table[index], table[index + 1], (place - below).to(table.dtype))


def _parts(counts: Iterable[float]) -> tuple[float, float, float]:
    """Medians of what is dark and of the rest, and the border: the lower one of three classes.

    With two classes it would lie between muscle and fat of an MR.
    """
    held = np.asarray(list(counts), np.float64)
    if np.count_nonzero(held) < 3:
        raise ValueError(f"expected images with three different values, got {np.count_nonzero(held)}")
    border = float(threshold_multiotsu(hist=(held, _CENTERS), classes=3)[0])
    is_dark = border >= _CENTERS
    return _median(held, is_dark), _median(held, ~is_dark), border


def _median(counts: NDArray[np.float64], part: NDArray[np.bool_]) -> float:
    below = np.cumsum(np.where(part, counts, 0.0))
    return float(_CENTERS[np.searchsorted(below, below[-1] / 2)])
