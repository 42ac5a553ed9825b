"""Distances between the surfaces of two masks, computed once; every distance metric is read from them.

MONAI 1.6 computes the same (a k-d tree over the centers of boundary voxels) and is what the tests compare
with. It is not called here: its route to the boundaries costs ten times as much, it computes them anew for
every metric, it gives distances in single precision, and importing it takes seconds in every worker
(docs/benchmarks/metrics.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

# NIfTI holds spacings in single precision: five voxels of 0.4 mm are 2.00000003 mm, and lie within 2 mm.
TIE_MM = 1e-4


@dataclass(frozen=True)
class SurfaceDistances:
    """From every boundary voxel of either mask to the nearest of the other, in mm, in no particular order.

    Attributes:
        pred_to_ref_mm: one distance for each boundary voxel of the prediction.
        ref_to_pred_mm: one for each boundary voxel of the reference.

    Example:
        >>> distances = SurfaceDistances(np.array([0.0, 1.0]), np.array([0.0, 0.0, 4.0]))
        >>> distances.hd_mm, distances.assd_mm, distances.nsd(tolerance_mm=1)
        (4.0, 1.0, 0.8)
        >>> round(distances.hd95_mm, 6)  # the larger of 0.95 and 3.6
        3.6
    """

    pred_to_ref_mm: FloatArray
    ref_to_pred_mm: FloatArray

    @property
    def hd_mm(self) -> float:
        """Hausdorff distance: the largest of all."""
        return float(max(self.pred_to_ref_mm.max(), self.ref_to_pred_mm.max()))

    @property
    def hd95_mm(self) -> float:
        """The larger of the two directed 95th percentiles, interpolated linearly (MONAI's definition)."""
        return float(max(np.percentile(d, 95) for d in (self.pred_to_ref_mm, self.ref_to_pred_mm)))

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance: the mean of all, both surfaces pooled."""
        total = self.pred_to_ref_mm.sum() + self.ref_to_pred_mm.sum()
        return float(total / (self.pred_to_ref_mm.size + self.ref_to_pred_mm.size))

    def nsd(self, *, tolerance_mm: float) -> float:
        """Normalized surface Dice: the fraction of all that is not above a tolerance."""
        both = (self.pred_to_ref_mm, self.ref_to_pred_mm)
        within = sum(np.count_nonzero(d <= tolerance_mm + TIE_MM) for d in both)
        return float(within / sum(d.size for d in both))


def surface_distances(prediction: Mask, reference: Mask, *, spacing_mm: Sequence[float]) -> SurfaceDistances:
    """Distances between the surfaces of two masks, both ways.

    Args:
        prediction: mask with at least one voxel; what lies outside of the array counts as background.
        reference: the same, of the same shape.
        spacing_mm: distance between voxels along each axis of the arrays.

    Returns:
        The distances.

    Raises:
        ValueError: a mask is empty.

    Example:
        >>> a, b = np.zeros((2, 9, 9), bool)
        >>> a[2:5, 2:5] = True; b[2:5, 4:7] = True
        >>> surface_distances(a, b, spacing_mm=(1, 1.5)).hd_mm
        3.0
    """
    if not prediction.any() or not reference.any():
        raise ValueError(
            "expected two masks with at least one voxel each; a missing structure has no surface"
        )
    ours, theirs = surface(prediction), surface(reference)
    return SurfaceDistances(_distances_mm(ours, theirs, spacing_mm), _distances_mm(theirs, ours, spacing_mm))


def surface(mask: Mask) -> Mask:
    """Boundary voxels of a mask: those with a face towards the background or the edge of the array.

    Args:
        mask: of any number of dimensions.

    Returns:
        Mask of the same shape.

    Example:
        >>> surface(np.ones((3, 3), bool)).astype(int).tolist()
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]]
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        before, after, first, last = (_along(axis, mask.ndim, s) for s in _SHIFTS)
        inner[before] &= mask[after]
        inner[after] &= mask[before]
        inner[first] = inner[last] = False
    boundary: Mask = mask ^ inner
    return boundary


_SHIFTS = (slice(None, -1), slice(1, None), slice(None, 1), slice(-1, None))


def _along(axis: int, dimensions: int, part: slice) -> tuple[slice, ...]:
    return tuple(part if i == axis else slice(None) for i in range(dimensions))


def _distances_mm(here: Mask, there: Mask, spacing_mm: Sequence[float]) -> FloatArray:
    """From the voxels of one mask to the nearest of another; those of both are 0 and need no search."""
    alone = here & ~there
    shared = int(np.count_nonzero(here)) - int(np.count_nonzero(alone))
    # An unbalanced tree is built faster and answers as fast, for voxels are spread evenly; leaves of 32
    # answer up to a third faster than scipy's 10, near and far (measured 2026-11-21).
    tree = KDTree(_centers_mm(there, spacing_mm), leafsize=32, balanced_tree=False)
    found: tuple[FloatArray, Any] = tree.query(_centers_mm(alone, spacing_mm))
    return np.concatenate([np.zeros(shared), found[0]])


def _centers_mm(mask: Mask, spacing_mm: Sequence[float]) -> FloatArray:
    return np.argwhere(mask).astype(np.float64) * np.asarray(spacing_mm, dtype=np.float64)
