"""Which trainings there are, and what would be no fair comparison."""

from __future__ import annotations

from typing import Any

import pytest
from nnunet_ext.trainers.names import parse

from nnunet_ext.evaluation.benchmark.matrix import RESENC_PLANS, VANILLA, Arm, Matrix, matrix_from

OURS = ("nnUNetTrainerRASUNet", "nnUNetTrainerRASUNet_NoSAM")


def matrix(**more: Any) -> Matrix:
    return Matrix(**({"dataset": "Dataset004_X", "trainers": OURS, "folds": (0, 1)} | more))


def test_vanilla_is_always_there_on_the_same_plans_and_on_those_of_matching_memory() -> None:
    arms = matrix().arms
    assert arms[:2] == (
        Arm(VANILLA, "nnUNetPlans", "3d_fullres"),
        Arm(VANILLA, RESENC_PLANS, "3d_fullres"),
    )
    assert {arm.trainer for arm in arms[2:]} == set(OURS)
    assert {arm.plans for arm in arms[2:]} == {"nnUNetPlans"}
    named = matrix(trainers=(VANILLA, *OURS))
    assert sorted(map(str, named.arms)) == sorted(map(str, arms))


def test_every_training_is_there_once_and_a_cut_off_benchmark_is_fair() -> None:
    found = matrix(repeats=2, configurations=("2d", "3d_fullres"))
    runs = found.runs
    assert len(runs) == len(set(runs)) == 2 * 2 * len(found.arms)
    assert len({run.name for run in runs}) == len(runs)
    first = runs[: len(found.arms)]
    assert {run.arm for run in first} == set(found.arms)
    assert {(run.fold, run.repeat) for run in first} == {(0, 0)}


@pytest.mark.parametrize("trainer", [*OURS, VANILLA, "nnUNetTrainerAGUNet_Paper_NoMirroring"])
@pytest.mark.parametrize("budget", ["20epochs_25iters", "3epochs", "7iters", ""])
def test_names_are_those_that_nnunet_finds(trainer: str, budget: str) -> None:
    if "Paper" in trainer and budget != "20epochs_25iters":
        return
    typed = matrix(trainers=(trainer,), budget=budget).trainer_to_type(trainer)
    parsed = parse(typed)
    assert parsed is None or parsed.canonical == typed
    assert (parsed is None) == (typed == VANILLA)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"trainers": ("nnUNetTrainer_250epochs",)}, "has a length of its own"),
        ({"trainers": ("nnUNetTrainerAGUNet_5iters",)}, "has a length of its own"),
        ({"trainers": ("nnUNetTrainerAGUNet_Paper",)}, r"length of its own \(Paper\)"),
        # Its epoch is a pass over its samples, and not 250 iterations.
        ({"trainers": ("nnUNetTrainerAGUNet_Paper",), "budget": "20epochs"}, r"of its own \(Paper\)"),
        ({"trainers": ("nnUNetTrainerAGUNet_Paper",), "budget": "250iters"}, r"of its own \(Paper\)"),
        ({"trainers": ("../evil",)}, "trainers: expected names"),
        ({"trainers": OURS * 2}, "expected each once"),
        ({"plans": ()}, "plans: expected at least one"),
        ({"configurations": ()}, "configurations: expected at least one"),
        ({"plans": ("a__b",)}, "without '__'"),
        ({"folds": ()}, "folds"),
        ({"folds": (0, 0)}, "folds"),
        ({"folds": (-1,)}, "folds"),
        ({"repeats": 0}, "repeats"),
        ({"budget": "20 epochs"}, "budget: expected such as"),
        ({"budget": "25iters_20epochs"}, "budget: expected such as"),
        ({"budget": "0epochs"}, "budget: expected such as"),
        ({"precision": "float64"}, "precision: expected float32, bfloat16, amp"),
        ({"folds": ("0",)}, "folds: expected a list of whole numbers"),
        ({"folds": 0}, "folds: expected a list of whole numbers"),
        ({"trainers": "nnUNetTrainer"}, "trainers: expected a list of text"),
        ({"repeats": "3"}, "repeats: expected whole numbers, got '3'"),
        ({"dataset": 4}, "dataset: expected text, got 4"),
        ({"precision": "bfloat16"}, "such as 1000epochs_250iters"),
        # nnU-Net has a trainer of its own of that name.
        ({"precision": "bfloat16", "budget": "20epochs"}, "such as 20epochs_250iters"),
    ],
)
def test_what_is_unfair_or_no_benchmark_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        matrix(**more)


@pytest.mark.parametrize("budget", ["20epochs_250iters", "7iters"])
def test_in_bfloat16_vanilla_is_composed_too(budget: str) -> None:
    """nnU-Net's own classes are found first, and know nothing of bfloat16."""
    from nnunetv2.training.nnUNetTrainer.variants.training_length import nnUNetTrainer_Xepochs

    typed = matrix(precision="bfloat16", budget=budget).trainer_to_type(VANILLA)
    assert not hasattr(nnUNetTrainer_Xepochs, typed)
    assert hasattr(nnUNetTrainer_Xepochs, "nnUNetTrainer_20epochs")


def test_cascades_come_after_what_they_go_on_from() -> None:
    runs = matrix(configurations=("3d_cascade_fullres", "3d_lowres"), repeats=2, baselines=()).runs
    order = [(run.repeat, run.arm.configuration) for run in runs]
    arms_and_folds = 3 * 2
    assert order == [
        (repeat, configuration)
        for repeat in range(2)
        for configuration in ("3d_lowres", "3d_cascade_fullres")
        for _ in range(arms_and_folds)
    ]


def test_a_file_declares_it_with_lists() -> None:
    content = {"dataset": "Dataset004_X", "trainers": list(OURS), "folds": [0, 1], "repeats": 3}
    assert matrix_from(content) == matrix(repeats=3)
    with pytest.raises(ValueError, match="got fold"):
        matrix_from({**content, "fold": 0})
    with pytest.raises(ValueError, match="expected trainers in the benchmark"):
        matrix_from({"dataset": "Dataset004_X"})
