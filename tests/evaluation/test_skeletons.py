"""clDice and skeleton recall on tubes."""

from __future__ import annotations

import numpy as np
import pytest
from evaluated import Mask

from nnunet_ext.evaluation.skeletons import SkeletonScores, skeleton, skeleton_scores


def tube(*, start: int = 5, stop: int = 105, radius: int = 3) -> Mask:
    """A straight tube along x."""
    z, y, x = np.ogrid[-8:9, -8:9, :110]
    inside: Mask = (z**2 + y**2 <= radius**2) & (x >= start) & (x < stop)
    return inside


def test_identical_tubes() -> None:
    found = skeleton_scores(tube(), tube())
    assert (found.precision, found.recall, found.cl_dice) == (1, 1, 1)


def test_a_tube_that_is_too_thin_is_found_whole() -> None:
    """What clDice is for: the Dice of these two is 2 * 5 / (29 + 5)."""
    thin, thick = tube(radius=1), tube()
    assert 2 * (thin & thick).sum() / (thin.sum() + thick.sum()) == pytest.approx(10 / 34, abs=1e-3)
    found = skeleton_scores(thin, thick)
    assert found.recall > 0.97
    assert found.precision == 1


def test_a_broken_tube() -> None:
    """A gap of 40 of 100: recall 0.6, precision 1, clDice 2 * 0.6 / 1.6; thinning shortens ends a little."""
    broken = tube()
    broken[..., 30:70] = False
    found = skeleton_scores(broken, tube())
    assert found.precision == 1
    assert found.recall == pytest.approx(0.6, abs=0.03)
    assert found.cl_dice == pytest.approx(0.75, abs=0.03)


def test_a_branch_that_is_not_there_costs_precision() -> None:
    longer, shorter = tube(), tube(stop=55)
    found = skeleton_scores(longer, shorter)
    assert found.recall == 1
    assert found.precision == pytest.approx(0.5, abs=0.04)


def test_sides_exchange_precision_and_recall() -> None:
    a, b = tube(), tube(start=40, radius=2)
    there, back = skeleton_scores(a, b), skeleton_scores(b, a)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    assert there.cl_dice == back.cl_dice


def test_tubes_beside_each_other_score_nothing() -> None:
    found = skeleton_scores(tube(), np.roll(tube(), 8, axis=0))
    assert found == SkeletonScores(0, 0)
    assert found.cl_dice == 0


def test_two_dimensions() -> None:
    bar = np.zeros((12, 60), bool)
    bar[4:9, 5:55] = True
    assert skeleton_scores(bar, bar).cl_dice == 1


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (4, 4, 4), (1, 2, 2), (2, 2), (4, 4)])
def test_what_is_there_has_a_skeleton_inside_it(shape: tuple[int, ...]) -> None:
    """Thinning must not take a small even blob away: it would be divided by."""
    mask = np.pad(np.ones(shape, bool), 2)
    thin = skeleton(mask)
    assert thin.any()
    assert not (thin & ~mask).any()


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one voxel"):
        skeleton_scores(tube(), np.zeros_like(tube()))
