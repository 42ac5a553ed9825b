"""Histogram matching as a table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunet_ext.translation.facts import HISTOGRAM_BINS
from nnunet_ext.translation.intensity_maps import mapped, matching_table

EDGES = np.linspace(-1, 1, HISTOGRAM_BINS + 1)


def counts(values: np.ndarray) -> np.ndarray:
    return np.histogram(values, HISTOGRAM_BINS, (-1, 1))[0]


def test_values_that_go_through_it_are_distributed_as_the_target() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(0.3, 0.1, 50_000), rng.beta(2, 5, 50_000) - 0.4
    table = torch.tensor(matching_table(counts(source), counts(target)))
    moved = mapped(torch.tensor(source), table).numpy()
    ranks = np.linspace(0.01, 0.99, 99)
    difference = np.abs(np.quantile(moved, ranks) - np.quantile(target, ranks))
    assert difference.max() < 2 / HISTOGRAM_BINS  # the width of a bin


def test_order_and_ends_are_kept() -> None:
    gaps = np.zeros(HISTOGRAM_BINS)
    gaps[[20, 21, 60, 100]] = 5, 1, 3, 7
    table = np.array(matching_table(counts(np.linspace(-0.5, 0.499, 999)), gaps))
    assert (np.diff(table) >= 0).all()
    assert (table[0], table[-1]) == (-1, 1)
    assert table[EDGES <= -0.5].max() == pytest.approx(EDGES[20])
    assert table[EDGES >= 0.5].min() == pytest.approx(EDGES[101])


def test_the_same_distribution_stays() -> None:
    body = counts(np.random.default_rng(0).uniform(-0.5, 0.9, 100_000))
    assert matching_table(body, body) == pytest.approx(EDGES.tolist(), abs=1e-6)


def test_between_the_steps_of_a_table_it_is_linear_and_ends_hold_beyond() -> None:
    table = torch.tensor([-1.0, 0.0, 1.0])
    image = torch.tensor([[-2.0, -1.0, -0.25], [0.0, 0.75, 3.0]])
    assert mapped(image, table).tolist() == [[-1.0, -1.0, -0.25], [0.0, 0.75, 1.0]]
