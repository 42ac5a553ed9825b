"""One pass of the sliding window over a volume: mean logits, plane by plane."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from nnunet_ext.inference.constant import ConstantTiles
from nnunet_ext.inference.slabs import Slab
from nnunet_ext.inference.tiles import Tiling


class Window:
    """One pass of the sliding window over a volume.

    Args:
        volume: (C, z, y, x), padded to a patch at least.
        place: where the case lies in it.
        tiles: the tiles.
        forward: tile -> logits.
        heads: outputs of the network.
        device: where sums are kept.
        progress: show a bar.

    Attributes:
        seconds: so far, for the network and the sums.
    """

    def __init__(
        self,
        volume: Tensor,
        *,
        place: tuple[slice, ...],
        tiles: Tiling,
        forward: ConstantTiles,
        heads: int,
        device: torch.device,
        progress: bool = False,
    ) -> None:
        self.volume = volume
        self.place = place
        self.tiles = tiles
        self.answers = forward
        self.heads = heads
        self.device = device
        self.progress = progress
        self.seconds = 0.0

    def planes(self) -> Iterator[Tensor]:
        """Mean logits of the case's planes along the tiles' axis, (heads, rows, columns), without padding."""
        axis, size, shape = self.tiles.axis, self.tiles.size, self.tiles.shape
        order = (axis, 1 - axis, 2)
        slab = Slab([shape[a] for a in order], depth=size[axis], heads=self.heads, device=self.device)
        weights = self.tiles.weights().permute(order).contiguous().to(self.device)
        wanted, rows, columns = (self.place[a] for a in order)
        number = 0
        with tqdm(total=len(self.tiles), disable=not self.progress, unit="tile", leave=False) as bar:
            for start, origins in [*self.tiles.rows(), (shape[axis], [])]:
                for plane in self._timed(slab.planes(start)):
                    if wanted.start <= number < wanted.stop:
                        yield plane[:, rows, columns]
                    number += 1
                began = time.perf_counter()
                for origin in origins:
                    logits = self.answers(self.tiles.cut(self.volume, origin))[0]
                    logits = logits[:, None] if self.tiles.flat else logits
                    slab.add(
                        logits.permute(0, *(a + 1 for a in order)),
                        weights=weights,
                        origin=[origin[a] for a in order],
                    )
                    bar.update()
                self.seconds += time.perf_counter() - began

    def _timed(self, planes: Iterator[Tensor]) -> Iterator[Tensor]:
        while True:
            began = time.perf_counter()
            plane = next(planes, None)
            self.seconds += time.perf_counter() - began
            if plane is None:
                return
            yield plane
