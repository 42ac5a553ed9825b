"""The held-out table: a refiner that gains says so, one that does not says so."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from refinement_home import RefinementHome, read

from nnunet_ext.evaluation.structures import LabelTable, Structure
from nnunet_ext.refinement.folder import Refiner
from nnunet_ext.refinement.held_out import HeldOutCase, Table, table_of
from nnunet_ext.refinement.unsure import BINS, certainty, threshold_of

TABLE = LabelTable((Structure("1", "left", (1,)), Structure("2", "right", (2,))), (1, 2))


def cases(
    before: list[float | None], after: list[float | None], *, other: tuple[float, float] = (0.8, 0.8)
) -> list[HeldOutCase]:
    """One structure as given; the other one before and after as said."""
    found = []
    for number, (b, a) in enumerate(zip(before, after, strict=True)):
        second_before, second_after = other
        rest = 0.001 * number
        found.append(
            HeldOutCase(
                f"case_{number}",
                number % 2,
                {"1": b, "2": second_before + rest},
                {"1": a, "2": second_after + rest},
                {"1": b, "2": second_before + rest},
            )
        )
    return found


def test_a_gain_in_every_case_is_a_gain() -> None:
    table = table_of(cases([0.5] * 8, [0.7 + n / 100 for n in range(8)]), TABLE, everywhere=False)
    assert table.gains
    assert table.rows[0].verdict == "better"
    assert (table.rows[1].verdict, table.rows[1].worse_cases) == ("cannot tell", 0)
    assert table.mean.after - table.mean.before == pytest.approx((table.rows[0].after - 0.5) / 2)


def test_refined_everywhere_has_a_table_of_its_own() -> None:
    scored = cases([0.5] * 8, [0.7 + n / 100 for n in range(8)])
    assert not table_of(scored, TABLE, everywhere=True).gains


def test_a_structure_that_pays_for_the_others_gain_forbids_it() -> None:
    table = table_of(cases([0.2] * 8, [0.9] * 8, other=(0.9, 0.7)), TABLE, everywhere=False)
    assert table.mean.verdict == "better"
    assert table.rows[1].verdict == "worse"
    assert (table.rows[1].worse_cases, table.rows[1].largest_loss) == (8, pytest.approx(0.2))
    assert not table.gains


@pytest.mark.parametrize(
    "after",
    [[0.5] * 8, [0.4] * 8, [0.6, 0.4] * 4, [0.9] + [0.5] * 7],
    ids=["nothing", "loss", "coin", "one case"],
)
def test_what_may_be_chance_is_no_gain(after: list[float]) -> None:
    assert not table_of(cases([0.5] * 8, after), TABLE, everywhere=False).gains


@pytest.mark.parametrize(("number", "structures"), [(6, 2), (6, 3), (8, 7), (9, 7)])
def test_few_cases_are_no_excuse_for_harm(number: int, structures: int) -> None:
    """So few that the harm in every case is not beyond chance after Holm's correction over the structures."""
    keys = [str(n + 1) for n in range(structures)]
    table = LabelTable(tuple(Structure(key, f"s{key}", (int(key),)) for key in keys), (*range(structures),))
    scored = []
    for case in range(number):
        before = dict.fromkeys(keys, 0.9) | {"1": 0.3, "2": 0.9 - case / 1000}
        after = before | {"1": 0.95, "2": 0.5 - case / 1000}
        scored.append(HeldOutCase(f"case_{case}", case % 2, before, after, before))
    found = table_of(scored, table, everywhere=False)
    assert found.mean.verdict == "better"
    assert [row.pays for row in found.rows[:2]] == [False, True]
    assert not found.gains


@pytest.mark.parametrize(("loss", "gains"), [(0.0019, True), (0.0021, False)])
def test_what_is_tolerated(loss: float, gains: bool) -> None:
    table = table_of(cases([0.5] * 4, [0.9] * 4, other=(0.8, 0.8 - loss)), TABLE, everywhere=False)
    assert table.rows[1].pays is not gains


def test_few_cases_cannot_show_a_gain() -> None:
    assert not table_of(cases([0.5] * 4, [0.9] * 4), TABLE, everywhere=False).gains


def test_a_structure_that_only_the_refiner_sees_is_its_harm() -> None:
    table = table_of(cases([None] * 8, [0.0] * 8), TABLE, everywhere=False)
    assert (table.rows[0].before, table.rows[0].after, table.rows[0].worse_cases) == (1, 0, 8)
    assert not table.gains
    nowhere = table_of(cases([None] * 8, [None] * 8), TABLE, everywhere=False)
    assert nowhere.rows[0].cases == 0
    assert json.dumps(nowhere.as_dict(), allow_nan=False)
    assert nowhere.lines()[1].split()[:3] == ["left", "-", "-"]
    assert nowhere.mean.cases == 8


def test_no_cases_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected held-out cases, got none"):
        table_of([], TABLE, everywhere=False)


def test_a_table_survives_json() -> None:
    table = table_of(cases([0.5] * 8, [0.7] * 8), TABLE, everywhere=False)
    again = Table.from_dict(
        {k: v for k, v in json.loads(json.dumps(table.as_dict())).items() if k != "gains"}
    )
    assert again == table
    assert len(table.lines()) == 4


def test_the_threshold_holds_most_errors() -> None:
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.3, 0.99, 5000)
    errors = np.histogram(sure, bins=BINS, range=(0, 1))[0]
    assert (sure < threshold_of([errors, errors])).mean() == pytest.approx(0.95, abs=0.005)
    assert threshold_of([np.zeros(BINS, np.int64)]) == 0.9


def test_a_region_is_as_sure_as_its_least_sure_output() -> None:
    found = certainty(np.array([[0.95, 0.5], [0.1, 0.9]]), has_regions=True)
    assert found.tolist() == [0.9, 0.5]


@pytest.mark.parametrize(
    ("labels", "shape"), [("plain", "anisotropic"), ("regions", "resampled"), ("ignore", "isotropic")]
)
def test_before_is_what_nnunets_own_label_maps_score(
    home_of: Callable[..., RefinementHome], refiner_of: Callable[..., Refiner], labels: str, shape: str
) -> None:
    home, held_out = home_of(labels, shape), refiner_of(labels, shape).description["held_out"]
    sources = {case.name: case for case in home.source().cases}
    structures = home.source().outputs.table.structures
    assert len(held_out["cases"]) == 6
    for case in held_out["cases"]:
        source = sources[case["name"]]
        predicted, reference = read(source.probabilities.with_suffix(".nii.gz")), read(source.reference)
        counts = reference != 3
        for structure in structures:
            p, r = (np.isin(found, structure.labels) & counts for found in (predicted, reference))
            assert case["before"][structure.key] == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))
