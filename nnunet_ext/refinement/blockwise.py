"""A refiner over a whole case in bounded memory; the result is that of one pass over everything.

``local`` sees three voxels beyond a voxel; the spatial convolutions see far, but on cells, which are few. So
``local`` is computed in blocks with a halo of three voxels and kept on disk, its cells are kept in memory,
and the product is taken block by block: no block has the whole reach as its halo.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nnunet_ext.networks.scn import RefineSCN, cropped

Box = tuple[slice, ...]

# Of blocks, in voxels that the local convolutions see: 64 channels of (80 + 6)^3 take 160 MB, and the halo
# adds a quarter to the work.
BLOCK = 80
# Of blocks in voxels of the case, where a coarser local grid would make them large: values of all outputs.
BLOCK_VALUES = 64 * 86**3
CELL_BLOCK = 96


@torch.inference_mode()
def refined_probabilities(
    network: RefineSCN,
    probabilities: NDArray[np.float16],
    *,
    file: Path,
    device: torch.device | str = "cpu",
    block: int = BLOCK,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Refined probabilities of a case.

    Args:
        network: trained.
        probabilities: (L, z, y, x) of the first network; may be mapped from disk.
        file: ``.npy`` for the result, as large as the case in float32.
        device: where to compute.
        block: edge of blocks, in voxels of the local grid.
        progress: show a bar of blocks.

    Returns:
        (L, z, y, x), mapped from the file: a softmax over classes, or a sigmoid of each region.
    """
    network = network.to(device).eval()
    shape = probabilities.shape[1:]
    result = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=probabilities.shape)
    counts = [-(-n // f) for n, f in zip(shape, network.factor, strict=True)]
    cells = torch.empty((len(probabilities), *counts))
    sizes = block_sizes(network, block=block)
    boxes = list(_boxes(shape, sizes))
    for box in tqdm(boxes, desc="Refine", disable=not progress, unit="block", leave=False):
        local = _with_halo(network.local, probabilities, box, network.local_reach, device)
        result[(slice(None), *box)] = local[0].cpu().numpy()
        cells[(slice(None), *_cells_of(box, network.factor))] = network.cells(local)[0].cpu()
    spatial = torch.empty_like(cells)
    for box in _boxes(cells.shape[1:], [CELL_BLOCK] * 3):
        answer = _with_halo(network.spatial, cells.numpy(), box, network.spatial_reach_cells, device)
        spatial[(slice(None), *box)] = answer[0].cpu()
    for box in boxes:
        local = _loaded(result, box, device)
        logits = local * _upsampled(network, spatial, box, device)
        answer = torch.sigmoid(logits) if network.has_regions else torch.softmax(logits, 1)
        result[(slice(None), *box)] = answer[0].cpu().numpy()
    return result


def block_sizes(network: RefineSCN, *, block: int = BLOCK) -> list[int]:
    """Edges of blocks in voxels of the case, multiples of a cell's, in bounded memory for any local grid.

    Example:
        >>> block_sizes(RefineSCN(8)), block_sizes(RefineSCN(8, local_grid=(4, 4, 4)))
        ([80, 80, 80], [172, 172, 172])
    """
    edges = [block * g for g in network.local_grid]
    values = network.channels * math.prod(edges)
    less = min(1.0, (BLOCK_VALUES / values) ** (1 / 3))
    return [_multiple(int(edge * less + 1e-6), f) for edge, f in zip(edges, network.factor, strict=True)]


def _with_halo(
    function: Callable[[Tensor], Tensor],
    volume: NDArray[Any],
    box: Box,
    halo: Sequence[int],
    device: torch.device | str,
) -> Tensor:
    """A function of a box that sees ``halo`` voxels beyond it, and at the volume's edges nothing."""
    outer = tuple(
        slice(max(0, s.start - h), min(n, s.stop + h))
        for s, h, n in zip(box, halo, volume.shape[1:], strict=True)
    )
    answer = function(_loaded(volume, outer, device))
    inner = tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))
    return answer[(slice(None), slice(None), *inner)]


def _loaded(volume: NDArray[Any], box: Box, device: torch.device | str) -> Tensor:
    part = np.ascontiguousarray(volume[(slice(None), *box)], np.float32)
    return torch.from_numpy(part)[None].to(device)


def _upsampled(network: RefineSCN, spatial: Tensor, box: Box, device: torch.device | str) -> Tensor:
    """Spatial configuration of a box of voxels: its cells and one more on each side are upsampled."""
    inner = _cells_of(box, network.factor)
    outer = tuple(
        slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(inner, spatial.shape[1:], strict=True)
    )
    large = network.upsampled(spatial[(slice(None), *outer)][None].to(device))
    skipped = [(i.start - o.start) * f for i, o, f in zip(inner, outer, network.factor, strict=True)]
    return cropped(large[..., skipped[0] :, skipped[1] :, skipped[2] :], [s.stop - s.start for s in box])


def _boxes(shape: Sequence[int], sizes: Sequence[int]) -> Iterator[Box]:
    ranges = [range(0, n, size) for n, size in zip(shape, sizes, strict=True)]
    for origin in product(*ranges):
        yield tuple(slice(o, min(o + s, n)) for o, s, n in zip(origin, sizes, shape, strict=True))


def _cells_of(box: Box, factor: Sequence[int]) -> Box:
    """The cells of a box that begins at a cell's first voxel."""
    return tuple(slice(s.start // f, -(-s.stop // f)) for s, f in zip(box, factor, strict=True))


def _multiple(number: int, factor: int) -> int:
    return max(factor, number // factor * factor)
