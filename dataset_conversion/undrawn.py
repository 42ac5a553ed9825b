"""Where a structure may be that nobody drew in a case: there nnU-Net is told to learn nothing.

Every patient has a brainstem; one whose brainstem was not drawn must not teach that it is background. Where
it may be is told by the other cases: its box from the middle of what is drawn in all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Converter
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.grids import image_of, to_index, to_world

# Beyond the furthest of all cases: patients differ by more than any training set shows.
MARGIN_MM = 10.0
MIN_ANNOTATED = 0.05


@dataclass(frozen=True)
class Box:
    """Where a structure lies, in mm from the middle of the required structures; world axes.

    Attributes:
        low_mm: lowest corner, (x, y, z).
        high_mm: highest corner.
    """

    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]


Boxes = Mapping[str, Box]


def boxes_of(label: SimpleITK.Image, converter: Converter) -> dict[str, Box]:
    """The boxes of those structures of one case that other cases may lack.

    Args:
        label: numbers as the converter declares them.
        converter: which structures are required, and which may be undrawn.

    Returns:
        A box for each such structure that is there; none where nothing is required to measure from.
    """
    numbers = SimpleITK.GetArrayViewFromImage(label)
    middle = _middle(numbers, label, converter)
    if middle is None:
        return {}
    boxes = {}
    for number, name in _undrawable(converter):
        corners = _corners(numbers == number)
        if corners is not None:
            places = to_world(corners, label) - middle
            boxes[name] = Box(_triple(places.min(axis=0)), _triple(places.max(axis=0)))
    return boxes


def joined(boxes: Iterable[Boxes]) -> dict[str, Box]:
    """For each structure the smallest box that holds those of all cases.

    Example:
        >>> one, two = Box((0, 0, 0), (1, 1, 1)), Box((-1, 0, 0), (0, 2, 1))
        >>> joined([{"Chiasm": one}, {"Chiasm": two}, {}])["Chiasm"]
        Box(low_mm=(-1.0, 0.0, 0.0), high_mm=(1.0, 2.0, 1.0))
    """
    found: dict[str, list[Box]] = {}
    for case in boxes:
        for name, box in case.items():
            found.setdefault(name, []).append(box)
    return {
        name: Box(
            _triple(np.min([box.low_mm for box in each], axis=0)),
            _triple(np.max([box.high_mm for box in each], axis=0)),
        )
        for name, each in sorted(found.items())
    }


def ignored(
    label: SimpleITK.Image, undrawn: Iterable[str], converter: Converter, *, boxes: Boxes
) -> tuple[SimpleITK.Image, tuple[Note, ...]]:
    """The label with ignore in place of background wherever an undrawn structure may be.

    Args:
        label: numbers as the converter declares them.
        undrawn: names of the structures that were not drawn.
        converter: gives the number of the ignore label.
        boxes: from all cases, see :func:`joined`; a structure that no case has may be anywhere.

    Raises:
        CaseError: ``too-little-drawn``: under 5 % of the voxels would teach anything.
    """
    numbers = SimpleITK.GetArrayFromImage(label)
    middle = _middle(numbers, label, converter)
    notes = []
    for name in sorted(undrawn):
        inside = np.ones(numbers.shape, bool)
        if middle is not None and name in boxes:
            inside = _inside(boxes[name], middle, label)
        notes.append(
            Note("undrawn", f"{name} was not drawn; {int(inside.sum())} voxels where it may be are ignored")
        )
        numbers[inside & (numbers == 0)] = converter.numbers()["ignore"]
    annotated = float(np.mean(numbers != converter.numbers()["ignore"]))
    if annotated < MIN_ANNOTATED:
        raise CaseError(
            "too-little-drawn",
            reason=f"{', '.join(sorted(undrawn))} were not drawn, which leaves {100 * annotated:.2g} % of "
            f"the voxels (at least {100 * MIN_ANNOTATED:g} %)",
            remedy="draw them, or leave the case out",
        )
    return image_of(numbers, label), tuple(notes)


def _undrawable(converter: Converter) -> list[tuple[int, str]]:
    labels = enumerate(converter.labels, start=1)
    return [(number, label.name) for number, label in labels if label.presence == "may_be_undrawn"]


def _middle(
    numbers: NDArray[np.generic], image: SimpleITK.Image, converter: Converter
) -> NDArray[np.float64] | None:
    """Mean of the centers of the boxes of all required structures, in mm; they are in every case."""
    required = [n for n, label in enumerate(converter.labels, start=1) if label.presence == "required"]
    centers = []
    for number in required:
        corners = _corners(numbers == number)
        if corners is not None:
            centers.append(to_world(corners, image).mean(axis=0))
    middle: NDArray[np.float64] = np.mean(centers, axis=0) if centers else np.empty(0)
    return middle if centers else None


def _corners(mask: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """The eight corners (x, y, z) of a mask's box, as indices."""
    extent = []
    for axis in range(3):
        there = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not there.size:
            return None
        extent.append((int(there[0]), int(there[-1])))
    z, y, x = extent
    return np.array([(i, j, k) for i in x for j in y for k in z])


def _inside(box: Box, middle: NDArray[np.float64], image: SimpleITK.Image) -> NDArray[np.bool_]:
    """Bool array (Z, Y, X): the voxels of the box on the image's axes that holds the box and its margin."""
    low, high = np.asarray(box.low_mm) + middle - MARGIN_MM, np.asarray(box.high_mm) + middle + MARGIN_MM
    corners = [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    index = to_index(corners, image)
    size = np.asarray(image.GetSize())
    first = np.clip(np.floor(index.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(index.max(axis=0)) + 1, 0, size).astype(int)
    inside = np.zeros(image.GetSize()[::-1], bool)
    inside[first[2] : last[2], first[1] : last[1], first[0] : last[0]] = True
    return inside


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
