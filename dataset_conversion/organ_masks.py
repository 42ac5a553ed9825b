"""Organs that have a file each: their masks, wherever they lie, in one label image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Label
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, Note, read_volume
from nnunet_ext.clinical_io.grids import (
    GRID_TOLERANCE_MM,
    corner_distance_mm,
    image_of,
    in_one_orientation,
    to_index,
    to_world,
)

BoolArray = NDArray[np.bool_]

# A mask on a part of the image's grid begins a whole number of voxels from its first one, to within this.
_WHOLE_VOX = 1e-3


@dataclass(frozen=True)
class Organs:
    """What was drawn of one case.

    Attributes:
        label: numbers in the order of the labels, in the one orientation of all datasets.
        undrawn: labels without a file, or with an empty one.
        notes: what was put right.
    """

    label: SimpleITK.Image
    undrawn: frozenset[str]
    notes: tuple[Note, ...]


def read_organs(
    files: Mapping[str, Sequence[Path]],
    labels: Sequence[Label],
    reference: SimpleITK.Image,
    *,
    resample: bool = False,
) -> Organs:
    """The label image of a case: each organ in the number of its label, later ones over earlier ones.

    Args:
        files: for each label that was drawn its files, which are united.
        labels: in the order of their numbers.
        reference: the image; gives the grid.
        resample: take masks whose voxels are not those of the image, by the nearest voxel.

    Raises:
        CaseError: ``label-grid``, ``label-value``, or as :func:`~nnunet_ext.clinical_io.read_volume`.
    """
    turned = in_one_orientation(reference)
    numbers: NDArray[np.uint8] = np.zeros(turned.GetSize()[::-1], np.uint8)
    undrawn, notes, shared = set(), [], 0
    for number, label in enumerate(labels, start=1):
        organ: BoolArray = np.zeros(numbers.shape, bool)
        for file in files.get(label.name, ()):
            volume = read_volume(file)
            mask, put_right = on_grid(volume.image, turned, resample=resample)
            organ |= mask
            notes += [Note(n.code, f"{label.name}: {n.text}") for n in (*volume.notes, *put_right)]
        if not organ.any():
            undrawn.add(label.name)
            if files.get(label.name):
                notes.append(Note("empty-mask", f"{label.name}: its file holds no voxel: not drawn"))
        shared += int(np.count_nonzero(numbers[organ]))
        numbers[organ] = number
    if shared:
        notes.append(
            Note("overlap", f"{shared} voxels lie in two structures; the later in the list has them")
        )
    label_image = image_of(numbers, turned)
    return Organs(label_image, frozenset(undrawn), tuple(notes))


def on_grid(
    mask: SimpleITK.Image, reference: SimpleITK.Image, *, resample: bool
) -> tuple[BoolArray, tuple[Note, ...]]:
    """A mask on the grid of an image: as it is, pasted where its voxels are the image's, or resampled.

    Args:
        mask: 0 and one other value, in any orientation.
        reference: the image, in the one orientation of all datasets.
        resample: whether voxels may be moved.

    Returns:
        Bool array (Z, Y, X), and notes where the mask covered more than the image, or was resampled.

    Raises:
        CaseError: ``label-value``, or ``label-grid`` where only resampling would help and is not asked for.
    """
    mask = in_one_orientation(mask)
    voxels = _inside(mask)
    if corner_distance_mm(mask, reference) <= GRID_TOLERANCE_MM:
        return voxels, ()
    first = _first_voxel(mask, reference)
    if first is not None:
        return _pasted(voxels, first, reference.GetSize()[::-1])
    if not resample:
        raise CaseError(
            "label-grid",
            reason="a mask has other voxels than the image, not a part of its grid",
            remedy="export both on one grid, or allow resampling with --resample-masks where the converter "
            "has that option",
        )
    moved = SimpleITK.Resample(
        image_of(voxels.astype(np.uint8), mask),
        reference,
        SimpleITK.Transform(3, SimpleITK.sitkIdentity),
        SimpleITK.sitkNearestNeighbor,
        0,
        SimpleITK.sitkUInt8,
    )
    found = SimpleITK.GetArrayFromImage(moved).astype(bool)
    text = f"its {voxels.sum()} voxels became {found.sum()} of the image's grid, by the nearest voxel"
    return found, (Note("resampled-mask", text),)


def _inside(mask: SimpleITK.Image) -> BoolArray:
    values = SimpleITK.GetArrayViewFromImage(mask)
    inside: BoolArray = values != 0
    if inside.any() and values[inside].min() != values[inside].max():
        raise CaseError(
            "label-value",
            reason="a mask of one structure holds more than one value beside 0",
            remedy="give each structure a file of its own",
        )
    return inside


def _first_voxel(mask: SimpleITK.Image, reference: SimpleITK.Image) -> NDArray[np.int64] | None:
    """Index (x, y, z) in the reference of a mask's first voxel, None where their voxels differ."""
    corners = np.array(list(product(*((0, n - 1) for n in mask.GetSize()))))
    index = to_index(to_world(corners, mask), reference)
    first = np.rint(index[0]).astype(np.int64)
    return first if np.abs(index - corners - first).max() <= _WHOLE_VOX else None


def _pasted(
    voxels: BoolArray, first: NDArray[np.int64], size: Iterable[int]
) -> tuple[BoolArray, tuple[Note, ...]]:
    result: BoolArray = np.zeros(tuple(size), bool)
    source, target = [], []
    for start, length, total in zip(first[::-1].tolist(), voxels.shape, result.shape, strict=True):
        low, high = max(start, 0), max(min(start + length, total), max(start, 0))
        source.append(slice(low - start, high - start))
        target.append(slice(low, high))
    result[tuple(target)] = voxels[tuple(source)]
    lost = int(np.count_nonzero(voxels)) - int(np.count_nonzero(result))
    if lost:
        return result, (Note("mask-outside", f"{lost} of its voxels lie beyond the image and were left out"),)
    return result, ()
