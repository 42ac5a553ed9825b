"""Errors that are put in: seeded, of probabilities, of the kind that the name says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from refinement_home import two_balls

from nnunet_ext.refinement.corruption import (
    Anatomy,
    corrupted,
    pair_weights,
    swapped_look_alikes,
    with_hole,
    with_island,
    with_shifted_border,
)

KINDS = (swapped_look_alikes, with_hole, with_island, with_shifted_border)
CLASSES = ((0,), (1,), (2,))
NESTED = ((1, 2), (2,))


def anatomy(*, has_regions: bool = False) -> Anatomy:
    members = NESTED if has_regions else CLASSES
    weights = pair_weights(members, has_regions=has_regions)
    return Anatomy((2.0, 1.0, 1.0), members, has_regions, weights, radius_mm=(2.0, 4.0))


def probabilities(*, has_regions: bool = False) -> np.ndarray:
    labels = two_balls(np.random.default_rng(3), (10, 18, 22))
    wanted = NESTED if has_regions else CLASSES
    values = np.stack([0.05 + 0.85 * np.isin(labels, members) for members in wanted])
    return (values if has_regions else values / values.sum(0)).astype(np.float32)


@pytest.mark.parametrize("kind", [*KINDS, corrupted], ids=lambda k: k.__name__)
@pytest.mark.parametrize("has_regions", [False, True], ids=["classes", "regions"])
def test_probabilities_stay_what_they_are(kind: Callable[..., Any], has_regions: bool) -> None:
    given = probabilities(has_regions=has_regions)
    before = given.copy()
    changed = 0
    for seed in range(20):
        found = kind(given, np.random.default_rng(seed), anatomy(has_regions=has_regions))
        again = kind(given, np.random.default_rng(seed), anatomy(has_regions=has_regions))
        np.testing.assert_array_equal(found, again)
        assert found.dtype == np.float32
        assert found.shape == given.shape
        assert found.min() >= 0
        assert found.max() <= 1
        if not has_regions:
            np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
        changed += not np.array_equal(found, given)
    np.testing.assert_array_equal(given, before)
    if has_regions and kind is swapped_look_alikes:
        assert changed == 0, "nested regions have no look-alikes"
    else:
        assert changed >= 15


def test_look_alikes_are_exchanged_and_background_is_not() -> None:
    given = probabilities()
    for seed in range(20):
        found = swapped_look_alikes(given, np.random.default_rng(seed), anatomy())
        np.testing.assert_array_equal(found[0], given[0])
        np.testing.assert_allclose(found[1] + found[2], given[1] + given[2], atol=1e-6)
        touched = (found != given).any(0)
        assert touched.any()
        assert not (touched & (given.argmax(0) == 0)).any()


def test_pairs_that_are_confused_are_exchanged_more_often() -> None:
    confusion = np.zeros((4, 4))
    confusion[1, 3] = 40
    weights = pair_weights([(0,), (1,), (2,), (3,)], has_regions=False, confusion=confusion)
    assert weights[1].tolist() == [0, 0, 0.25, 0.75]
    assert weights[2].tolist() == [0, 0.5, 0, 0.5]
    assert not weights[0].any()


def test_regions_that_share_labels_are_never_exchanged() -> None:
    assert not pair_weights(NESTED, has_regions=True).any()
    assert pair_weights([(1,), (2, 3)], has_regions=True).tolist() == [[0, 1], [1, 0]]


def test_holes_lose_foreground_and_islands_gain_it() -> None:
    given = probabilities()
    for seed in range(10):
        hole = with_hole(given, np.random.default_rng(seed), anatomy())
        assert (hole[0] >= given[0] - 1e-6).all()
        assert (hole[0] > given[0] + 0.2).any()
        island = with_island(given, np.random.default_rng(seed), anatomy())
        structure = 1 + int((island[2] - given[2]).max() > (island[1] - given[1]).max())
        assert (island[structure] >= given[structure] - 1e-6).all()


def test_an_island_of_an_inner_region_lies_in_the_outer_one() -> None:
    given = probabilities(has_regions=True)
    for seed in range(20):
        found = with_island(given, np.random.default_rng(seed), anatomy(has_regions=True))
        grown = found - given
        inner = grown[1] > 0.3
        assert (found[0][inner] > given[1][inner]).all()


def test_a_shifted_border_holds_only_what_is_beside() -> None:
    """Far from every border all voxels are alike, and nothing changes."""
    given = probabilities()
    changed = with_shifted_border(given, np.random.default_rng(0), anatomy()) != given
    background = given.argmax(0) == 0
    assert not changed[:, 0][:, background[0]].all()
    uniform = np.full_like(given, 1 / 3)
    np.testing.assert_allclose(
        with_shifted_border(uniform, np.random.default_rng(0), anatomy()), uniform, atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_nothing_happens_where_there_is_no_structure(kind: Callable[..., Any]) -> None:
    empty = np.zeros((3, 4, 4, 4), np.float32)
    empty[0] = 1
    np.testing.assert_array_equal(kind(empty, np.random.default_rng(0), anatomy()), empty)
