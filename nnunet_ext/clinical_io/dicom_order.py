"""Puts the slices of a series into order by geometry, and refuses what is no regular stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.clinical_io.dicom_slice import Slice
from nnunet_ext.clinical_io.findings import CaseError

# Slices closer than this lie in one place: positions are written with two decimals or more.
SAME_PLACE_MM = 0.01
# Distances from slice to slice may differ by 1 % (SPEC D9), or by what rounding to two decimals does.
SPACING_TOLERANCE = 0.01
ROUNDING_MM = 0.02
# Cosines: what 4 decimals of a direction leave open.
_SAME_DIRECTION = 1e-3
# Shift in the plane from slice to slice, as a share of their distance: 0.1 degrees of tilt.
_TILT_TOLERANCE = 2e-3
_TILT_DEGREES = 0.1
_AGAIN = "export the whole series again"


@dataclass(frozen=True)
class Stack:
    """Slices in order, at one distance.

    Attributes:
        places: from the first slice along the normal; every place with all the slices that lie there.
        spacing_mm: distance of neighboring places.
    """

    places: tuple[tuple[Slice, ...], ...]
    spacing_mm: float

    @property
    def first(self) -> Slice:
        """The slice that gives the volume its origin and its axes."""
        return self.places[0][0]


def stack(slices: Sequence[Slice]) -> Stack:
    """Order slices along their common normal.

    Neither file names nor InstanceNumber count: both may be shuffled.

    Args:
        slices: all images of one series.

    Raises:
        CaseError: ``mixed-series`` (more than one orientation, size or pixel spacing), ``single-slice``,
            ``tilt``, ``missing-slice`` or ``uneven-spacing``.

    Example:
        >>> from pathlib import Path
        >>> def at(z):
        ...     place = np.array([0, 0, z])
        ...     return Slice(Path(), None, "", None, place, np.eye(3)[:2], (1.0, 1.0), (4, 4), 0)
        >>> [place[0].position_mm[2].item() for place in stack([at(6.0), at(0.0), at(3.0)]).places]
        [0.0, 3.0, 6.0]
    """
    _require_one_kind(slices)
    along = np.array([s.position_mm @ slices[0].normal for s in slices])
    order = np.argsort(along, kind="stable")
    places: list[list[Slice]] = []
    distances: list[float] = []
    for i in order:
        if places and along[i] - distances[-1] < SAME_PLACE_MM:
            places[-1].append(slices[i])
        else:
            places.append([slices[i]])
            distances.append(float(along[i]))
    if len(places) < 2:
        raise CaseError(
            "single-slice",
            reason="the series has slices at one place only; a volume needs at least two",
            remedy=_AGAIN,
        )
    firsts = [place[0] for place in places]
    _refuse_tilt(firsts)
    spacing_mm = _even_spacing(np.diff(distances))
    return Stack(tuple(map(tuple, places)), spacing_mm)


def _require_one_kind(slices: Sequence[Slice]) -> None:
    first = slices[0]
    for name, differ in (
        ("orientation", any(np.abs(s.axes - first.axes).max() > _SAME_DIRECTION for s in slices)),
        ("size", any(s.size != first.size for s in slices)),
        ("pixel spacing", any(not np.allclose(s.pixel_mm, first.pixel_mm, rtol=1e-3) for s in slices)),
    ):
        if differ:
            raise CaseError(
                "mixed-series",
                reason=f"the {len(slices)} images of the series have more than one {name}",
                remedy="export each reconstruction as a series of its own, without scouts",
            )


def _refuse_tilt(slices: Sequence[Slice]) -> None:
    """A tilted gantry shifts each slice against the one before: the voxels are no boxes."""
    first, last = slices[0], slices[-1]
    step = (last.position_mm - first.position_mm) / (len(slices) - 1)
    along = float(step @ first.normal)
    across = float(np.linalg.norm(step - along * first.normal))
    sheared = across > _TILT_TOLERANCE * along
    # A scanner that reports a tilt in none of the positions: one of the two is wrong.
    is_axial = abs(abs(float(first.normal[2])) - 1) < 1e-6
    unexplained = is_axial and abs(first.tilt_degrees) > _TILT_DEGREES
    if sheared or unexplained:
        degrees = np.degrees(np.arctan2(across, along)) if sheared else abs(first.tilt_degrees)
        raise CaseError(
            "tilt",
            reason=f"the gantry was tilted by {degrees:.1f} degrees"
            + ("" if sheared else " by its header, and the positions of the slices do not show it"),
            remedy="have the scanner's workstation reformat the series to straight slices",
        )


def _even_spacing(gaps_mm: NDArray[np.float64]) -> float:
    typical = float(np.median(gaps_mm))
    allowed = max(SPACING_TOLERANCE * typical, ROUNDING_MM)
    odd = np.abs(gaps_mm - typical) > allowed
    if not odd.any():
        return float(gaps_mm.mean())
    times = np.rint(gaps_mm[odd] / typical)
    multiples = (times >= 2) & (np.abs(gaps_mm[odd] - times * typical) <= allowed * times)
    if multiples.all():
        lost = int((times - 1).sum())
        where = ", ".join(f"{i + 1} and {i + 2}" for i in np.flatnonzero(odd)[:3])
        raise CaseError(
            "missing-slice",
            reason=f"{lost} slices are missing, between slices {where} of {len(gaps_mm) + 1} "
            f"(distance {typical:g} mm)",
            remedy=_AGAIN,
        )
    raise CaseError(
        "uneven-spacing",
        reason=f"distances from slice to slice run from {gaps_mm.min():g} to {gaps_mm.max():g} mm, "
        f"{typical:g} mm most often",
        remedy="use a reconstruction with one distance, or resample the series",
    )
