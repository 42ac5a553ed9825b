"""Voxels that two label maps agree and disagree on, counted for all labels in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Voxels that are counted at a time: keeps the 64-bit numbers that numpy counts in below 64 MiB.
_BLOCK_VOX = 1 << 22


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels for one structure, and what follows from them alone.

    A ratio whose denominator is 0 is None.

    Attributes:
        tp: in prediction and reference.
        fp: in the prediction only.
        fn: in the reference only.
        tn: in neither.

    Example:
        >>> overlap = Overlap(tp=6, fp=2, fn=4, tn=88)
        >>> overlap.dice, overlap.iou, overlap.precision, overlap.recall, overlap.rve_percent
        (0.6666666666666666, 0.5, 0.75, 0.6, -20.0)
        >>> Overlap(tp=0, fp=0, fn=0, tn=100).dice is None
        True
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def n_pred(self) -> int:
        """Voxels of the prediction."""
        return self.tp + self.fp

    @property
    def n_ref(self) -> int:
        """Voxels of the reference."""
        return self.tp + self.fn

    @property
    def dice(self) -> float | None:
        """2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float | None:
        """Jaccard index, TP / (TP + FP + FN)."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float | None:
        """TP / (TP + FP)."""
        return _ratio(self.tp, self.n_pred)

    @property
    def recall(self) -> float | None:
        """TP / (TP + FN)."""
        return _ratio(self.tp, self.n_ref)

    @property
    def rve_percent(self) -> float | None:
        """Relative volume error, 100 (|P| - |G|) / |G|."""
        return _ratio(100 * (self.n_pred - self.n_ref), self.n_ref)


def confusion_matrix(prediction: NDArray[Any], reference: NDArray[Any], *, size: int) -> NDArray[np.int64]:
    """How often each pair of values occurs.

    Args:
        prediction: values 0 to ``size - 1``, of an unsigned type.
        reference: the same, of the same shape.
        size: number of values.

    Returns:
        Matrix (size, size): reference by prediction.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1], np.uint8), np.array([0, 0, 1], np.uint8), size=2).tolist()
        [[1, 1], [0, 1]]
    """
    counts = np.zeros(size * size, np.int64)
    flat_prediction, flat_reference = np.ravel(prediction), np.ravel(reference)
    for start in range(0, flat_prediction.size, _BLOCK_VOX):
        block = slice(start, start + _BLOCK_VOX)
        pairs = flat_reference[block].astype(np.intp) * size
        pairs += flat_prediction[block]
        counts += np.bincount(pairs, minlength=size * size)
    return counts.reshape(size, size)


def overlap_of(confusion: NDArray[np.int64], labels: Sequence[int]) -> Overlap:
    """Counts of a structure that is made of one or more labels.

    Args:
        confusion: from :func:`confusion_matrix`, without the voxels that are ignored.
        labels: the values of the structure.

    Returns:
        Its counts.

    Example:
        >>> overlap_of(np.array([[5, 1, 0], [0, 3, 1], [0, 0, 2]]), [1, 2])
        Overlap(tp=6, fp=1, fn=0, tn=5)
    """
    members = list(labels)
    tp = int(confusion[np.ix_(members, members)].sum())
    fp = int(confusion[:, members].sum()) - tp
    fn = int(confusion[members].sum()) - tp
    return Overlap(tp, fp, fn, int(confusion.sum()) - tp - fp - fn)


def pooled_overlap(confusion: NDArray[np.int64], labels: Sequence[int]) -> Overlap:
    """Counts summed over labels: what the generalized scores of MM-WHS are made of.

    A voxel whose label is another one in the reference counts as a false positive of one and as a false
    negative of the other (Crum et al. 2006 with equal weights). True negatives mean nothing here and are 0.

    Args:
        confusion: from :func:`confusion_matrix`, without the voxels that are ignored.
        labels: the values to pool.

    Returns:
        The sums.

    Example:
        >>> pooled_overlap(np.array([[5, 1, 0], [0, 3, 1], [0, 0, 2]]), [1, 2])
        Overlap(tp=5, fp=2, fn=1, tn=0)
    """
    parts = [overlap_of(confusion, [label]) for label in labels]
    return Overlap(sum(p.tp for p in parts), sum(p.fp for p in parts), sum(p.fn for p in parts), 0)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None
