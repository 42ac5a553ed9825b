"""Histogram matching as a map of single values: where generators may begin, in place of random numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.translation.facts import HISTOGRAM_BINS, Gathered

_EDGES = np.linspace(-1, 1, HISTOGRAM_BINS + 1)


@dataclass(frozen=True)
class IntensityMaps:
    """Tables over equal steps from -1 to 1 that give bodies of one domain the histogram of the other's.

    Attributes:
        to_ct: of MR values.
        to_mr: of CT values.
    """

    to_ct: tuple[float, ...]
    to_mr: tuple[float, ...]

    @classmethod
    def of(cls, mr: Gathered, ct: Gathered) -> IntensityMaps:
        """From what was seen of the cases."""
        of_mr, of_ct = (np.sum([f.histogram for f in found.facts], axis=0) for found in (mr, ct))
        return cls(tuple(matching_table(of_mr, of_ct)), tuple(matching_table(of_ct, of_mr)))


def matching_table(source: Iterable[float], target: Iterable[float]) -> list[float]:
    """Where each edge of the source's bins goes: as many voxels lie below it as in the target.

    -1 stays -1 and 1 stays 1, straight from there to where the body begins and ends.

    Args:
        source: counts in equal bins from -1 to 1.
        target: likewise.

    Returns:
        Ascending values, one for each edge.

    Example:
        >>> bins = np.zeros(HISTOGRAM_BINS)
        >>> low, high = bins.copy(), bins.copy()
        >>> low[64:96], high[96:128] = 1, 1
        >>> table = matching_table(low, high)
        >>> [round(table[edge], 3) for edge in (0, 64, 80, 96)]
        [-1.0, 0.5, 0.75, 1.0]
    """
    ranks, of_source = _body(source)
    wanted, of_target = _body(target)
    # Empty bins within a body have edges of equal rank, which would leave open where a value goes.
    ascending = wanted + 1e-9 * np.arange(len(wanted))
    matched = np.interp(ranks, ascending, of_target)
    return [float(v) for v in np.interp(_EDGES, [-1.0, *of_source, 1.0], [-1.0, *matched, 1.0])]


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


def _body(counts: Iterable[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From the first bin to the last that holds any: share of voxels below each edge, and the edges."""
    held = np.asarray(list(counts), np.float64)
    share = np.concatenate([[0.0], np.cumsum(held) / held.sum()])
    filled = np.flatnonzero(held)
    body = slice(int(filled[0]), int(filled[-1]) + 2)
    return share[body], _EDGES[body]
