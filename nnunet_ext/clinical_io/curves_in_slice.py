"""Curves of one structure in one slice: which lie in each other, which only touch, and which cross."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter
from skimage.draw import polygon

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
# What becomes of curves that cross: nobody can tell parts to be united from a hole that slipped.
Crossing = Literal["refuse", "union", "xor"]
# Counted: pairs of curves that cross, voxels that they share, slices with one; voxels of curves that touch.
CROSSING, SHARED, SLICES, TOUCHING = "crossing", "shared", "slices", "touching"

# Rounding moves a curve by far less than a voxel, so what is narrower than one says nothing. With this many
# samples a voxel along each axis, whatever is 1 voxel wide is found and nothing that is under 0.75.
_SAMPLES = 4


@dataclass(frozen=True)
class Area:
    """What one curve encloses in its slice.

    Attributes:
        points: (N, 2) array, x and y in voxels; the last is joined to the first.
        voxels: the voxels whose centers are inside, as indices of the flattened slice.
        is_xor: DICOM says of the kind of the curve that it is combined by exclusive or.
    """

    points: FloatArray
    voxels: NDArray[np.intp]
    is_xor: bool = False

    @classmethod
    def of(cls, points: FloatArray, *, shape: tuple[int, int], is_xor: bool = False) -> Area:
        """The area of a curve in a slice of a shape (rows, columns)."""
        rows, columns = polygon(points[:, 1], points[:, 0], shape=shape)
        return cls(points, rows * shape[1] + columns, is_xor)


def combined(
    areas: Sequence[Area], *, shape: tuple[int, int], crossing: Crossing
) -> tuple[BoolArray, Counter[str]]:
    """The voxels of a structure in one slice, by the even-odd rule.

    Two curves cross where neither lies in the other though they share more than rounding explains: a place
    as wide as a voxel.

    Args:
        areas: of its curves.
        shape: of the slice, (rows, columns).
        crossing: ``"union"`` makes one area of curves that cross before the rule is applied; else it is
            applied to them, too.

    Returns:
        The voxels; and counts of ``CROSSING``, ``SHARED``, ``SLICES`` and ``TOUCHING``.

    Example:
        >>> squares = [np.array([[a, a], [a + 4, a], [a + 4, a + 4], [a, a + 4]]) + 0.5 for a in (0, 2)]
        >>> areas = [Area.of(square, shape=(8, 8)) for square in squares]
        >>> [int(combined(areas, shape=(8, 8), crossing=how)[0].sum()) for how in ("xor", "union")]
        [24, 28]
        >>> combined(areas, shape=(8, 8), crossing="xor")[1][CROSSING]
        1
    """
    seen: Counter[str] = Counter()
    groups = {number: {number} for number in range(len(areas))}
    for first, second, shared in _sharing(areas, shape):
        relation = _relation(areas[first].points, areas[second].points, shape)
        if relation == "touching":
            seen[TOUCHING] += shared
        elif relation == "crossing":
            seen.update({CROSSING: 1, SHARED: shared})
            if crossing == "union":
                joined = groups[first] | groups[second]
                groups |= dict.fromkeys(joined, joined)
    seen[SLICES] = int(seen[CROSSING] > 0)
    inside = np.zeros(shape, bool)
    for number, group in groups.items():
        if number == min(group):
            inside.ravel()[np.unique(np.concatenate([areas[n].voxels for n in group]))] ^= True
    return inside, seen


def _sharing(areas: Sequence[Area], shape: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Pairs of areas that share voxels, with how many; without holes, which most pairs are."""
    voxels = [area.voxels for area in areas]
    if not voxels or np.bincount(np.concatenate(voxels), minlength=1).max() < 2:
        return
    order = sorted(range(len(areas)), key=lambda number: -voxels[number].size)
    for place, large in enumerate(order):
        inside = np.zeros(shape, bool).ravel()
        inside[voxels[large]] = True
        for small in order[place + 1 :]:
            shared = int(np.count_nonzero(inside[voxels[small]]))
            is_hole = shared == voxels[small].size and 2 * shared <= voxels[large].size
            if shared and not is_hole and not (areas[large].is_xor and areas[small].is_xor):
                yield large, small, shared


def _relation(
    first: FloatArray, second: FloatArray, shape: tuple[int, int]
) -> Literal["touching", "nested", "crossing"]:
    """How two curves lie to each other, told by finer samples than voxels."""
    corners = np.concatenate([first, second])
    low = np.maximum(np.floor(corners.min(axis=0)), -0.5)
    high = np.minimum(np.ceil(corners.max(axis=0)), np.array(shape[::-1]) - 0.5)
    one, other = (_samples(points, low, high) for points in (first, second))
    if not _holds_a_voxel(one & other):
        return "touching"
    rests = one & ~other, other & ~one
    wide = [_holds_a_voxel(rest) for rest in rests]
    if any(wide):
        return "crossing" if all(wide) else "nested"
    # As good as equal: a thin wall, if one is inside the other; else one curve that was drawn twice.
    return "nested" if rests[0].any() != rests[1].any() else "crossing"


def _samples(points: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    """Which samples of a window (x and y in voxels, from low to high) lie inside a curve, by even-odd."""
    columns, rows = ((high - low) * _SAMPLES).astype(int) + 1
    start = (points - low) * _SAMPLES
    end = np.roll(start, -1, axis=0)
    upper, lower = np.where(start[:, 1:] < end[:, 1:], (start, end), (end, start))
    first, last = (np.clip(np.ceil(y), 0, rows).astype(int) for y in (upper[:, 1], lower[:, 1]))
    edge = np.repeat(np.arange(len(points)), last - first)
    row = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
    run = (lower - upper)[edge]
    x = upper[edge, 0] + (row - upper[edge, 1]) * run[:, 0] / run[:, 1]
    turns = np.zeros((rows, columns + 1), np.uint8)
    np.bitwise_xor.at(turns, (row, np.clip(np.ceil(x), 0, columns).astype(int)), 1)
    return np.bitwise_xor.accumulate(turns, axis=1)[:, :columns].astype(bool)


def _holds_a_voxel(samples: BoolArray) -> bool:
    """True where a square as wide as a voxel fits in."""
    return bool(minimum_filter(samples.view(np.uint8), size=_SAMPLES, mode="constant").any())
