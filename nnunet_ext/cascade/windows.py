"""Windows of one size in a volume: where they lie, what they cover, how much of a reference is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Index = tuple[int, ...]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Windows in one volume, in a fixed order.

    Attributes:
        origins: (N, 3) array, first voxel (z, y, x) of each. Negative where the volume is smaller than a
            window: it then lies in the middle of the window.
        size: (z, y, x) in voxels.
        shape: of the volume.
    """

    origins: IntArray
    size: Index
    shape: Index

    def __len__(self) -> int:
        return len(self.origins)

    def slices(self) -> Iterator[tuple[slice, ...]]:
        """Each window's part of the volume.

        Example:
            >>> list(Windows(np.array([[-1, 2, 0]]), (4, 4, 4), (2, 9, 9)).slices())
            [(slice(0, 2, None), slice(2, 6, None), slice(0, 4, None))]
        """
        for origin in self.origins.tolist():
            yield tuple(
                slice(max(low, 0), min(low + n, end))
                for low, n, end in zip(origin, self.size, self.shape, strict=True)
            )

    def covered(self) -> NDArray[np.bool_]:
        """Mask of the voxels that lie in a window."""
        mask = np.zeros(self.shape, bool)
        for part in self.slices():
            mask[part] = True
        return mask


def no_windows(size: Sequence[int], shape: Sequence[int]) -> Windows:
    """None at all, as where nothing was found.

    Example:
        >>> len(no_windows((8, 8, 8), (20, 20, 20)))
        0
    """
    return Windows(np.zeros((0, 3), np.int64), tuple(size), tuple(shape))


def centered(centers: ArrayLike, *, size: Sequence[int], shape: Sequence[int]) -> IntArray:
    """Origins of windows around voxels, moved into the volume where they would stick out.

    A window of even size reaches from ``center - size / 2`` to ``center + size / 2 - 1``.

    Args:
        centers: (N, 3) array of voxels.
        size: of the windows.
        shape: of the volume.

    Returns:
        (N, 3) array.

    Example:
        >>> centered([[16, 3, 30]], size=(32, 32, 32), shape=(40, 40, 20)).tolist()
        [[0, 0, -6]]
    """
    return clamped(np.asarray(centers, np.int64).reshape(-1, 3) - np.array(size) // 2, size=size, shape=shape)


def clamped(origins: ArrayLike, *, size: Sequence[int], shape: Sequence[int]) -> IntArray:
    """Origins moved so that windows lie in the volume; a larger one is centered on it."""
    room = np.array(shape) - np.array(size)
    low = np.where(room < 0, -(-room // 2), 0)
    moved: IntArray = np.clip(np.asarray(origins, np.int64), low, np.maximum(room, low))
    return moved


def jittered(windows: Windows, *, reach: Sequence[int], rng: np.random.Generator) -> Windows:
    """The same windows, each moved at random, for training: an object is not always in the middle.

    Args:
        windows: to be moved; they stay in the volume.
        reach: largest offset along each axis, in voxels.
        rng: where the offsets come from.

    Example:
        >>> once = Windows(np.array([[10, 10, 10]]), (8, 8, 8), (40, 40, 40))
        >>> moved = jittered(once, reach=(0, 4, 4), rng=np.random.default_rng(0))
        >>> int(moved.origins[0, 0]), bool((abs(moved.origins - once.origins) <= 4).all())
        (10, True)
    """
    reach_vox = np.array(reach)
    offsets = rng.integers(-reach_vox, reach_vox + 1, size=windows.origins.shape)
    origins = clamped(windows.origins + offsets, size=windows.size, shape=windows.shape)
    return Windows(origins, windows.size, windows.shape)


def recall_ceiling(reference: NDArray[Any], windows: Windows) -> float:
    """How much of a reference lies in windows: what a network that looks nowhere else can reach at most.

    Args:
        reference: mask (Z, Y, X).
        windows: in the same volume.

    Returns:
        From 0 to 1; nan for an empty reference.

    Raises:
        ValueError: the volumes differ in shape.

    Example:
        >>> tube = np.zeros((4, 4, 20), bool)
        >>> tube[2, 2] = True
        >>> recall_ceiling(tube, Windows(np.array([[0, 0, 0]]), (4, 4, 5), (4, 4, 20)))
        0.25
    """
    if reference.shape != windows.shape:
        raise ValueError(f"expected a reference of shape {windows.shape}, got {reference.shape}")
    mask = np.asarray(reference, bool)
    total = int(np.count_nonzero(mask))
    if not total:
        return float("nan")
    outside = mask.copy()
    for part in windows.slices():
        outside[part] = False
    return 1 - int(np.count_nonzero(outside)) / total
