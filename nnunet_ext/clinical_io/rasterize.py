"""Contours to voxels: which voxels of an image have their center inside a structure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from nnunet_ext.clinical_io.curves_in_slice import (
    CROSSING,
    SHARED,
    SLICES,
    TOUCHING,
    Area,
    Crossing,
    combined,
)
from nnunet_ext.clinical_io.findings import CaseError, Note
from nnunet_ext.clinical_io.grids import to_index
from nnunet_ext.clinical_io.structure_set import XOR, Contour

BoolArray = NDArray[np.bool_]

# A contour may stand off the plane of its slice, and out of its own plane, by this share of the slices'
# distance: rounding of coordinates is far less, half of it would name two slices.
MAX_OFF_SLICE = 0.3
# So many equal steps are no chance.
_FEWEST_STEPS = 3
# Coordinates of two copies of one curve agree to the third decimal.
_SAME_POINT_DECIMALS = 3


@dataclass(frozen=True)
class Mask:
    """A structure in voxels.

    Attributes:
        voxels: bool array (Z, Y, X) on the image's grid.
        notes: what was left out.
    """

    voxels: BoolArray
    notes: tuple[Note, ...]


def rasterize(contours: Sequence[Contour], image: SimpleITK.Image, *, crossing: Crossing = "refuse") -> Mask:
    """The voxels whose centers lie inside a structure.

    Curves in one slice are combined by the even-odd rule: a curve within another is a hole, and the double
    path of a keyhole encloses nothing (SPEC D9). Of curves that are the same, one counts: the second would
    cancel the first. Curves that cross are parts to be united in some planning systems and a slip in others,
    so the caller decides. Parts beyond the image are left out and counted. Works in the image's own index
    space, so oblique series need nothing special.

    Args:
        contours: curves of one structure.
        image: gives the grid.
        crossing: of curves that overlap in part: ``"refuse"`` them, take their ``"union"``, or leave the
            overlap out (``"xor"``).

    Returns:
        The mask; empty where no curve encloses anything.

    Raises:
        CaseError: ``contour-outside`` where nothing drawn lies inside the image, ``contour-plane`` where
            curves were drawn between its slices or across them, ``skipped-slices`` where they were drawn on
            every second or third slice, ``overlapping-contours``.

    Example:
        >>> image = SimpleITK.Image(5, 5, 3, SimpleITK.sitkUInt8)
        >>> square = np.array([[0.5, 0.5, 1], [3.5, 0.5, 1], [3.5, 3.5, 1], [0.5, 3.5, 1]], float)
        >>> mask = rasterize([Contour(square, "CLOSED_PLANAR")], image).voxels
        >>> int(mask.sum()), bool(mask[1, 1, 1])
        (9, True)
    """
    across, down, slices = image.GetSize()
    voxels = np.zeros((slices, down, across), dtype=bool)
    drawn: dict[int, list[Area]] = {}
    areas = [c for c in contours if c.is_area]
    distinct = _without_twins(areas)
    seen: Counter[str] = Counter(
        {"duplicate-contour": len(areas) - len(distinct), "open-contour": len(contours) - len(areas)}
    )
    for contour in distinct:
        index = to_index(contour.points_mm, image)
        z = _slice_of(index)
        if not 0 <= z < slices:
            seen["contour-outside"] += 1
            continue
        if _leaves(index, across=across, down=down):
            seen["contour-clipped"] += 1
        area = Area.of(index[:, :2], shape=(down, across), is_xor=contour.kind == XOR)
        drawn.setdefault(z, []).append(area)
    _refuse_skipped(sorted(drawn))
    for z, areas_of_slice in drawn.items():
        voxels[z], found = combined(areas_of_slice, shape=(down, across), crossing=crossing)
        seen.update(found)
    if seen[CROSSING] and crossing == "refuse":
        raise _crossing_curves(seen)
    if (distinct and seen["contour-outside"] == len(distinct)) or (
        seen["contour-clipped"] and not voxels.any()
    ):
        raise CaseError(
            "contour-outside",
            reason=f"all {len(distinct)} contours of a structure lie outside the image",
            remedy="give the series on which the structure was drawn",
        )
    return Mask(voxels, _notes(seen, of=len(distinct), crossing=crossing))


def _refuse_skipped(slices: Sequence[int]) -> None:
    """Raise where most steps from slice to slice skip as many: a planning system shows what is between.

    Parts of a structure that lie apart skip slices once, and single slices lie at unequal distances.
    """
    steps = Counter(after - before for before, after in pairwise(slices))
    if not steps:
        return
    step, times = steps.most_common(1)[0]
    if step > 1 and times >= _FEWEST_STEPS and 2 * times > steps.total():
        raise CaseError(
            "skipped-slices",
            reason=f"a structure was drawn on one slice in {step}, {times + 1} times: nobody drew it on the "
            "slices between, where it would become background",
            remedy="have the planning system interpolate the contours, and export them again",
        )


def _crossing_curves(seen: Counter[str]) -> CaseError:
    return CaseError(
        "overlapping-contours",
        reason=f"on {seen[SLICES]} slices {seen[CROSSING]} pairs of contours of a structure overlap in part, "
        f"by {seen[SHARED]} voxels",
        remedy="unite them in the planning system, or say what they mean with --overlapping-contours",
    )


def _without_twins(contours: Sequence[Contour]) -> list[Contour]:
    """One of each curve: copies are equal up to where they begin and which way they run."""
    kept: dict[bytes, Contour] = {}
    for contour in contours:
        points = np.unique(np.round(contour.points_mm, _SAME_POINT_DECIMALS) + 0.0, axis=0)
        kept.setdefault(points.tobytes(), contour)
    return list(kept.values())


def _slice_of(index: NDArray[np.float64]) -> int:
    z = float(index[:, 2].mean())
    nearest = round(z)
    off = max(abs(z - nearest), float(np.abs(index[:, 2] - z).max()))
    if off > MAX_OFF_SLICE:
        raise CaseError(
            "contour-plane",
            reason=f"a contour lies {off:.2f} slice distances off the plane of its slice "
            f"(allowed {MAX_OFF_SLICE:g})",
            remedy="give the series on which the structure was drawn, or draw it on this one",
        )
    return nearest


def _leaves(index: NDArray[np.float64], *, across: int, down: int) -> bool:
    plane = index[:, :2]
    return bool((plane < -0.5).any() or (plane > np.array([across, down]) - 0.5).any())


def _notes(seen: Counter[str], *, of: int, crossing: Crossing) -> tuple[Note, ...]:
    texts = {
        "duplicate-contour": "{n} contours were there twice; one of each counts",
        "open-contour": "{n} points or open curves enclose nothing and were left out",
        "contour-outside": "{n} of {of} contours lie beyond the first or last slice and were left out",
        "contour-clipped": "{n} of {of} contours reach beyond the edge of the image and end there",
    }
    notes = [Note(code, text.format(n=seen[code], of=of)) for code, text in texts.items() if seen[code]]
    if seen[CROSSING]:
        done = "united" if crossing == "union" else "left out"
        text = f"on {seen[SLICES]} slices {seen[CROSSING]} pairs of contours overlap in part; the overlap, "
        notes.append(Note("overlapping-contours", f"{text}{seen[SHARED]} voxels, was {done} as asked"))
    if seen[TOUCHING]:
        text = f"{seen[TOUCHING]} voxels lie in two contours that touch by less than a voxel; left out"
        notes.append(Note("touching-contours", text))
    return tuple(notes)
