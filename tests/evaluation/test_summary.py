"""Means with their counts, files for programs, the table for people."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from evaluated import cube, table

from nnunet_ext.evaluation import Case, CaseResult, Evaluation, Settings, score_case, summary, summary_text
from nnunet_ext.evaluation.tables import cases_csv, means_text

EMPTY = np.zeros((24, 24, 24), np.uint8)
ORGAN = cube(at=(2, 2, 2)).astype(np.uint8)
NEAR = cube(at=(3, 2, 2)).astype(np.uint8)
PAIRS = {"both": (NEAR, ORGAN), "empty": (EMPTY, EMPTY), "invented": (ORGAN, EMPTY), "missed": (EMPTY, ORGAN)}


def evaluation(settings: Settings | None = None) -> Evaluation:
    """Four cases of the organ, each kind once, none of the vessel, and one case that failed."""
    settings = settings or Settings()
    results = []
    for name, (prediction, reference) in PAIRS.items():
        scores = score_case(prediction, reference, spacing_mm=(1, 1, 1), table=table(), settings=settings)
        results.append(CaseResult(Case(name, None, None), scores))
    failed = CaseResult(Case("wrong", None, None), error=("grid-mismatch", "reason", "remedy"))
    return Evaluation((*results, failed), table(), settings)


def test_every_mean_says_what_it_stands_on() -> None:
    diagonal = np.sqrt(3) * 23
    organ = summary(evaluation())["mean"]["1"]
    counts = {"cases": 4, "both_empty": 1, "missing_reference": 1, "missing_prediction": 1}
    assert {name: organ[name] for name in counts} == counts
    assert organ["Dice"] == pytest.approx(0.875 / 3)
    assert organ["hd_mm"] == pytest.approx((1 + diagonal) / 2)
    assert organ["rve_percent"] == -50
    assert organ["volume_ml"] == pytest.approx(512 * 2 / 4 / 1000)
    n = {"Dice": 3, "hd_mm": 2, "nsd": 3, "rve_percent": 2, "precision": 2, "recall": 2, "TP": 4}
    assert {name: organ["n"][name] for name in n} == n


def test_missing_null_leaves_distances_out_and_says_so() -> None:
    organ = summary(evaluation(Settings(missing="null")))["mean"]["1"]
    assert (organ["hd_mm"], organ["n"]["hd_mm"], organ["missing_prediction"]) == (1, 1, 1)
    assert organ["Dice"] == pytest.approx(0.875 / 3)


def test_a_structure_of_no_case_is_left_out_of_the_foreground_mean_by_name() -> None:
    found = summary(evaluation())
    vessel = found["mean"]["2"]
    assert (vessel["Dice"], vessel["n"]["Dice"], vessel["both_empty"]) == (None, 0, 4)
    assert found["foreground_mean"]["Dice"] == found["mean"]["1"]["Dice"]
    assert found["foreground_mean"]["n"]["Dice"] == 1


def test_failed_cases_stand_in_the_file() -> None:
    found = summary(evaluation())
    assert found["cases"] == {"evaluated": 4, "failed": 1}
    failure = {"case": "wrong", "code": "grid-mismatch", "reason": "reason", "remedy": "remedy"}
    assert found["failed"] == [failure]


def test_definitions_and_versions_stand_in_the_file() -> None:
    found = summary(evaluation(Settings(nsd_tolerance_mm=1.5, missing="null")))
    assert found["definitions"]["nsd_tolerance_mm"] == 1.5
    assert "within 1.5 mm" in found["definitions"]["nsd"]
    assert found["definitions"]["missing"]["missing_prediction"].endswith("null and enter no mean")
    assert set(found["versions"]) == {"nnunet_ext", "numpy", "scipy"}
    metrics = found["metric_per_case"][0]["metrics"]["1"]
    flags = {"TP", "FP", "FN", "TN", "n_pred", "n_ref", "missing_prediction", "missing_reference"}
    explained = {*found["definitions"], "reference_volume_ml", "rve_absolute_percent", "both_empty"}
    assert set(metrics) - flags <= explained


def test_the_text_is_strict_json_and_always_the_same() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = summary_text(evaluation())
    assert json.loads(text, parse_constant=refuse)["metric_per_case"][1]["metrics"]["1"]["Dice"] is None
    assert text == summary_text(evaluation())


def test_csv_has_a_row_for_each_case_and_structure() -> None:
    rows = list(csv.DictReader(io.StringIO(cases_csv(evaluation(Settings(tubular=frozenset({"1"})))))))
    assert [(r["case"], r["label"]) for r in rows] == [
        *((name, label) for name in PAIRS for label in ("1", "2")),
        ("wrong", ""),
    ]
    assert rows[0]["structure"] == "organ"
    assert (rows[0]["Dice"], rows[0]["hd_mm"], rows[0]["missing_prediction"]) == ("0.875", "1.0", "0")
    assert rows[0]["cl_dice"] != ""
    assert (rows[1]["Dice"], rows[1]["cl_dice"], rows[1]["both_empty"]) == ("", "", "1")
    assert rows[6]["missing_prediction"] == "1"
    assert (rows[8]["error"], rows[8]["Dice"]) == ("grid-mismatch", "")


def test_the_table_for_people() -> None:
    lines = means_text(evaluation()).splitlines()
    assert lines[0].split()[:4] == ["structure", "Dice", "IoU", "NSD"]
    assert lines[1].split()[:2] == ["organ", "0.2917"]
    assert lines[1].split()[-4:] == ["4", "1", "1", "1"]
    assert lines[2].split()[:2] == ["vessel", "-"]
    assert lines[3].startswith("pooled over labels")
    assert "1 of 5 cases failed" in lines
    assert len({len(line) for line in lines[:3]}) == 1
    assert "clDice" not in lines[0]
    assert "clDice" in means_text(evaluation(Settings(tubular=frozenset({"1"}))))


def test_nothing_at_all() -> None:
    empty = Evaluation((), table(), Settings())
    assert summary(empty)["foreground_mean"] == {"n": {}}
    assert "pooled" in means_text(empty)
    assert cases_csv(empty).count("\n") == 1
