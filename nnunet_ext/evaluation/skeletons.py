"""Whether tubes are found over their whole length, and connected: clDice and skeleton recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SkeletonScores:
    """How the skeleton of each mask lies in the other mask.

    Reference:
        Shit et al., clDice: a novel topology-preserving loss function for tubular structure segmentation,
        CVPR 2021, https://arxiv.org/abs/2003.07311.

    Differences from the paper: skeletons are thinned, not computed by soft pooling; that is the paper's
    metric, not its loss.

    Attributes:
        precision: fraction of the prediction's skeleton inside the reference (the paper's Tprec).
        recall: fraction of the reference's skeleton inside the prediction (Tsens, skeleton recall).

    Example:
        >>> SkeletonScores(precision=0.5, recall=0.5).cl_dice
        0.5
    """

    precision: float
    recall: float

    @property
    def cl_dice(self) -> float:
        """Harmonic mean of the two."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def skeleton_scores(prediction: NDArray[Any], reference: NDArray[Any]) -> SkeletonScores:
    """Compare two masks by their skeletons, on the grid of voxels as it is.

    Args:
        prediction: mask with at least one voxel, of two or three dimensions.
        reference: the same, of the same shape.

    Returns:
        Both fractions.

    Raises:
        ValueError: a mask is empty.

    Example:
        >>> tube = np.zeros((5, 5, 30), bool)
        >>> tube[1:4, 1:4, 2:28] = True
        >>> half = tube.copy()
        >>> half[..., 15:] = False
        >>> skeleton_scores(half, tube).precision
        1.0
    """
    if not prediction.any() or not reference.any():
        raise ValueError(
            "expected two masks with at least one voxel each; a missing structure has no skeleton"
        )
    return SkeletonScores(
        precision=_fraction_inside(skeleton(prediction), reference),
        recall=_fraction_inside(skeleton(reference), prediction),
    )


def skeleton(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Skeleton of a mask, one voxel thin: Lee 1994 in three dimensions, Zhang and Suen 1984 in two.

    Example:
        >>> bar = np.zeros((5, 9), bool)
        >>> bar[1:4, 1:8] = True
        >>> skeleton(bar)[2].astype(int).tolist()
        [0, 1, 1, 1, 1, 1, 0, 0, 0]
    """
    from skimage.morphology import skeletonize  # only those who ask for skeletons wait for its import

    thin: NDArray[np.bool_] = np.asarray(skeletonize(mask), dtype=bool)
    # Thinning may take a small even blob away altogether; something that is there has a skeleton.
    return thin if thin.any() else mask.astype(bool)


def _fraction_inside(part: NDArray[np.bool_], mask: NDArray[Any]) -> float:
    return float(np.count_nonzero(part & mask.astype(bool)) / np.count_nonzero(part))
