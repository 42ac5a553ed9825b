"""Where nnU-Net's sliding window puts its tiles, in an order in which a volume is finished plane by plane."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from torch import Tensor

Index = tuple[int, ...]


@dataclass(frozen=True)
class Tiling:
    """Tiles over a volume, ordered along one axis.

    Attributes:
        shape: of the volume, padded where it is smaller than a tile (z, y, x).
        size: of a tile; (1, y, x) for a network of slices.
        axis: along which tiles are ordered, 0 or 1.
        origins: first voxel of each tile.
        flat: the network sees slices.
    """

    shape: Index
    size: Index
    axis: int
    origins: tuple[Index, ...]
    flat: bool

    def __len__(self) -> int:
        return len(self.origins)

    def rows(self) -> Iterator[tuple[int, list[Index]]]:
        """Tiles of equal position along the axis: (position, origins), in ascending order."""
        for start in sorted({origin[self.axis] for origin in self.origins}):
            yield start, [origin for origin in self.origins if origin[self.axis] == start]

    def cut(self, volume: Tensor, origin: Index) -> Tensor:
        """One tile as the network wants it: (1, C, *patch), a copy of its own.

        Args:
            volume: (C, *shape).
            origin: of the tile.
        """
        part = volume[(slice(None), *(slice(o, o + n) for o, n in zip(origin, self.size, strict=True)))]
        part = part[:, 0] if self.flat else part
        return part[None].clone(memory_format=torch.contiguous_format)

    def weights(self) -> Tensor:
        """nnU-Net's Gaussian weights of a tile, of shape ``size``, in float32.

        They are rounded to float16 and never 0, as nnU-Net's are, so that the mean is the same.
        """
        patch = self.size[1:] if self.flat else self.size
        gaussian: Tensor = compute_gaussian(
            tuple(patch),
            sigma_scale=1.0 / 8,
            value_scaling_factor=10,
            dtype=torch.float16,
            device=torch.device("cpu"),
        )
        return gaussian.float().reshape(self.size)


def padded(volume: Tensor, patch_size: Sequence[int]) -> tuple[Tensor, tuple[slice, ...]]:
    """A volume that is at least as large as a patch, and where it lies in there; nnU-Net's own padding.

    Args:
        volume: (C, z, y, x).
        patch_size: of the last axes.

    Example:
        >>> larger, place = padded(torch.ones(1, 3, 2, 9), (4, 4, 4))
        >>> larger.shape, place
        (torch.Size([1, 4, 4, 9]), (slice(0, 3, None), slice(1, 3, None), slice(0, 9, None)))
    """
    larger, place = pad_nd_image(volume, tuple(patch_size), "constant", {"value": 0}, True, None)
    return larger, tuple(slice(int(s.start), int(s.stop)) for s in place[1:])


def tiling(
    shape: Sequence[int], patch_size: Sequence[int], *, step_size: float = 0.5, axis: int | None = None
) -> Tiling:
    """nnU-Net's tiles of a volume.

    Args:
        shape: (z, y, x), at least as large as a patch.
        patch_size: three numbers, or two for a network that sees slices.
        step_size: of a patch, above 0 and at most 1.
        axis: along which to go, 0 or 1; None takes the one along which less of the volume is open at a time.

    Raises:
        ValueError: the step size or the axis is out of range.

    Example:
        >>> tiles = tiling((40, 20, 20), (20, 20, 20), step_size=0.5)
        >>> tiles.axis, tiles.origins
        (0, ((0, 0, 0), (10, 0, 0), (20, 0, 0)))
    """
    if not 0 < step_size <= 1:
        raise ValueError(f"expected a step size above 0 and at most 1, got {step_size}")
    flat = len(patch_size) == 2
    size = (1, *patch_size) if flat else tuple(patch_size)
    if axis is None:
        axis = 0 if flat else _narrow_axis(shape, size)
    if axis not in (0, 1) or (flat and axis):
        raise ValueError(f"expected axis 0 (or 1 for three-dimensional patches), got {axis}")
    steps = compute_steps_for_sliding_window(
        tuple(shape[1:] if flat else shape), tuple(patch_size), step_size
    )
    positions = [range(shape[0]), *steps] if flat else steps
    origins = sorted(product(*positions), key=lambda origin: origin[axis])
    return Tiling(tuple(shape), size, axis, tuple(origins), flat)


def _narrow_axis(shape: Sequence[int], size: Sequence[int]) -> int:
    # Planes of one tile's depth are open at a time.
    open_voxels = [size[axis] * prod(shape) // shape[axis] for axis in (0, 1)]
    return open_voxels.index(min(open_voxels))
