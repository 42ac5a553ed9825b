"""Whether one trainer is better than another on the same patients: paired, corrected, and said in words.

Two things vary: patients, and trainings. Two nnU-Net runs that differ in their random state alone differ by
up to three points of Dice, so that a test over patients alone finds "differences" between a trainer and
itself. Scores are therefore kept by patient and by repeat. With one repeat of each, what is compared are two
trained models; with two or more, the trainers.

A comparison is decided where all of these agree: Wilcoxon's signed-rank test over patients (each patient's
mean over repeats) after Holm's correction for the number of comparisons, the bootstrap interval of the mean
difference, and, with repeats, a t test whose variance adds that of patients and that of repeats.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Verdict = Literal["better", "worse", "cannot tell"]

FEW_PATIENTS = 13  # with which all 2^n signs are tried
ALPHA = 0.05
RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """One trainer against a baseline, in one metric of one structure.

    Attributes:
        candidate: name of the trainer.
        baseline: name of what it is compared with.
        metric: name, with its unit: ``"hd95_mm"``.
        structure: name of the label or region.
        higher_is_better: how the metric is meant.
        cases: patients in the comparison.
        left_out: patients without a number in one of the two.
        repeats: trainings of the one that has fewer.
        difference: mean over patients of candidate minus baseline.
        interval: bootstrap interval of it at the level 1 - ALPHA, patients and repeats resampled; a little
            narrow where repeats are few, which is why it decides nothing alone.
        p_patients: Wilcoxon's signed-rank test over patients, two-sided.
        p_holm: the same after Holm's correction; equal to it for a comparison alone.
        p_repeats: t test over patients and repeats; None with one repeat.
        rank_biserial: effect size that goes with Wilcoxon, -1 to 1.
        verdict: of the candidate.
    """

    candidate: str
    baseline: str
    metric: str
    structure: str
    higher_is_better: bool
    cases: int
    left_out: int
    repeats: int
    difference: float
    interval: tuple[float, float]
    p_patients: float
    p_holm: float
    p_repeats: float | None
    rank_biserial: float
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """The verdict in plain words, with what it rests on."""
        low, high = self.interval
        what = f"{self.metric} of {self.structure}"
        left_out = f", {self.left_out} more without a score" if self.left_out else ""
        numbers = (
            f"{self.difference:+.3g}, {100 * (1 - ALPHA):g} % interval {low:+.3g} to {high:+.3g}, p = "
            f"{self.p_holm:.2g} after Holm's correction, {self.cases} patients{left_out}"
        )
        if self.repeats == 1:
            whose = f"this training of {self.candidate} against this one of {self.baseline}"
            runs = "one training each: another random state may turn it round"
        else:
            whose = f"{self.candidate} against {self.baseline}"
            runs = f"{self.repeats} trainings each"
        return f"{what}, {whose}: {self.verdict} ({numbers}; {runs})."

    def line(self, metric: str) -> str:
        """The verdict in a line, for a list that says beside it what the numbers are.

        Args:
            metric: its title.
        """
        low, high = self.interval
        left_out = f"; {self.left_out} patients without a score" if self.left_out else ""
        return (
            f"{self.candidate} against {self.baseline}, {metric} of {self.structure}: {self.verdict} "
            f"({self.difference:+.3g}; {low:+.3g} to {high:+.3g}; p = {self.p_holm:.2g}{left_out})."
        )


def compare(
    candidate: ArrayLike,
    baseline: ArrayLike,
    *,
    names: tuple[str, str] = ("candidate", "baseline"),
    metric: str = "Dice",
    structure: str = "structure",
    higher_is_better: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare two trainers on the same patients.

    Args:
        candidate: (cases,) or (cases, repeats) array of scores; nan where there is none.
        baseline: the same for the baseline, the same patients in the same order; repeats may differ.
        names: of both.
        metric: name of the scores.
        structure: that they belong to.
        higher_is_better: False for distances.
        seed: of the bootstrap.

    Raises:
        ValueError: other patients, or fewer than two of them.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> patients = rng.uniform(0.6, 0.9, (30, 1))
        >>> same = patients + rng.normal(0, 0.01, (30, 3))
        >>> other = patients + 0.05 + rng.normal(0, 0.01, (30, 3))
        >>> compare(other, same).verdict, compare(same, other).verdict
        ('better', 'worse')
    """
    ours, theirs = _table(candidate), _table(baseline)
    if len(ours) != len(theirs):
        raise ValueError(f"expected the same patients for both, got {len(ours)} and {len(theirs)}")
    known = np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)
    ours, theirs = ours[known], theirs[known]
    if len(ours) < 2:
        raise ValueError(f"expected at least 2 patients with scores in both, got {len(ours)}")
    differences = ours.mean(axis=1) - theirs.mean(axis=1)
    p_patients = _wilcoxon(differences)
    found = Comparison(
        candidate=names[0],
        baseline=names[1],
        metric=metric,
        structure=structure,
        higher_is_better=higher_is_better,
        cases=len(ours),
        left_out=int((~known).sum()),
        repeats=min(ours.shape[1], theirs.shape[1]),
        difference=float(differences.mean()),
        interval=_interval(ours, theirs, seed=seed),
        p_patients=p_patients,
        p_holm=p_patients,
        p_repeats=_p_over_repeats(ours, theirs),
        rank_biserial=_rank_biserial(differences),
        verdict="cannot tell",
    )
    return replace(found, verdict=_verdict(found))


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with Holm's correction over all of them (Holm 1979).

    Example:
        >>> scores = np.random.default_rng(0).normal(0.8, 0.05, (20, 2))
        >>> once = compare(scores + 0.02, scores)
        >>> [f"{c.p_holm / once.p_patients:.0f}" for c in corrected([once, once, once])]
        ['3', '3', '3']
    """
    raw = np.array([comparison.p_patients for comparison in comparisons])
    order = np.argsort(raw, kind="stable")
    factors = np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(raw[order] * factors))
    changed = [replace(c, p_holm=float(p)) for c, p in zip(comparisons, adjusted, strict=True)]
    return [replace(c, verdict=_verdict(c)) for c in changed]


def aligned(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[list[str], dict[str, FloatArray]]:
    """Scores of several trainers as arrays over the same patients.

    Args:
        scores: from trainer and case to the scores of its repeats.

    Returns:
        Names of the cases, sorted, and for each trainer an array (cases, repeats).

    Raises:
        ValueError: trainers were scored on different cases, or a trainer's cases differ in repeats.

    Example:
        >>> cases, arrays = aligned({"A": {"x": [0.8, 0.9], "y": [0.7, 0.6]}, "B": {"y": [0.5], "x": [0.4]}})
        >>> cases, arrays["B"].tolist()
        (['x', 'y'], [[0.4], [0.5]])
    """
    first = next(iter(scores), "")
    cases = sorted(scores.get(first, {}))
    for name, by_case in scores.items():
        if sorted(by_case) != cases:
            other = sorted(set(by_case) ^ set(cases))
            raise ValueError(
                f"expected {name} on the cases of {first}; {len(other)} are in one alone, such as {other[0]}"
            )
        if len({len(repeats) for repeats in by_case.values()}) > 1:
            raise ValueError(f"expected as many repeats of every case of {name}, got different numbers")
    return cases, {n: np.array([s[c] for c in cases], np.float64) for n, s in scores.items()}


def _table(scores: ArrayLike) -> FloatArray:
    table = np.asarray(scores, np.float64)
    return table[:, None] if table.ndim == 1 else table


def _verdict(comparison: Comparison) -> Verdict:
    low, high = comparison.interval
    agree = comparison.p_holm < ALPHA and (low > 0 or high < 0)
    if comparison.p_repeats is not None:
        agree = agree and comparison.p_repeats < ALPHA
    if not agree:
        return "cannot tell"
    return "better" if (comparison.difference > 0) == comparison.higher_is_better else "worse"


def _wilcoxon(differences: FloatArray) -> float:
    """Two-sided; patients without a difference speak for none but keep their rank (Pratt)."""
    from scipy.stats import permutation_test, rankdata, wilcoxon

    if not differences.any():
        return 1.0
    if len(differences) > FEW_PATIENTS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ties: its exact table does not apply
            return float(wilcoxon(differences, zero_method="pratt").pvalue)
    # All signs, as scipy's own test does here, which takes seconds for it: it ranks anew under each.
    ranks = rankdata(np.abs(differences))
    tested = permutation_test(
        (np.sign(differences) * ranks,),
        lambda signed, axis: signed.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**FEW_PATIENTS,
    )
    return float(tested.pvalue)


def _rank_biserial(differences: FloatArray) -> float:
    """Share of the ranks that speak for the candidate, minus the share that speaks against it."""
    from scipy.stats import rankdata

    told = differences[differences != 0]
    if not told.size:
        return 0.0
    ranks = rankdata(np.abs(told))
    return float((ranks[told > 0].sum() - ranks[told < 0].sum()) / ranks.sum())


def _interval(ours: FloatArray, theirs: FloatArray, *, seed: int) -> tuple[float, float]:
    """Bootstrap of the mean difference: patients together, repeats of each trainer for itself.

    Percentiles are expanded as few patients need it (Hesterberg, The American Statistician 69, 2015).
    """
    from scipy.stats import norm, t

    cases = len(ours)
    weights, *drawn = _resamples(cases, (ours.shape[1], theirs.shape[1]), seed)
    of_ours, of_theirs = ((weights @ s * d).sum(axis=1) for s, d in zip((ours, theirs), drawn, strict=True))
    means = of_ours - of_theirs
    tail = norm.cdf(-((cases / (cases - 1)) ** 0.5) * t.ppf(1 - ALPHA / 2, cases - 1))
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


@lru_cache(maxsize=4)  # a benchmark compares hundreds of times with the same patients and repeats
def _resamples(cases: int, repeats: tuple[int, int], seed: int) -> tuple[FloatArray, ...]:
    """Weights of patients, and of the repeats of both trainers, in every resampling."""
    rng = np.random.default_rng(seed)
    return tuple(rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in (cases, *repeats))


def _p_over_repeats(ours: FloatArray, theirs: FloatArray) -> float | None:
    """Two-sided t test of the mean difference; degrees of freedom after Satterthwaite.

    Its variance is that of the patients' differences plus, for each trainer, that of its trainings' means.
    What is left of a score once patient and training are taken off is in both: the test errs on the safe
    side.
    """
    from scipy.stats import t

    if min(ours.shape[1], theirs.shape[1]) < 2:
        return None
    differences = ours.mean(axis=1) - theirs.mean(axis=1)
    parts = [(differences.var(ddof=1) / len(differences), len(differences) - 1)]
    for scores in (ours, theirs):
        trainings = scores.mean(axis=0)
        parts.append((trainings.var(ddof=1) / len(trainings), len(trainings) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    freedom = variance**2 / sum(part**2 / n for part, n in parts)
    return float(2 * t.sf(abs(differences.mean()) / variance**0.5, freedom))
