"""Masks as one PNG a slice, as Mimics and others export them beside a DICOM series."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nnunet_ext.clinical_io.dicom_series import DicomVolume
from nnunet_ext.clinical_io.findings import CaseError, Note

BoolArray = NDArray[np.bool_]
Flip = Literal["none", "vertical", "horizontal", "both"]
# What says which slice a file is of: a name that is certain, a number that may be another, or nothing.
ToldBy = Literal["name", "number", "order"]
# Which axes (z, y, x) of the mask are turned round; z only where no name says which slice a mask is of.
_AXES: Mapping[Flip, tuple[int, ...]] = {"none": (), "vertical": (1,), "horizontal": (2,), "both": (1, 2)}
# Attenuations beyond these say no more about what is bone: marrow may be as dark as muscle, implants shine.
_RANGE_HU = (-200, 500)
# Mean attenuation in the mask: dense parts lie above soft tissue (50 HU), and the right way up must be better
# than any other by more than noise and symmetry make of it.
_MIN_BONE_HU = 100
_MIN_ADVANTAGE_HU = 25


@dataclass(frozen=True)
class PngMask:
    """Masks of a series as one volume.

    Attributes:
        voxels: bool array (Z, Y, X) on the series' grid.
        notes: how the files were matched, and what is missing.
    """

    voxels: BoolArray
    notes: tuple[Note, ...]


def read_png_masks(
    files: Sequence[Path], volume: DicomVolume, *, flip: Flip = "none", missing_is_empty: bool = False
) -> PngMask:
    """One mask for each slice of a series, checked against its attenuations.

    A file belongs to the slice whose SOPInstanceUID or file name it has, or whose InstanceNumber is the last
    number in its name. Without any of that, the files in natural order ("2" before "10") are the slices in
    the order of InstanceNumber, if there are as many. Whatever is not 0 is inside.

    Bone is dense, so the mask as it is must lie on denser tissue than the mask turned round in any way:
    programs count rows from above or from below. Where only the order tells the slices, or a number in
    the name, the order may be reversed, too, and the number one off: programs count from either end, and
    from 0.

    Args:
        files: the PNGs of one case.
        volume: the series.
        flip: how the files are turned against the series, where that is known.
        missing_is_empty: a slice without a file has no bone; otherwise nobody knows.

    Raises:
        CaseError: ``missing-png``, ``unmatched-png``, ``label-grid``, ``label-value``, ``unreadable``,
            ``empty-label``, ``flipped-png`` or ``ambiguous-flip``.
    """
    matched, told_by = _match(files, volume)
    missing = len(volume.slices) - len(matched)
    if missing and not missing_is_empty:
        raise CaseError(
            "missing-png",
            reason=f"{missing} of {len(volume.slices)} slices have no PNG",
            remedy="add them, or say with --missing-png empty that there is nothing on these slices",
        )
    voxels = np.zeros(volume.image.GetSize()[::-1], bool)
    for z, file in matched.items():
        voxels[z] = _read(file, size=volume.slices[z].size)
    if not voxels.any():
        raise CaseError("empty-label", reason="no PNG has anything but 0", remedy="draw it, or leave it out")
    if _AXES[flip]:
        voxels = np.flip(voxels, _AXES[flip])
    _require_best_way_up(voxels, volume, told_by=told_by)
    notes: tuple[Note, ...] = ()
    if told_by == "order":
        notes = (Note("png-order", "PNGs were matched to slices by their natural order"),)
    if missing:
        notes = (*notes, Note("missing-png", f"{missing} slices without a PNG were taken as empty"))
    if flip != "none":
        notes = (*notes, Note("flipped-png", f"PNGs were flipped ({flip}) as asked"))
    return PngMask(voxels, notes)


def natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Sorts names with numbers as people do.

    Example:
        >>> sorted(["10.png", "2.png", "1b.png"], key=natural_key)
        ['1b.png', '2.png', '10.png']
    """
    parts = re.findall(r"\d+|\D+", name)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p.casefold()) for p in parts]


def _match(files: Sequence[Path], volume: DicomVolume) -> tuple[dict[int, Path], ToldBy]:
    """From the index of a slice to its file; and what decided that."""
    for names in (
        {s.instance: z for z, s in enumerate(volume.slices)},
        {s.file.stem: z for z, s in enumerate(volume.slices)},
    ):
        if all(file.stem in names for file in files):
            return _one_each({file: names[file.stem] for file in files}), "name"
    numbers = {s.number: z for z, s in enumerate(volume.slices) if s.number is not None}
    found = {file: re.findall(r"\d+", file.stem) for file in files}
    last = {file: int(each[-1]) for file, each in found.items() if each}
    if len(last) == len(files) and all(number in numbers for number in last.values()):
        return _one_each({file: numbers[number] for file, number in last.items()}), "number"
    if len(files) != len(volume.slices):
        raise CaseError(
            "unmatched-png" if len(files) > len(volume.slices) else "missing-png",
            reason=f"{len(files)} PNGs for {len(volume.slices)} slices, and their names tell no slice",
            remedy="name each after its DICOM file, its InstanceNumber or its SOPInstanceUID",
        )
    order = sorted(range(len(volume.slices)), key=lambda z: (volume.slices[z].number or 0, z))
    return dict(zip(order, sorted(files, key=lambda f: natural_key(f.name)), strict=True)), "order"


def _one_each(slices: Mapping[Path, int]) -> dict[int, Path]:
    matched = {z: file for file, z in slices.items()}
    if len(matched) != len(slices):
        raise CaseError(
            "unmatched-png",
            reason=f"{len(slices)} PNGs name {len(matched)} slices; some name the same",
            remedy="leave one PNG for each slice",
        )
    return matched


def _read(file: Path, *, size: tuple[int, int]) -> BoolArray:
    try:
        with Image.open(file) as image:
            if image.size != size:
                raise CaseError(
                    "label-grid",
                    reason=f"a PNG has {image.size} pixels, its slice {size}",
                    remedy="export the masks on the grid of the series",
                )
            # Palettes and bilevel images as their indices; color without its opacity.
            pixels = np.asarray(image if image.mode in ("1", "L", "P", "I", "I;16") else image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, CaseError):
            raise
        raise CaseError(
            "unreadable",
            reason=f"a PNG is cut off or damaged ({type(error).__name__})",
            remedy="export it again",
        ) from error
    if pixels.ndim == 3:  # red, green and blue as one number
        pixels = pixels @ np.array([1 << 16, 1 << 8, 1])
    if (count := len(np.unique(pixels))) > 2:
        raise CaseError(
            "label-value",
            reason=f"a PNG has {count} different values, a mask has two",
            remedy="export masks, not images in gray or in several colors",
        )
    inside: BoolArray = pixels != 0
    return inside


def _ways(voxels: BoolArray, told_by: ToldBy) -> Iterator[tuple[str, BoolArray, bool]]:
    """How a mask may lie, in words: as it is first; and whether that is likely, or must be far better.

    A number in a file's name most often is the InstanceNumber that it seems to be, and may count from the
    other end, or from 0.
    """
    for name, axes in _AXES.items():
        yield name, np.flip(voxels, axes), True
    if told_by == "name":
        return
    for name, axes in _AXES.items():
        yield f"{name}, order reversed", np.flip(voxels, (0, *axes)), told_by == "order"
    if told_by == "number":
        for step, way in ((1, "up"), (-1, "down")):
            moved = np.roll(voxels, step, axis=0)
            moved[0 if step > 0 else -1] = False
            yield f"one slice {way}", moved, False


def _require_best_way_up(voxels: BoolArray, volume: DicomVolume, *, told_by: ToldBy) -> None:
    hu = np.clip(SimpleITK.GetArrayFromImage(volume.image), *_RANGE_HU).astype(np.float32)
    scores: dict[str, float] = {}
    for way, turned, is_likely in _ways(voxels, told_by):
        score = float(hu[turned].mean()) if turned.any() else -math.inf
        if is_likely or score > max(scores.values()) + _MIN_ADVANTAGE_HU:
            scores[way] = score
    best = max(scores, key=lambda way: scores[way])
    others = max(score for way, score in scores.items() if way != best)
    if scores[best] < _MIN_BONE_HU or scores[best] - others < _MIN_ADVANTAGE_HU:
        raise CaseError(
            "ambiguous-flip",
            reason=f"the mask lies on {scores[best]:.0f} HU at best ({best}) and on {others:.0f} HU turned "
            f"otherwise; bone needs {_MIN_BONE_HU} HU and an advantage of {_MIN_ADVANTAGE_HU}",
            remedy="look at the masks over the series, and correct them",
        )
    if best != "none":
        raise CaseError(
            "flipped-png",
            reason=f"the masks lie on {scores['none']:.0f} HU as they are and on {scores[best]:.0f} HU "
            f"otherwise ({best})",
            remedy="look at one over its slice, and say so with --png-flip, or export them again"
            + ("" if best in _AXES else ", named after their slices' DICOM files"),
        )
