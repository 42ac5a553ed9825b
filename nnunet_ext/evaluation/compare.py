"""Compares two label maps: each structure by itself, and all labels pooled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import hypot, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.evaluation.overlap import Overlap, confusion_matrix, overlap_of, pooled_overlap
from nnunet_ext.evaluation.scores import CaseScores, Settings, StructureScores
from nnunet_ext.evaluation.skeletons import skeleton_scores
from nnunet_ext.evaluation.structures import LabelTable
from nnunet_ext.evaluation.surfaces import surface_distances

LabelMap = NDArray[Any]


def score_case(
    prediction: LabelMap,
    reference: LabelMap,
    *,
    spacing_mm: Sequence[float],
    table: LabelTable,
    settings: Settings | None = None,
) -> CaseScores:
    """Compare two label maps on one grid.

    Args:
        prediction: (Z, Y, X) of an unsigned type; a single slice is compared in two dimensions.
        reference: the same.
        spacing_mm: distance between voxels along each axis.
        table: what the values mean.
        settings: None takes the defaults.

    Returns:
        All metrics.

    Raises:
        ValueError: the shapes differ.
        CaseError: ``undeclared-values`` or ``ignore-predicted``.

    Example:
        >>> from nnunet_ext.evaluation.structures import Structure
        >>> table = LabelTable((Structure("1", "organ", (1,)),), (1,))
        >>> a, b = np.zeros((2, 9, 9, 9), np.uint8)
        >>> a[2:5, 2:5, 2:5] = 1; b[2:5, 2:5, 3:6] = 1
        >>> scores = score_case(a, b, spacing_mm=(1, 1, 2), table=table).structures["1"]
        >>> scores.overlap.dice, scores.hd_mm
        (0.6666666666666666, 2.0)
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"expected two maps of one shape, got {prediction.shape} and {reference.shape}")
    settings = settings or Settings()
    if table.ignore is not None:
        # On both sides one value that belongs to no structure: what is ignored is background to every mask.
        prediction = np.where(reference == table.ignore, reference, prediction)
    confusion = _checked_confusion(prediction, reference, table)
    masks = _Masks(prediction, reference, spacing_mm=spacing_mm, size=table.size)
    structures = {
        s.key: _score(masks, s.labels, confusion, settings, tubular=s.key in settings.tubular)
        for s in table.structures
    }
    pooled = pooled_overlap(confusion, table.foreground)
    union = _score(masks, table.foreground, confusion, settings, tubular=False) if settings.union else None
    return CaseScores(structures, pooled, union)


def _checked_confusion(prediction: LabelMap, reference: LabelMap, table: LabelTable) -> NDArray[np.int64]:
    """Counts of pairs of values without those that are ignored."""
    for what, voxels in (("the prediction", prediction), ("the reference", reference)):
        if voxels.max() >= table.size:
            raise _undeclared(what, [int(voxels.max())], table)
    confusion = confusion_matrix(prediction, reference, size=table.size)
    declared = {0, *table.foreground}
    if table.ignore is not None:
        confusion[table.ignore, table.ignore] = 0
        if confusion[:, table.ignore].any():
            raise CaseError(
                "ignore-predicted",
                reason=f"the prediction holds {table.ignore}, the label that is ignored, where the reference "
                "does not",
                remedy="evaluate what nnUNetv2_predict wrote; are prediction and reference exchanged?",
            )
    for what, axis in (("the prediction", 0), ("the reference", 1)):
        undeclared = sorted(set(np.flatnonzero(confusion.sum(axis=axis)).tolist()) - declared)
        if undeclared:
            raise _undeclared(what, undeclared, table)
    return confusion


def _undeclared(what: str, values: Iterable[int], table: LabelTable) -> CaseError:
    declared = ", ".join(map(str, (0, *table.foreground)))
    return CaseError(
        "undeclared-values",
        reason=f"{what} holds {', '.join(map(str, values))}; dataset.json declares {declared}",
        remedy="is it the dataset.json of these labels?",
    )


class _Masks:
    """Cuts single structures out of two label maps, so that no mask is larger than what it holds."""

    def __init__(
        self, prediction: LabelMap, reference: LabelMap, *, spacing_mm: Sequence[float], size: int
    ) -> None:
        # In a single slice every voxel would lie on a surface, for the faces above and below it.
        kept = [axis for axis, n in enumerate(prediction.shape) if n > 1] or [0]
        shape = [prediction.shape[axis] for axis in kept]
        self._maps = (prediction.reshape(shape), reference.reshape(shape))
        self._boxes = [ndimage.find_objects(m, max_label=max(1, size - 1)) for m in self._maps]
        self.spacing_mm = tuple(float(spacing_mm[axis]) for axis in kept)
        self.voxel_ml = prod(map(float, spacing_mm)) / 1000
        self.diagonal_mm = hypot(*((n - 1) * mm for n, mm in zip(shape, self.spacing_mm, strict=True)))

    def pair(self, labels: Sequence[int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks of prediction and reference in the box that holds both."""
        boxes = [found[n - 1] for found in self._boxes for n in labels if n > 0]
        box = _joint([b for b in boxes if b is not None])
        prediction, reference = (_mask(m[box], labels) for m in self._maps)
        return prediction, reference


def _joint(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    axes = zip(*boxes, strict=True)
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in axes)


def _mask(part: LabelMap, labels: Sequence[int]) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = part == labels[0]
    for label in labels[1:]:
        mask |= part == label
    return mask


def _score(
    masks: _Masks,
    labels: Sequence[int],
    confusion: NDArray[np.int64],
    settings: Settings,
    *,
    tubular: bool,
) -> StructureScores:
    overlap = overlap_of(confusion, labels)
    if overlap.n_pred == 0 or overlap.n_ref == 0:
        return _score_missing(overlap, masks, settings, tubular=tubular)
    prediction, reference = masks.pair(labels)
    distances = surface_distances(prediction, reference, spacing_mm=masks.spacing_mm)
    skeletons = skeleton_scores(prediction, reference) if tubular else None
    return StructureScores(
        overlap,
        masks.voxel_ml,
        hd_mm=distances.hd_mm,
        hd95_mm=distances.hd95_mm,
        assd_mm=distances.assd_mm,
        nsd=distances.nsd(tolerance_mm=settings.nsd_tolerance_mm),
        is_tubular=tubular,
        cl_dice=None if skeletons is None else skeletons.cl_dice,
        skeleton_recall=None if skeletons is None else skeletons.recall,
    )


def _score_missing(overlap: Overlap, masks: _Masks, settings: Settings, *, tubular: bool) -> StructureScores:
    """The one policy for what is not there: see ``definitions.MISSING``."""
    if overlap.n_pred == overlap.n_ref == 0:
        return StructureScores(overlap, masks.voxel_ml, is_tubular=tubular)
    was_missed = overlap.n_pred == 0
    distance = masks.diagonal_mm if was_missed and settings.missing == "worst" else None
    return StructureScores(
        overlap,
        masks.voxel_ml,
        hd_mm=distance,
        hd95_mm=distance,
        assd_mm=distance,
        nsd=0.0,
        is_tubular=tubular,
        cl_dice=0.0 if tubular else None,
        skeleton_recall=0.0 if tubular and was_missed else None,
    )
