"""How stable a ranking of trainers is when other patients are drawn (Wiesenfarth et al. 2021, challengeR)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Ranking:
    """Trainers in order, and how often they kept it.

    Attributes:
        order: names, the best first.
        means: mean score of each, in that order.
        shares: (trainers, ranks) array: how often each had each rank among resampled patients.
        kendall_tau: mean agreement of a resampled ranking with this one, -1 to 1; 1 never changes.
    """

    order: tuple[str, ...]
    means: tuple[float, ...]
    shares: FloatArray
    kendall_tau: float


def rank(scores: Mapping[str, FloatArray], *, higher_is_better: bool = True, seed: int = 0) -> Ranking:
    """Rank trainers by their mean over patients, and resample the patients.

    Args:
        scores: for each trainer (cases, repeats), the same patients in the same order.
        higher_is_better: False for distances.
        seed: of the bootstrap.

    Raises:
        ValueError: no trainer, other patients, or a score is no number.

    Example:
        >>> far = {"A": np.array([[0.9], [0.8]]), "B": np.array([[0.5], [0.4]])}
        >>> found = rank(far)
        >>> found.order, found.shares.tolist(), found.kendall_tau
        (('A', 'B'), [[1.0, 0.0], [0.0, 1.0]], 1.0)
    """
    if len({len(each) for each in scores.values()}) != 1:
        raise ValueError("expected trainers with the same patients, got none or different numbers of them")
    names = list(scores)
    table = np.stack([np.asarray(scores[name], np.float64).mean(axis=1) for name in names], axis=1)
    if not np.isfinite(table).all():
        raise ValueError("expected a number for every trainer and patient, got nan or infinity")
    signed = -table if higher_is_better else table
    order = np.argsort(signed.mean(axis=0), kind="stable")
    cases = len(table)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(cases, np.full(cases, 1 / cases), RESAMPLES) / cases
    ranks = np.argsort(np.argsort(weights @ signed[:, order], axis=1, kind="stable"), axis=1)
    shares = np.stack([(ranks == place).mean(axis=0) for place in range(len(names))], axis=1)
    return Ranking(
        order=tuple(names[i] for i in order),
        means=tuple(table.mean(axis=0)[order].tolist()),
        shares=shares,
        kendall_tau=_agreement(ranks),
    )


def _agreement(ranks: NDArray[np.int64]) -> float:
    """Mean Kendall's tau of rankings (resamples, trainers) with the order of their columns."""
    trainers = ranks.shape[1]
    if trainers < 2:
        return 1.0
    above, below = np.triu_indices(trainers, k=1)
    return float(np.sign(ranks[:, below] - ranks[:, above]).mean())
