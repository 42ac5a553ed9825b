"""Settings and the schedule of the learning rate."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict

import pytest
from translation_home import small

from nnunet_ext.translation.settings import Settings, default_layers, rate_factor


def test_the_rate_is_constant_for_half_and_falls_to_0() -> None:
    """CycleGAN: 100 epochs at 1, then linearly to 0 at epoch 200."""
    factors = [rate_factor(n, steps=200) for n in range(201)]
    assert factors[:100] == [1.0] * 100
    assert factors[200] == 0
    falls = {round(a - b, 12) for a, b in itertools.pairwise(factors[99:])}
    assert falls == {round(1 / 101, 12)}


def test_constant_share() -> None:
    assert rate_factor(9, steps=10, constant_share=1.0) == 1.0
    assert rate_factor(0, steps=10, constant_share=0.0) == pytest.approx(10 / 11)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 0}, "at least one step"),
        ({"batch_size": 0}, "a batch of at least 1"),
        ({"pool_size": -1}, "a pool of 0 or more"),
        ({"cycle_weight": -1.0}, "weights of 0 or more"),
        ({"learning_rate": 0.0}, "a learning rate above 0"),
        ({"constant_share": 1.5}, "a constant share"),
        ({"mr_percentiles": (99.0, 1.0)}, "percentiles"),
        ({"mirroring_axes": (3,)}, "mirroring axes"),
        ({"seed": -1}, "a seed"),
        ({"precision": "16"}, "a precision"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small(**change)


def test_settings_come_back_from_json() -> None:
    settings = small(mirroring_axes=(0, 2))
    assert Settings.from_json(json.loads(json.dumps(asdict(settings)))) == settings
    with pytest.raises(ValueError, match="expected the settings"):
        Settings.from_json({"steps": 1})


def test_a_judgement_sees_less_than_a_patch() -> None:
    assert [default_layers((n, 128, 128)) for n in (34, 35, 95, 96)] == [1, 2, 2, 3]
