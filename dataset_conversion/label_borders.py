"""How well the borders of a label meet the edges of an image, however the label is laid onto it.

A face lies between two neighboring voxels with different numbers. Along its normal the image's step across
the face is compared with the steps 2 and 3 voxels before and behind it. The peak of a placement is the share
of faces whose own step is the largest of the five, times five: 1 where the label has nothing to do with the
image, 5 at most. Shares do not know how large steps are, so that neither metal nor air decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
IntArray = NDArray[np.int64]

# Two standard deviations of a peak are 4 / sqrt(faces) where nothing but chance decides (shares of a fifth).
_CHANCE = 4.0
_FEWEST_FACES = 25
# Faces of each axis, which are enough, and voxels looked at for them: what a whole-body label may cost.
_MOST_FACES = 2_500
_MOST_VOXELS = 4_000_000
# Steps along a normal, counted from the face. Contours are drawn a voxel off: those beside it decide nothing.
_STEPS = (-3, -2, 0, 2, 3)
_REACH = 3
_AXES = "zyx"


@dataclass(frozen=True)
class Faces:
    """Faces of a label, or a sample of them.

    Attributes:
        voxels: (N, 3) array of indices (z, y, x): of the two voxels the one with the lower index.
        axes: (N,) array: 0, 1 or 2, along which the other one is the next.
        sides: (N,) array: 0 to 5, which way the face looks, from the lower number to the higher.
    """

    voxels: IntArray
    axes: IntArray
    sides: IntArray


@dataclass(frozen=True)
class Placement:
    """How an array is laid onto another of its shape.

    Attributes:
        axes: axis i of the result is axis ``axes[i]`` of the array.
        flips: which axes of the result are then counted from their end.
    """

    axes: tuple[int, ...] = (0, 1, 2)
    flips: tuple[bool, ...] = (False, False, False)

    def __str__(self) -> str:
        moved = [_AXES[i] for i, axis in enumerate(self.axes) if axis != i]
        flipped = [name for name, flip in zip(_AXES, self.flips, strict=True) if flip]
        done = [f"its axes {', '.join(moved)} are exchanged"] if moved else []
        done += [f"it is flipped along {', '.join(flipped)}"] if flipped else []
        return " and ".join(done)


@dataclass(frozen=True)
class Fit:
    """How well a label's faces meet an image's edges.

    Attributes:
        peak: of all faces; nan where the image is flat at each of them.
        sides: peaks of the sides that have enough faces, less what chance may add to each; ascending.
    """

    peak: float
    sides: tuple[float, ...] = ()


def faces_of(numbers: Array) -> Faces:
    """A sample of a label's faces that have room for the steps beside them, always the same.

    Args:
        numbers: (Z, Y, X) array.

    Example:
        >>> numbers = np.zeros((1, 8, 9), np.uint8)
        >>> numbers[0, 3, 3:5] = 1
        >>> faces = faces_of(numbers)
        >>> faces.voxels.tolist(), faces.axes.tolist(), faces.sides.tolist()
        ([[0, 3, 3], [0, 3, 4], [0, 3, 4]], [1, 1, 2], [2, 2, 4])
    """
    box = _box(numbers)
    found = [_faces_along(axis, numbers, box) for axis in range(3)]
    voxels = np.concatenate([each for each, _ in found])
    axes = np.repeat(np.arange(3), [len(each) for each, _ in found])
    rises = np.concatenate([each for _, each in found])
    return Faces(voxels, axes, 2 * axes + rises)


def _box(numbers: Array) -> list[range]:
    """Where the label is, with a voxel around it."""
    box = []
    inside = numbers
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        # The largest number: it takes half as long as any().
        drawn = np.flatnonzero(inside.max(axis=others)) if inside.size else np.empty(0, np.int64)
        first, last = (int(drawn[0]), int(drawn[-1])) if drawn.size else (0, -1)
        inside = inside[tuple(slice(first, last + 1) if i == axis else slice(None) for i in range(3))]
        box.append(range(max(0, first - 1), min(numbers.shape[axis], last + 2)))
    return box


def _faces_along(axis: int, numbers: Array, box: Sequence[range]) -> tuple[IntArray, NDArray[np.bool_]]:
    """Faces whose normal is an axis, and whether the number rises along it."""
    lows = list(box)
    # Each face has a step at either end of the reach, and that step a voxel behind it.
    first = max(box[axis].start, _REACH)
    end = min(box[axis].stop, numbers.shape[axis] - _REACH) - 1
    lows[axis] = range(first, max(first, end))
    voxels = int(np.prod([len(each) for each in lows]))
    # Whole slices are left out, or whole rows: skipping voxels would read all of them.
    thinned = 1 if axis == 0 else 0
    lows[thinned] = lows[thinned][:: 1 + voxels // _MOST_VOXELS]
    highs = list(lows)
    highs[axis] = range(lows[axis].start + 1, lows[axis].stop + 1)
    low, high = (numbers[tuple(slice(e.start, e.stop, e.step) for e in each)] for each in (lows, highs))
    flat = np.flatnonzero(low != high)
    flat = flat[:: 1 + len(flat) // _MOST_FACES]
    place = np.unravel_index(flat, low.shape)
    rises: NDArray[np.bool_] = high[place] > low[place]
    starts, steps = [e.start for e in lows], [e.step for e in lows]
    return np.stack(place, axis=1) * steps + starts, rises


def placements(shape: Sequence[int]) -> Iterator[Placement]:
    """Every way to flip an array and to exchange axes of one size.

    Example:
        >>> [len(list(placements(shape))) for shape in ((5, 8, 9), (5, 9, 9), (9, 9, 9))]
        [8, 16, 48]
    """
    for axes in permutations(range(3)):
        if all(shape[axis] == size for axis, size in zip(axes, shape, strict=True)):
            for flips in product((False, True), repeat=3):
                yield Placement(axes, flips)


def fit_of(faces: Faces, values: Array, placement: Placement) -> Fit:
    """How well faces meet the edges of an image, once their label is placed in a way.

    Args:
        faces: of the label as it came.
        values: (Z, Y, X) array of the image.
        placement: of the label's array.

    Example:
        >>> numbers = np.zeros((1, 8, 16), np.uint8)
        >>> numbers[0, :, 6:] = 1
        >>> faces = faces_of(numbers)
        >>> fit_of(faces, 7 * numbers, Placement()).peak
        5.0
        >>> fit_of(faces, 7 * numbers, Placement(flips=(False, False, True))).peak
        nan
    """
    own = _own_step_is_largest(_normals(faces, values, placement))
    tells = np.isfinite(own)
    sides = []
    for side in range(6):
        share = own[tells & (faces.sides == side)]
        if len(share) >= _FEWEST_FACES:
            sides.append(len(_STEPS) * float(share.mean()) - _CHANCE / len(share) ** 0.5)
    peak = len(_STEPS) * float(own[tells].mean()) if tells.any() else float("nan")
    return Fit(peak, tuple(sorted(sides)))


def _normals(faces: Faces, values: Array, placement: Placement) -> NDArray[np.float32]:
    """The image's values along the normal of each face, (N, 8): it lies between the fourth and the fifth."""
    strides = np.cumprod([1, *values.shape[:0:-1]])[::-1]
    place = faces.voxels[:, placement.axes]
    for axis, flip in enumerate(placement.flips):
        if flip:
            place[:, axis] = values.shape[axis] - 1 - place[:, axis]
    forward = np.where(placement.flips, -strides, strides)[np.argsort(placement.axes)][faces.axes]
    along = np.arange(-_REACH, _REACH + 2)
    index = (place @ strides)[:, None] + forward[:, None] * along
    normals: NDArray[np.float32] = values.reshape(-1)[index].astype(np.float32)
    return normals


def _own_step_is_largest(normals: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 where it is, 0 where it is not, a part where steps are equal, nan where there is none."""
    steps = np.abs(np.diff(normals, axis=1))[:, np.array(_STEPS) + _REACH]
    largest = steps.max(axis=1)
    is_largest = steps == largest[:, None]
    own: NDArray[np.float64] = is_largest[:, _STEPS.index(0)] / is_largest.sum(axis=1)
    own[largest == 0] = np.nan
    return own
