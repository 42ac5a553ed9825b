"""Where a structure may be that nobody drew in a case: there nnU-Net is told to learn nothing.

Every patient has a brainstem; one whose brainstem was not drawn must not teach that it is background. Where
it may be is told by the other cases: its box from an anchor that both have.

The anchor is the middle of all required structures. Where a converter requires none (``volumes``: each label
may be undrawn), every structure that was drawn is one for itself, and the boxes from all of them are united:
to ignore too much is safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Converter
from numpy.typing import ArrayLike, NDArray

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.grids import image_of, to_index, to_world

# Beyond the furthest of all cases: patients differ by more than any training set shows.
MARGIN_MM = 10.0
MIN_ANNOTATED = 0.05

Triple = tuple[float, float, float]
Coordinates = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """Where a structure lies, in mm from an anchor; world axes.

    Attributes:
        low_mm: lowest corner, (x, y, z).
        high_mm: highest corner.
    """

    low_mm: Triple
    high_mm: Triple


# From a structure and an anchor to the structure's box.
Boxes = Mapping[str, Mapping[str, Box]]
# The anchor that is no structure of its own.
REQUIRED = "required"


def boxes_of(label: SimpleITK.Image, converter: Converter) -> dict[str, dict[str, Box]]:
    """The boxes of those structures of one case that other cases may lack.

    Args:
        label: numbers as the converter declares them.
        converter: which structures are required, and which may be undrawn.

    Returns:
        The boxes of each such structure that is there, from each anchor that the case has.
    """
    undrawable = _undrawable(converter)
    if not undrawable:
        return {}
    drawn = _drawn(label, converter)
    anchors = _anchors(drawn, converter)
    return {
        name: {anchor: _box(drawn[name] - point) for anchor, point in anchors.items() if anchor != name}
        for name in undrawable
        if name in drawn
    }


def joined(boxes: Iterable[Boxes]) -> dict[str, dict[str, Box]]:
    """For each structure and anchor the smallest box that holds those of all cases.

    Example:
        >>> one, two = Box((0, 0, 0), (1, 1, 1)), Box((-1, 0, 0), (0, 2, 1))
        >>> joined([{"Chiasm": {"required": one}}, {"Chiasm": {"required": two}}, {}])["Chiasm"]
        {'required': Box(low_mm=(-1.0, 0.0, 0.0), high_mm=(1.0, 2.0, 1.0))}
    """
    found: dict[str, dict[str, list[Triple]]] = {}
    for case in boxes:
        for name, anchored in case.items():
            for anchor, box in anchored.items():
                found.setdefault(name, {}).setdefault(anchor, []).extend((box.low_mm, box.high_mm))
    return {
        name: {anchor: _box(points) for anchor, points in sorted(anchored.items())}
        for name, anchored in sorted(found.items())
    }


def ignored(
    label: SimpleITK.Image, undrawn: Iterable[str], converter: Converter, *, boxes: Boxes
) -> tuple[SimpleITK.Image, tuple[Note, ...]]:
    """The label with ignore in place of background wherever an undrawn structure may be.

    Args:
        label: numbers as the converter declares them.
        undrawn: names of the structures that were not drawn.
        converter: gives the number of the ignore label.
        boxes: from all cases, see :func:`joined`; a structure that no case has together with what was drawn
            in this one may be anywhere.

    Raises:
        CaseError: ``too-little-drawn``: under 5 % of the voxels would teach anything.
    """
    numbers = SimpleITK.GetArrayFromImage(label)
    anchors = _anchors(_drawn(label, converter), converter)
    notes = []
    for name in sorted(undrawn):
        known = {anchor: box for anchor, box in boxes.get(name, {}).items() if anchor in anchors}
        inside = np.full(numbers.shape, not known)
        for anchor, box in known.items():
            inside[_part(box, anchors[anchor], label)] = True
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


def _undrawable(converter: Converter) -> list[str]:
    return [label.name for label in converter.labels if label.presence == "may_be_undrawn"]


def _drawn(label: SimpleITK.Image, converter: Converter) -> dict[str, Coordinates]:
    """Of what every patient has and this label shows: the corners (8, 3) of its box, in the world."""
    numbers = SimpleITK.GetArrayViewFromImage(label)
    found = {
        each.name: _corners(numbers == number)
        for number, each in enumerate(converter.labels, start=1)
        if each.presence != "may_be_absent"  # a tumor is anywhere
    }
    return {name: to_world(corners, label) for name, corners in found.items() if corners is not None}


def _anchors(drawn: Mapping[str, Coordinates], converter: Converter) -> dict[str, Coordinates]:
    """The points that boxes are measured from, by their names."""
    required = [label.name for label in converter.labels if label.presence == "required"]
    middles = {name: corners.mean(axis=0) for name, corners in drawn.items()}
    if required:
        return {REQUIRED: np.mean([middles[name] for name in required], axis=0)}
    return middles


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


def _part(box: Box, anchor: Coordinates, image: SimpleITK.Image) -> tuple[slice, ...]:
    """Slices (z, y, x): the voxels of the box on the image's axes that holds the box and its margin."""
    low, high = np.asarray(box.low_mm) + anchor - MARGIN_MM, np.asarray(box.high_mm) + anchor + MARGIN_MM
    corners = [(x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    index = to_index(corners, image)
    size = np.asarray(image.GetSize())
    first = np.clip(np.floor(index.min(axis=0)), 0, size).astype(int)
    last = np.clip(np.ceil(index.max(axis=0)) + 1, 0, size).astype(int)
    return tuple(slice(start, end) for start, end in zip(first[::-1], last[::-1], strict=True))


def _box(points: ArrayLike) -> Box:
    """The smallest box that holds points (N, 3)."""
    points = np.asarray(points, np.float64)
    (x, y, z), (right, back, top) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box((x, y, z), (right, back, top))
