"""Puts predictions of overlapping windows together: by the largest probability, or weighted by a Gaussian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class Merge(ABC):
    """Collects windows of one volume, in any order, into probabilities of the whole volume.

    What lies in no window is background.

    Args:
        shape: of the volume (z, y, x); windows may stick out of it.
        heads: outputs of the network: classes with background, or regions.
        has_regions: outputs are regions, each for itself.
        device: where the volume is kept.
    """

    _background = 0.0  # of a voxel before any window

    def __init__(
        self,
        shape: Sequence[int],
        *,
        heads: int,
        has_regions: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.shape = tuple(shape)
        self.heads = heads
        self.has_regions = has_regions
        self.device = torch.device(device)
        self._merged = torch.zeros((heads, *self.shape), device=self.device)
        # The first of the heads that are foreground.
        self._first = 0 if has_regions else 1
        self._merged[: self._first] = self._background

    @abstractmethod
    def add(self, logits: Tensor, origin: Sequence[int]) -> None:
        """Take a window in.

        Args:
            logits: (heads, z, y, x), what the network says.
            origin: of the window in the volume.
        """

    @abstractmethod
    def probabilities(self) -> Tensor:
        """(heads, Z, Y, X) in float32; without regions the first is background."""

    def _part(
        self, size: Sequence[int], origin: Sequence[int]
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Where a window lies in the volume, and what of the window lies there."""
        low = [max(o, 0) for o in origin]
        high = [min(o + n, end) for o, n, end in zip(origin, size, self.shape, strict=True)]
        volume = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        window = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, origin, strict=True))
        return (slice(None), *volume), (slice(None), *window)

    def _activated(self, logits: Tensor) -> Tensor:
        values = logits.to(self.device, torch.float32)
        return values.sigmoid() if self.has_regions else values.softmax(0)


class MaximumMerge(Merge):
    """The largest foreground probability of all windows that hold a voxel (paper 000).

    Windows may come in any order and more than once: the result is the same to the bit. It must not be
    resampled as logits: where no window lies the probability is 0, and its logarithm has no end.

    Difference from the paper, which has one class: with several, each takes its own maximum and background
    its minimum. With one class that is the same. (What the likeliest class leaves is no measure of
    background: a voxel that two classes share would fall to it.)

    Example:
        >>> merge = MaximumMerge((1, 1, 3), heads=2)
        >>> merge.add(torch.tensor([[[[0.0, 0.0]]], [[[0.0, 2.2]]]]), (0, 0, 0))
        >>> merge.add(torch.tensor([[[[0.0]]], [[[-2.2]]]]), (0, 0, 1))
        >>> [round(p, 1) for p in merge.probabilities()[1].flatten().tolist()]
        [0.5, 0.9, 0.0]
    """

    _background = 1.0

    def add(self, logits: Tensor, origin: Sequence[int]) -> None:
        """As :meth:`Merge.add`."""
        volume, window = self._part(logits.shape[1:], origin)
        probabilities = self._activated(logits[window])
        part = self._merged[volume]
        first = self._first
        part[first:] = torch.maximum(part[first:], probabilities[first:])
        part[:first] = torch.minimum(part[:first], probabilities[:first])

    def probabilities(self) -> Tensor:
        """As :meth:`Merge.probabilities`; of several classes they need not add up to 1."""
        return self._merged


class GaussianMerge(Merge):
    """The mean over windows, weighted by how far a voxel is from a window's border, as nnU-Net merges.

    nnU-Net takes the mean of logits; here it is that of probabilities, which can also be said of voxels that
    lie in no window.

    Args:
        shape: of the volume.
        weights: (z, y, x) of a window, above 0; nnU-Net's ``compute_gaussian``.
        heads: outputs of the network.
        has_regions: outputs are regions.
        device: where the volume is kept.

    Example:
        >>> merge = GaussianMerge((1, 1, 3), weights=torch.ones(1, 1, 2), heads=2)
        >>> for origin in ((0, 0, 0), (0, 0, 1)):
        ...     merge.add(torch.zeros(2, 1, 1, 2), origin)
        >>> merge.probabilities()[1].flatten().tolist()
        [0.5, 0.5, 0.5]
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        weights: Tensor,
        heads: int,
        has_regions: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(shape, heads=heads, has_regions=has_regions, device=device)
        self._weights = weights.to(self.device, torch.float32)[None]
        self._weight = torch.zeros((1, *self.shape), device=self.device)

    def add(self, logits: Tensor, origin: Sequence[int]) -> None:
        """As :meth:`Merge.add`."""
        volume, window = self._part(logits.shape[1:], origin)
        probabilities = self._activated(logits[window])
        weights = self._weights[window]
        self._merged[volume] += weights * probabilities
        self._weight[volume] += weights

    def probabilities(self) -> Tensor:
        """As :meth:`Merge.probabilities`."""
        merged = self._merged / self._weight.clamp(min=torch.finfo(torch.float32).tiny)
        # What foreground leaves: everything, where no window was.
        merged[: self._first] = 1 - merged[self._first :].sum(0, keepdim=True)
        return merged
