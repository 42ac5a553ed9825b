"""Tiles of one intensity: the network answers them alike, so it is asked once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

# Answers that are kept; each is as large as a tile's logits. A CT has one constant, that of clipped air.
_KEPT = 2


class ConstantTiles:
    """Answers tiles whose channels are constant from memory; all others by the network.

    nnU-Net clips CT at percentiles of the foreground, so air around the patient has one value, also after
    resampling: ringing of cubic splines falls by 0.27 a voxel, and some 15 voxels of the image away nothing
    of it is left in float32 (a test measures it). Images whose air is noise (MRI) have no constant tiles.

    With tolerance 0 a tile must be constant to the bit, and its answer is what the network would say, to
    the bit: the bound of the change is zero. Above 0 the network would have seen other numbers. It may then
    answer anything, since instance normalization makes small differences in a flat tile large; so such an
    answer is taken only where it is background everywhere, by a margin.

    Args:
        forward: (1, C, *patch) -> (1, heads, *patch).
        tolerance: largest difference of a voxel from the constant, in normalized intensities.
        has_regions: heads are regions, not classes.
        margin: of the background's logit over all others, for tolerances above 0.

    Example:
        >>> tiles = ConstantTiles(lambda tile: tile * 2)
        >>> tiles(torch.ones(1, 1, 2, 2)).sum().item(), tiles(torch.ones(1, 1, 2, 2)).sum().item()
        (8.0, 8.0)
        >>> tiles.asked, tiles.reused
        (1, 1)
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        *,
        tolerance: float = 0.0,
        has_regions: bool = False,
        margin: float = 1.0,
    ) -> None:
        if tolerance < 0:
            raise ValueError(f"expected a tolerance of 0 or more, got {tolerance}")
        self._forward = forward
        self._tolerance = tolerance
        self._has_regions = has_regions
        self._margin = margin
        self._answers: OrderedDict[tuple[float, ...], Tensor] = OrderedDict()
        self.asked = 0
        self.reused = 0

    def __call__(self, tile: Tensor) -> Tensor:
        """Logits of one tile.

        Args:
            tile: (1, C, *patch).

        Returns:
            (1, heads, *patch); not to be changed in place.
        """
        channels = tile.flatten(2)[0]
        low, high = channels.amin(1), channels.amax(1)
        if self._tolerance == 0:
            if not torch.equal(low, high):
                return self._ask(tile)
            return self._of_constant(tile, tuple(low.tolist()))
        return self._nearly_constant(tile, low, high)

    def _ask(self, tile: Tensor) -> Tensor:
        self.asked += 1
        return self._forward(tile)

    def _of_constant(self, tile: Tensor, constant: tuple[float, ...]) -> Tensor:
        found = self._answers.get(constant)
        if found is not None:
            self.reused += 1
            self._answers.move_to_end(constant)
            return found
        answer = self._answers[constant] = self._ask(tile)
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        return answer

    def _nearly_constant(self, tile: Tensor, low: Tensor, high: Tensor) -> Tensor:
        for constant in list(self._answers):
            center = torch.tensor(constant, dtype=low.dtype)
            if torch.maximum(high - center, center - low).max() <= self._tolerance:
                if not torch.equal(low, high) and not self._is_background(self._answers[constant]):
                    return self._ask(tile)
                self.reused += 1
                return self._answers[constant]
        if torch.equal(low, high):
            return self._of_constant(tile, tuple(low.tolist()))
        return self._ask(tile)

    def _is_background(self, logits: Tensor) -> bool:
        if self._has_regions:
            return bool((logits <= -self._margin).all())
        return bool((logits[:, :1] >= logits[:, 1:] + self._margin).all())
