"""Sums of overlapping tiles in a slab that rolls along a volume: planes leave it as soon as they are done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class Slab:
    """Weighted mean of tiles, held only for the planes that a later tile may still touch.

    Memory is heads x depth of a tile x plane, not heads x volume. Sums are float32; nnU-Net's are float16.

    Args:
        shape: of the volume (planes, rows, columns).
        depth: planes of a tile.
        heads: outputs of the network.
        device: where the sums are kept.

    Example:
        >>> slab = Slab((3, 1, 1), depth=2, heads=1)
        >>> one = torch.ones(1, 2, 1, 1)
        >>> slab.add(one, weights=one[0], origin=(0, 0, 0))
        >>> done = [plane.item() for plane in slab.planes(1)]
        >>> slab.add(3 * one, weights=one[0], origin=(1, 0, 0))
        >>> done + [plane.item() for plane in slab.planes(3)]
        [1.0, 2.0, 3.0]
    """

    def __init__(
        self, shape: Sequence[int], *, depth: int, heads: int, device: torch.device | str = "cpu"
    ) -> None:
        self.shape = tuple(shape)
        self.depth = depth
        self._first = 0  # plane that leaves next; plane n is kept at n % depth
        self._sums = torch.zeros((heads, depth, *self.shape[1:]), device=device)
        self._weights = torch.zeros((depth, *self.shape[1:]), device=device)

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self._sums.nbytes + self._weights.nbytes

    def add(self, logits: Tensor, *, weights: Tensor, origin: Sequence[int]) -> None:
        """Take a tile in.

        Args:
            logits: (heads, *size).
            weights: (*size).
            origin: of the tile in the volume.

        Raises:
            ValueError: the tile reaches planes that have left, or that the slab does not hold yet.
        """
        planes = logits.shape[1]
        if origin[0] < self._first or origin[0] + planes > self._first + self.depth:
            raise ValueError(
                f"expected a tile of planes {self._first} to {self._first + self.depth - 1}, got "
                f"{origin[0]} to {origin[0] + planes - 1}"
            )
        plane_part = tuple(slice(o, o + n) for o, n in zip(origin[1:], logits.shape[2:], strict=True))
        start = origin[0] % self.depth
        before_wrap = min(planes, self.depth - start)
        for tile, kept in (
            (slice(0, before_wrap), slice(start, start + before_wrap)),
            (slice(before_wrap, planes), slice(0, planes - before_wrap)),
        ):
            if tile.start < tile.stop:
                self._sums[(slice(None), kept, *plane_part)].addcmul_(logits[:, tile], weights[None, tile])
                self._weights[(kept, *plane_part)].add_(weights[tile])

    def planes(self, until: int) -> Iterator[Tensor]:
        """Means of the planes before ``until``, each (heads, rows, columns); they leave the slab.

        Raises:
            FloatingPointError: a mean is not finite.
        """
        while self._first < min(until, self.shape[0]):
            kept = self._first % self.depth
            mean = self._sums[:, kept] / self._weights[kept]
            if not torch.isfinite(mean.sum()):
                raise FloatingPointError(
                    f"the network's output is not finite (plane {self._first}); --precision float32 may help"
                )
            self._sums[:, kept] = 0
            self._weights[kept] = 0
            self._first += 1
            yield mean
