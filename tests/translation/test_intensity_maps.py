"""Tables that keep air dark and say nothing of the order of tissues."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nnunet_ext.translation.facts import HISTOGRAM_BINS
from nnunet_ext.translation.intensity_maps import anchor_table, mapped

EDGES = np.linspace(-1, 1, HISTOGRAM_BINS + 1)


def counts(*parts: tuple[float, float, int]) -> np.ndarray:
    """Of normal distributions: mean, deviation, voxels."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(mean, std, number) for mean, std, number in parts])
    return np.histogram(values.clip(-1, 1), HISTOGRAM_BINS, (-1, 1))[0]


# Air, muscle, fat: as bright as they are in T1-weighted MRI and in a CT window of -1000 to 1000 HU.
MR = ((-0.95, 0.02, 50_000), (-0.4, 0.08, 30_000), (0.7, 0.1, 20_000))
CT = ((-0.98, 0.01, 60_000), (0.05, 0.02, 25_000), (-0.1, 0.02, 15_000))


@pytest.mark.parametrize("air", [5_000, 50_000, 500_000])
def test_air_stays_dark_and_every_tissue_begins_in_the_middle_of_the_body(air: int) -> None:
    """However large the field of view, and though fat and muscle change their order."""
    mr = counts((*MR[0][:2], air), *MR[1:])
    table = torch.tensor(anchor_table(mr, counts(*CT)))
    air_unit, muscle, fat = mapped(torch.tensor([-0.95, -0.4, 0.7]), table).tolist()
    assert air_unit < -0.95
    assert muscle == fat == pytest.approx(0.03, abs=0.03)


def test_the_way_back_keeps_air_dark_too() -> None:
    table = torch.tensor(anchor_table(counts(*CT), counts(*MR)))
    air, fat, muscle = mapped(torch.tensor([-0.98, -0.1, 0.05]), table).tolist()
    assert air < -0.9
    assert muscle == fat == pytest.approx(-0.37, abs=0.05)


def test_it_never_falls_and_has_a_value_for_each_edge() -> None:
    table = np.array(anchor_table(counts(*MR), counts(*CT)))
    assert table.shape == EDGES.shape
    assert (np.diff(table) >= 0).all()
    assert table[0] == -1


def test_images_of_two_values_have_no_three_classes() -> None:
    two = np.zeros(HISTOGRAM_BINS)
    two[[3, 90]] = 1
    with pytest.raises(ValueError, match="expected images with three different values, got 2"):
        anchor_table(two, counts(*CT))


def test_between_the_steps_of_a_table_it_is_linear_and_ends_hold_beyond() -> None:
    table = torch.tensor([-1.0, 0.0, 1.0])
    image = torch.tensor([[-2.0, -1.0, -0.25], [0.0, 0.75, 3.0]])
    assert mapped(image, table).tolist() == [[-1.0, -1.0, -0.25], [0.0, 0.75, 1.0]]
