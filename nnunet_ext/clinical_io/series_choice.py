"""Which of several series is meant: told by what was drawn on it, never guessed."""

from __future__ import annotations

from collections.abc import Sequence

import SimpleITK

from nnunet_ext.clinical_io.dicom_folder import SeriesHeaders
from nnunet_ext.clinical_io.dicom_series import grid_of
from nnunet_ext.clinical_io.findings import CaseError, Note
from nnunet_ext.clinical_io.grids import GRID_TOLERANCE_MM, corner_distance_mm, in_one_orientation

LEAVE_ONE = "leave one in the case's folder"


def choose_series(
    candidates: Sequence[SeriesHeaders], *, modality: str, referenced: str = "", remedy: str = LEAVE_ONE
) -> tuple[SeriesHeaders, tuple[Note, ...]]:
    """The one series of a modality.

    Args:
        candidates: all series of a patient.
        modality: which to take.
        referenced: SeriesInstanceUID that a structure set was drawn on; decides between several.
        remedy: what to do where it is not clear which.

    Returns:
        The series, and a note where it was chosen among several.

    Raises:
        CaseError: ``missing-channel`` where there is none, ``mixed-series`` where it is not clear which.

    Example:
        >>> choose_series([], modality="CT")
        Traceback (most recent call last):
        nnunet_ext.clinical_io.findings.CaseError: missing-channel: there is no CT series; \
add it to the case's folder
    """
    fitting = _of_modality(candidates, modality)
    if len(fitting) == 1:
        return fitting[0], ()
    named = [s for s in fitting if s.uid == referenced]
    if len(named) == 1:
        text = f"of {len(fitting)} {modality} series the one was taken on which the structures were drawn"
        return named[0], (Note("mixed-series", text),)
    raise CaseError(
        "mixed-series",
        reason=f"there are {len(fitting)} {modality} series, and nothing says which is meant",
        remedy=remedy,
    )


def described_so(
    candidates: Sequence[SeriesHeaders], *, modality: str, word: str, remedy: str
) -> tuple[SeriesHeaders, ...]:
    """Those series of a modality whose description holds a word, in small or capital letters.

    Args:
        candidates: all series of a patient.
        modality: which to take.
        word: as it was typed.
        remedy: what to do where no series has it.

    Raises:
        CaseError: ``missing-channel`` where there are series of the modality and none has the word.

    Example:
        >>> described_so([], modality="CT", word="75 %", remedy="say what it is called")
        ()
    """
    series = [s for s in candidates if s.modality == modality]
    fitting = tuple(s for s in series if word.casefold() in s.description.casefold())
    if series and not fitting:
        raise CaseError(
            "missing-channel",
            reason=f"none of {len(series)} {modality} series has {word} in its description",
            remedy=remedy,
        )
    return fitting


def choose_series_below(
    label: SimpleITK.Image,
    candidates: Sequence[SeriesHeaders],
    *,
    modality: str,
    remedy: str = LEAVE_ONE,
) -> tuple[SeriesHeaders, tuple[Note, ...]]:
    """The one series of a modality on whose grid a label volume lies.

    The only series of its modality is taken as it is: whoever reads it finds out what is wrong with it.

    Args:
        label: in any orientation.
        candidates: all series of a patient.
        modality: which to take.
        remedy: what to do where several have that grid, as the phases of one scan have.

    Returns:
        The series, and a note where it was chosen among several.

    Raises:
        CaseError: ``missing-channel`` where there is none, ``label-grid`` where the label lies on none of
            several, ``mixed-series`` where it lies on more than one.

    Example:
        >>> choose_series_below(SimpleITK.Image(4, 4, 4, SimpleITK.sitkUInt8), [], modality="CT")
        Traceback (most recent call last):
        nnunet_ext.clinical_io.findings.CaseError: missing-channel: there is no CT series; \
add it to the case's folder
    """
    fitting = _of_modality(candidates, modality)
    if len(fitting) == 1:
        return fitting[0], ()
    turned = in_one_orientation(label)
    below = [series for series in fitting if _has_grid(series, turned)]
    if len(below) == 1:
        text = f"of {len(fitting)} {modality} series the one was taken on whose grid the label lies"
        return below[0], (Note("mixed-series", text),)
    if not below:
        raise CaseError(
            "label-grid",
            reason=f"the label lies on the grid of none of the {len(fitting)} {modality} series",
            remedy="export it on the grid of the series that it was drawn on",
        )
    raise CaseError(
        "mixed-series",
        reason=f"of {len(fitting)} {modality} series {len(below)} have the label's grid, and nothing says "
        "which is meant",
        remedy=remedy,
    )


def _of_modality(candidates: Sequence[SeriesHeaders], modality: str) -> list[SeriesHeaders]:
    fitting = [s for s in candidates if s.modality == modality]
    if not fitting:
        raise CaseError(
            "missing-channel",
            reason=f"there is no {modality} series",
            remedy="add it to the case's folder",
        )
    return fitting


def _has_grid(series: SeriesHeaders, turned: SimpleITK.Image) -> bool:
    try:
        grid = grid_of(series)
    except CaseError:  # such as a few reformatted images: nobody drew a volume on them
        return False
    return corner_distance_mm(in_one_orientation(grid), turned) <= GRID_TOLERANCE_MM
