"""On made-up scores with a known difference, and with none, the statistics say what they should."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import kendalltau, wilcoxon

from nnunet_ext.evaluation.ranking import rank
from nnunet_ext.evaluation.statistics import Comparison, aligned, compare, corrected

RUNS = 200
# Three standard deviations of a rate of 5 % in so many runs.
FAMILIES = 60
MOST = 0.05 + 3 * (0.05 * 0.95 / RUNS) ** 0.5


def trainings(
    rng: np.random.Generator,
    patients: np.ndarray,
    *,
    repeats: int,
    gain: float = 0.0,
    of_training: float = 0.01,
) -> np.ndarray:
    """Scores (cases, repeats): a patient's own, what the trainer makes of it, each training's luck."""
    cases = len(patients)
    own = rng.normal(0, 0.02, (cases, 1))
    luck = rng.normal(0, of_training, (1, repeats))
    scores: np.ndarray = patients[:, None] + gain + own + luck + rng.normal(0, 0.02, (cases, repeats))
    return scores


def simulated(seed: int, *, repeats: int, gain: float, of_training: float = 0.01) -> Comparison:
    rng = np.random.default_rng(seed)
    patients = rng.uniform(0.6, 0.9, 40)
    ours = trainings(rng, patients, repeats=repeats, gain=gain, of_training=of_training)
    theirs = trainings(rng, patients, repeats=repeats, of_training=of_training)
    return compare(ours, theirs)


def share(verdicts: list[str], verdict: str) -> float:
    return verdicts.count(verdict) / len(verdicts)


@pytest.mark.parametrize(("repeats", "of_training"), [(1, 0.0), (2, 0.01), (3, 0.01), (5, 0.02)])
def test_no_difference_is_found_where_there_is_none(repeats: int, of_training: float) -> None:
    verdicts = [
        simulated(seed, repeats=repeats, gain=0.0, of_training=of_training).verdict for seed in range(RUNS)
    ]
    assert share(verdicts, "cannot tell") >= 1 - MOST


def test_patients_alone_would_find_differences_between_a_trainer_and_itself() -> None:
    """Why repeats are needed, and why they are in the test."""
    found = [simulated(seed, repeats=1, gain=0.0, of_training=0.015) for seed in range(RUNS)]
    assert np.mean([comparison.p_patients < 0.05 for comparison in found]) > 0.3
    assert all("another random state may turn it round" in comparison.sentence for comparison in found)


@pytest.mark.parametrize(("gain", "verdict"), [(0.04, "better"), (-0.04, "worse")])
def test_a_difference_of_four_points_is_found_with_three_repeats(gain: float, verdict: str) -> None:
    verdicts = [simulated(seed, repeats=3, gain=gain).verdict for seed in range(RUNS)]
    assert share(verdicts, verdict) > 0.8
    assert share(verdicts, "better" if gain < 0 else "worse") == 0


def test_of_many_comparisons_without_a_difference_none_is_found() -> None:
    """Holm's correction keeps the rate of any wrong verdict among six."""
    wrong = 0
    for seed in range(FAMILIES):
        family = corrected([simulated(6 * seed + n, repeats=1, gain=0.0, of_training=0.0) for n in range(6)])
        wrong += any(comparison.verdict != "cannot tell" for comparison in family)
    assert wrong / (FAMILIES) <= 0.05 + 3 * (0.05 * 0.95 / (FAMILIES)) ** 0.5


def test_the_interval_covers_the_true_difference() -> None:
    found = [simulated(seed, repeats=1, gain=0.03, of_training=0.0).interval for seed in range(RUNS)]
    assert np.mean([low <= 0.03 <= high for low, high in found]) >= 0.95 - 3 * (0.05 * 0.95 / RUNS) ** 0.5


def test_lower_is_better_for_distances() -> None:
    rng = np.random.default_rng(1)
    far = rng.uniform(5, 9, (30, 2))
    near = compare(far - 1, far, metric="hd95_mm", higher_is_better=False)
    assert near.verdict == "better"
    assert near.difference == pytest.approx(-1)
    assert compare(far, far - 1, higher_is_better=False).verdict == "worse"


def test_holm_in_closed_form() -> None:
    scores = np.random.default_rng(2).normal(0.8, 0.05, 30)
    base = compare(scores, scores + np.random.default_rng(3).normal(0, 0.01, 30))
    ps = [0.01, 0.04, 0.03, 0.005]
    family = corrected([Comparison(**{**vars(base), "p_patients": p}) for p in ps])
    assert [c.p_holm for c in family] == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize("patients", [2, 5, 8, 14])
def test_wilcoxon_is_scipy_s_with_ties_and_without_a_difference(patients: int) -> None:
    """Of few patients all signs are tried in another way."""
    ours = np.random.default_rng(patients).integers(-3, 4, patients) / 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = wilcoxon(ours, zero_method="pratt").pvalue
    assert compare(ours, np.zeros(patients)).p_patients == pytest.approx(expected, abs=1e-12)


def test_effect_size_in_closed_form() -> None:
    base = np.zeros(4)
    assert compare([1, 2, 3, 4], base).rank_biserial == 1
    assert compare([-1, -2, -3, 4], base).rank_biserial == pytest.approx((4 - 6) / 10)
    same = compare(base, base)
    assert (same.p_patients, same.rank_biserial, same.verdict) == (1.0, 0.0, "cannot tell")


def test_patients_without_a_score_are_counted() -> None:
    ours = np.array([0.8, np.nan, 0.7, 0.9])
    theirs = np.array([0.7, 0.8, np.inf, 0.8])
    found = compare(ours, theirs)
    assert (found.cases, found.left_out) == (2, 2)
    assert "2 patients, 2 more without a score" in found.sentence
    assert "; 2 patients without a score)." in found.line("Dice")
    assert "without a score" not in compare(ours[[0, 3]], theirs[[0, 3]]).sentence
    with pytest.raises(ValueError, match="at least 2 patients with scores in both, got 1"):
        compare(ours[:2], theirs[:2])
    with pytest.raises(ValueError, match="the same patients for both, got 4 and 3"):
        compare(ours, theirs[:3])


def test_a_comparison_is_the_same_each_time() -> None:
    assert simulated(7, repeats=3, gain=0.01) == simulated(7, repeats=3, gain=0.01)


def test_other_cases_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="expected B on the cases of A; 2 are in one alone, such as x"):
        aligned({"A": {"x": [1.0]}, "B": {"y": [1.0]}})
    with pytest.raises(ValueError, match="as many repeats"):
        aligned({"A": {"x": [1.0], "y": [1.0, 2.0]}})


def test_a_ranking_that_chance_decides_is_not_stable() -> None:
    rng = np.random.default_rng(4)
    patients = rng.uniform(0.6, 0.9, (30, 1))
    alike = {name: patients + rng.normal(0, 0.02, (30, 1)) for name in "ABCD"}
    apart = {name: patients + n * 0.1 for n, name in enumerate("ABCD")}
    assert rank(alike).kendall_tau < 0.8
    clear = rank(apart)
    assert clear.order == tuple("DCBA")
    assert clear.kendall_tau == 1
    np.testing.assert_array_equal(clear.shares, np.eye(4))
    assert rank(apart, higher_is_better=False).order == tuple("ABCD")
    np.testing.assert_allclose(rank(alike).shares.sum(axis=0), 1)
    np.testing.assert_allclose(rank(alike).shares.sum(axis=1), 1)


def test_agreement_of_rankings_is_kendalls_tau() -> None:
    from nnunet_ext.evaluation.ranking import _agreement

    ranks = np.array([np.random.default_rng(n).permutation(5) for n in range(20)])
    expected = np.mean([kendalltau(np.arange(5), each).statistic for each in ranks])
    assert _agreement(ranks) == pytest.approx(expected)


def test_scores_that_are_no_numbers_cannot_be_ranked() -> None:
    with pytest.raises(ValueError, match="nan or infinity"):
        rank({"A": np.array([[np.nan]])})
    with pytest.raises(ValueError, match="same patients"):
        rank({"A": np.zeros((2, 1)), "B": np.zeros((3, 1))})
