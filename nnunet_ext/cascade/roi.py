"""One box of fixed size around an organ (papers 001 and 003), or around a group of organs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnunet_ext.cascade.windows import Windows, clamped, no_windows
from nnunet_ext.evaluation.boxes import box_of


@dataclass(frozen=True)
class Group:
    """Structures that one box is meant to hold.

    Attributes:
        name: of the group.
        labels: values in the coarse label map.
        size: of the box, (z, y, x) in voxels.

    Raises:
        ValueError: it has no labels, or the background, or a size that is no box.

    Example:
        >>> Group("lens", (3, 4), (32, 96, 96)).labels
        (3, 4)
    """

    name: str
    labels: tuple[int, ...]
    size: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not self.labels or min(self.labels) < 1:
            raise ValueError(f"group {self.name}: expected labels above 0, got {self.labels}")
        if len(self.size) != 3 or min(self.size) < 1:
            raise ValueError(f"group {self.name}: expected three sizes above 0, got {self.size}")


def roi_windows(mask: NDArray[Any], *, size: Sequence[int], largest: bool = True) -> Windows:
    """The box around an organ: centered on the box that just holds it, moved into the volume.

    Where the organ is larger than a box, several that overlap evenly.

    Args:
        mask: coarse segmentation of the organ or group (Z, Y, X).
        size: of the box in voxels.
        largest: only the largest component counts, the others being mistakes of the coarse network; False
            holds them all, as for a group of organs.

    Returns:
        At least one window; none for an empty mask.

    Raises:
        ValueError: the mask is not of three dimensions.

    Example:
        >>> organ = np.zeros((40, 40, 40), bool)
        >>> organ[10:14, 20:26, 4:8] = organ[30, 30, 30] = True
        >>> roi_windows(organ, size=(8, 8, 8)).origins.tolist()
        [[8, 19, 2]]
        >>> organ[10:12, 10:12, 4:36] = True
        >>> roi_windows(organ, size=(16, 16, 16)).origins[:, 2].tolist()
        [4, 12, 20]
    """
    if mask.ndim != 3 or len(size) != 3:
        raise ValueError(
            f"expected a volume and a box of three dimensions, got {mask.shape} and {tuple(size)}"
        )
    bounds = _bounds(np.asarray(mask, bool), largest=largest)
    if bounds is None:
        return no_windows(size, mask.shape)
    along = [_starts(low, high, n) for (low, high), n in zip(bounds, size, strict=True)]
    origins = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)
    moved = clamped(origins, size=size, shape=mask.shape)
    # At the volume's edge two boxes may come to lie on each other.
    kept = np.unique(moved, axis=0)
    return Windows(kept, tuple(size), mask.shape)


def group_windows(labels: NDArray[Any], group: Group) -> Windows:
    """The windows of a group in a coarse label map: the largest component of each of its labels counts.

    Example:
        >>> coarse = np.zeros((20, 20, 60), np.uint8)
        >>> coarse[8:12, 8:12, 10:14], coarse[8:12, 8:12, 40:44] = 3, 4
        >>> len(group_windows(coarse, Group("lens", (3, 4), (16, 16, 48))))
        1
    """
    return roi_windows(group_mask(labels, group.labels), size=group.size, largest=False)


def group_mask(labels: NDArray[Any], values: Sequence[int]) -> NDArray[np.bool_]:
    """The largest component of each of some labels.

    Example:
        >>> group_mask(np.array([[[1, 1, 0, 1, 0, 2]]]), [1, 2]).astype(int).tolist()
        [[[1, 1, 0, 0, 0, 1]]]
    """
    mask = np.zeros(labels.shape, bool)
    for value in values:
        mask |= _largest_component(labels == value)
    return mask


def relative_center(
    mask: NDArray[Any], body: NDArray[Any], *, largest: bool = True
) -> tuple[float, ...] | None:
    """Where an organ lies in the box of the body, from 0 to 1 along each axis; None where it is not.

    The mean over training cases is where a box goes when the coarse network finds nothing.

    Args:
        mask: of the organ (Z, Y, X).
        body: of the patient in the same volume, with at least one voxel.
        largest: only the largest component of the organ counts.

    Raises:
        ValueError: there is no body.

    Example:
        >>> body = np.ones((11, 11, 11), bool)
        >>> organ = np.zeros_like(body)
        >>> organ[5, 0, 10] = True
        >>> relative_center(organ, body)
        (0.5, 0.0, 1.0)
    """
    around = _bounds(np.asarray(body, bool), largest=False)
    if around is None:
        raise ValueError("expected a body to measure in, got an empty mask")
    bounds = _bounds(np.asarray(mask, bool), largest=largest)
    if bounds is None:
        return None
    return tuple(
        float(((low + high - 1) / 2 - first) / max(last - 1 - first, 1))
        for (low, high), (first, last) in zip(bounds, around, strict=True)
    )


def fallback_window(relative: ArrayLike, body: NDArray[Any], *, size: Sequence[int]) -> Windows:
    """The box at a relative position in the body, for a case in which nothing was found.

    Args:
        relative: of :func:`relative_center`.
        body: mask of the patient; where it is empty, the whole volume.
        size: of the box.

    Example:
        >>> fallback_window((0.5, 0.5, 0.5), np.ones((21, 21, 21), bool), size=(4, 4, 4)).origins.tolist()
        [[8, 8, 8]]
    """
    around = _bounds(np.asarray(body, bool), largest=False) or [(0, n) for n in body.shape]
    centers = [
        first + part * (last - 1 - first)
        for part, (first, last) in zip(np.asarray(relative).tolist(), around, strict=True)
    ]
    origin = [round(center - n / 2) for center, n in zip(centers, size, strict=True)]
    return Windows(clamped([origin], size=size, shape=body.shape), tuple(size), body.shape)


def _starts(low: int, high: int, size: int) -> list[int]:
    """First voxels of boxes that hold low to high (excluded): one in the middle, or several."""
    extent = high - low
    if extent <= size:
        return [low - (size - extent) // 2]
    # One more than would just do, so that they overlap and no border runs through the middle of an organ.
    count = -(-extent // size) + 1
    return [round(low + step * (extent - size) / (count - 1)) for step in range(count)]


def _bounds(mask: NDArray[np.bool_], *, largest: bool) -> list[tuple[int, int]] | None:
    """First voxel and the one after the last along each axis; None of an empty mask."""
    box = box_of(_largest_component(mask) if largest else mask)
    return None if box is None else [(side.start, side.stop) for side in box]


def _largest_component(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The component with most voxels, the first of equal ones; 26 neighbors."""
    from scipy import ndimage

    components, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(components.ravel())
    largest: NDArray[np.bool_] = components == int(sizes[1:].argmax()) + 1
    return largest
