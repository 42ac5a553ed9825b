"""What is there before any training begins, and what has changed since the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_training import preprocessed_dataset

from nnunet_ext.evaluation.benchmark.inputs import check_inputs, declared, fingerprints, keep_declaration
from nnunet_ext.evaluation.benchmark.matrix import RESENC_PLANS, Matrix

DATASET = "Dataset004_X"
PLANS = ("nnUNetPlans", RESENC_PLANS)


def matrix(**more: Any) -> Matrix:
    known = {"dataset": DATASET, "trainers": ("nnUNetTrainerAGUNet",), "folds": (0, 1), "budget": "4epochs"}
    return Matrix(**(known | more))


@pytest.fixture
def preprocessed(tmp_path: Path) -> Path:
    return preprocessed_dataset(tmp_path / "preprocessed", dataset=DATASET, plans=PLANS)


def test_all_is_there(preprocessed: Path, tmp_path: Path) -> None:
    check_inputs(matrix(), preprocessed=preprocessed)
    keep_declaration(matrix(), root=tmp_path / "benchmark", preprocessed=preprocessed)
    assert declared(tmp_path / "benchmark") == matrix()
    assert set(fingerprints(matrix(), preprocessed=preprocessed)) == {
        "splits_final.json",
        "nnUNetPlans.json",
        f"{RESENC_PLANS}.json",
    }


@pytest.mark.parametrize(
    ("lost", "more", "message"),
    [
        ("", {}, "type nnUNetv2_plan_and_preprocess -d Dataset004_X"),
        ("nnUNetPlans.json", {}, "type nnUNetv2_plan_and_preprocess -d Dataset004_X, or"),
        (
            f"{RESENC_PLANS}.json",
            {},
            "type nnUNetv2_plan_and_preprocess -d Dataset004_X -pl nnUNetPlannerResEncM",
        ),
        (f"{RESENC_PLANS}_3d_fullres", {}, f"-plans_name {RESENC_PLANS} -c 3d_fullres"),
        (None, {"configurations": ("2d",)}, "expected the configuration 2d in .*, got 3d_fullres"),
        (None, {"folds": (0, 2)}, "there are 2, got fold 2"),
        ("splits_final.json", {"folds": (5,)}, "there are 5, got fold 5"),
    ],
)
def test_what_is_missing_is_told_with_the_command_to_type(
    preprocessed: Path, lost: str | None, more: dict[str, Any], message: str
) -> None:
    if lost is not None:
        place = preprocessed / DATASET / lost
        place.rename(preprocessed / "elsewhere")
    with pytest.raises(ValueError, match=message):
        check_inputs(matrix(**more), preprocessed=preprocessed)


def test_a_cascade_needs_what_it_goes_on_from_on_every_fold(preprocessed: Path) -> None:
    file = preprocessed / DATASET / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    fine, data = "3d_cascade_fullres", "nnUNetPlans_3d_fullres"
    plans["configurations"]["3d_lowres"] = {"data_identifier": data, "architecture": {}}
    plans["configurations"][fine] = {
        "data_identifier": data,
        "previous_stage": "3d_lowres",
        "architecture": {},
    }
    file.write_text(json.dumps(plans))
    both = ("3d_lowres", fine)
    check_inputs(matrix(configurations=both, baselines=()), preprocessed=preprocessed)
    for configurations, folds in (((fine,), (0, 1)), (both, (0,))):
        wrong = matrix(configurations=configurations, folds=folds, baselines=())
        with pytest.raises(
            ValueError, match=f"{fine} goes on from predictions of 3d_lowres .* on all 2 folds"
        ):
            check_inputs(wrong, preprocessed=preprocessed)


@pytest.mark.parametrize(
    "more", [{"budget": "5epochs"}, {"precision": "float32"}, {"dataset": "Dataset005_Y"}], ids=str
)
def test_another_budget_precision_or_dataset_is_another_benchmark(
    preprocessed: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    keep_declaration(matrix(), root=tmp_path / "benchmark", preprocessed=preprocessed)
    with pytest.raises(ValueError, match=f"holds a benchmark with {next(iter(more))}"):
        keep_declaration(matrix(**more), root=tmp_path / "benchmark", preprocessed=preprocessed)
    assert declared(tmp_path / "benchmark") == matrix()


def test_a_benchmark_may_grow(preprocessed: Path, tmp_path: Path) -> None:
    root = tmp_path / "benchmark"
    keep_declaration(matrix(), root=root, preprocessed=preprocessed)
    larger = matrix(trainers=("nnUNetTrainerAGUNet", "nnUNetTrainerMAUNet"), repeats=3)
    keep_declaration(larger, root=root, preprocessed=preprocessed)
    assert declared(root) == larger


@pytest.mark.parametrize("name", ["splits_final.json", "nnUNetPlans.json"])
def test_splits_or_plans_that_have_changed_are_refused(preprocessed: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "benchmark"
    keep_declaration(matrix(), root=root, preprocessed=preprocessed)
    file = preprocessed / DATASET / name
    file.write_text(file.read_text() + " ")
    with pytest.raises(ValueError, match=f"{name} of {DATASET} has changed since this benchmark began"):
        keep_declaration(matrix(), root=root, preprocessed=preprocessed)


def test_splits_that_nnunet_draws_at_the_first_training_are_kept_from_then_on(
    preprocessed: Path, tmp_path: Path
) -> None:
    root, file = tmp_path / "benchmark", preprocessed / DATASET / "splits_final.json"
    splits = file.read_text()
    file.unlink()
    keep_declaration(matrix(), root=root, preprocessed=preprocessed)
    file.write_text(splits)
    keep_declaration(matrix(), root=root, preprocessed=preprocessed)
    file.write_text("[]")
    with pytest.raises(ValueError, match="has changed"):
        keep_declaration(matrix(), root=root, preprocessed=preprocessed)
