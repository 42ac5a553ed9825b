"""From validation folders to sentences: a better trainer is found, one that is the same is not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed

from nnunet_ext.evaluation.benchmark.matrix import Arm, Matrix, Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.scores import comparisons, score

DATASET = "Dataset004_X"
CASES = tuple(f"case_{n:02d}" for n in range(12))
SIZE = (10, 20, 20)


@pytest.fixture
def preprocessed(tmp_path: Path) -> Path:
    folder = tmp_path / "preprocessed" / DATASET
    (folder / "gt_segmentations").mkdir(parents=True)
    labels = {"background": 0, "organ": 1}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    for number, case in enumerate(CASES):
        _write(_cube(number), folder / "gt_segmentations" / f"{case}.nii.gz")
    return tmp_path / "preprocessed"


def _cube(number: int, *, lost: int = 0) -> np.ndarray:
    """A box of 8 slices, of which some are lost."""
    label = np.zeros(SIZE, np.uint8)
    label[1 + lost : 9, 3 : 9 + number % 4, 4:14] = 1
    return label


def _write(label: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(placed(label, spacing=(1, 1, 2)), str(file))


def finish(run: Run, places: Places, *, lost: tuple[int, ...]) -> None:
    """The files of a training that is done: of case n so many slices were not found."""
    validation = places.fold(run) / "validation"
    for number, case in enumerate(CASES):
        if number % 2 == run.fold:
            _write(_cube(number, lost=lost[number % len(lost)]), validation / f"{case}.nii.gz")
    with zipfile.ZipFile(places.fold(run) / "checkpoint_final.pth", "w"):
        pass
    (validation / "summary.json").write_text(json.dumps({"of": run.name}))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    trainers = ("nnUNetTrainerGood", "nnUNetTrainerSame")
    matrix = Matrix(DATASET, trainers, folds=(0, 1), repeats=2, baselines=())
    return Places(tmp_path / "benchmark", matrix)


LOST = {"nnUNetTrainer": (3, 2), "nnUNetTrainerSame": (2, 3), "nnUNetTrainerGood": (0, 1)}


def test_the_better_trainer_is_found_and_the_same_is_not(places: Places, preprocessed: Path) -> None:
    for run in places.matrix.runs:
        # Case by case the same on average, in both repeats.
        lost = LOST[run.arm.trainer]
        finish(run, places, lost=(*lost, *lost[::-1]))
    scored = score(places, preprocessed=preprocessed)
    assert scored.repeats == (0, 1)
    assert scored.unfinished == ()
    dice = next(table for table in scored.tables if table.metric == "Dice")
    assert dice.cases == CASES
    good = dice.scores[Arm("nnUNetTrainerGood", "nnUNetPlans", "3d_fullres")]
    assert good.shape == (12, 2)
    assert good[0, 0] == 1
    assert good[1, 0] == pytest.approx(2 * 7 / 15)
    verdicts = {(c.candidate.split(" ")[0], c.metric): c.verdict for c in comparisons(scored)}
    assert len(verdicts) == 2 * 4
    assert verdicts["nnUNetTrainerGood", "Dice"] == "better"
    assert verdicts["nnUNetTrainerGood", "hd95_mm"] == "better"
    assert verdicts["nnUNetTrainerSame", "Dice"] == "cannot tell"
    for comparison in comparisons(scored):
        assert comparison.sentence.startswith(f"{comparison.metric} of organ, nnUNetTrainer")
        assert "2 trainings each" in comparison.sentence


def test_only_complete_repeats_count(places: Places, preprocessed: Path) -> None:
    runs = places.matrix.runs
    for run in runs[:-1]:
        finish(run, places, lost=LOST[run.arm.trainer])
    scored = score(places, preprocessed=preprocessed)
    assert scored.repeats == (0,)
    assert scored.unfinished == (runs[-1],)
    assert all("one training each" in comparison.sentence for comparison in comparisons(scored))


def test_a_trainer_that_always_fails_does_not_hold_up_the_others(places: Places, preprocessed: Path) -> None:
    for run in places.matrix.runs:
        if run.arm.trainer != "nnUNetTrainerGood" or run.fold == 0:
            finish(run, places, lost=LOST[run.arm.trainer])
    scored = score(places, preprocessed=preprocessed)
    assert [arm.trainer for arm in scored.left_out] == ["nnUNetTrainerGood"]
    assert scored.repeats == (0, 1)
    assert {run.arm.trainer for run in scored.unfinished} == {"nnUNetTrainerGood"}
    assert {c.candidate for c in comparisons(scored)} == {"nnUNetTrainerSame"}


def test_without_vanilla_there_is_nothing_to_compare_with(places: Places, preprocessed: Path) -> None:
    for run in places.matrix.runs:
        if run.arm.trainer != "nnUNetTrainer":
            finish(run, places, lost=LOST[run.arm.trainer])
    with pytest.raises(
        ValueError, match="no repeat is complete, 4 trainings are missing, such as nnUNetTrain"
    ):
        score(places, preprocessed=preprocessed)


def test_a_trainer_with_a_length_of_its_own_is_refused(places: Places, preprocessed: Path) -> None:
    for run in places.matrix.runs:
        finish(run, places, lost=LOST[run.arm.trainer])
        length = 7 if run.arm.trainer == "nnUNetTrainerGood" else 5
        lines = [
            f"2026-01-01 10:00:0{n}.000001: {words}"
            for n in range(length)
            for words in (f"Epoch {n}", "Epoch time: 1.0 s")
        ]
        (places.fold(run) / "training_log_1.txt").write_text("\n".join(lines))
    with pytest.raises(
        ValueError, match=r"as many epochs .*, got 5 of nnUNetTrainer__.*, 7 of nnUNetTrainerGood"
    ):
        score(places, preprocessed=preprocessed)


def test_none_complete_is_told(places: Places, preprocessed: Path) -> None:
    with pytest.raises(ValueError, match="no repeat is complete, 12 trainings are missing, such as nnUNetT"):
        score(places, preprocessed=preprocessed)


def test_what_was_scored_is_kept_until_its_validation_changes(places: Places, preprocessed: Path) -> None:
    for run in places.matrix.runs:
        finish(run, places, lost=LOST[run.arm.trainer])
    first = score(places, preprocessed=preprocessed)
    (run, *_) = places.matrix.runs
    prediction = places.fold(run) / "validation" / f"{CASES[0]}.nii.gz"
    _write(_cube(0, lost=7), prediction)
    again = score(places, preprocessed=preprocessed)
    np.testing.assert_array_equal(again.tables[0].scores[run.arm], first.tables[0].scores[run.arm])
    (prediction.parent / "summary.json").write_text("{}")
    changed = score(places, preprocessed=preprocessed)
    assert changed.tables[0].scores[run.arm][0, 0] == pytest.approx(2 / 9)


def test_a_validation_that_cannot_be_scored_is_told(places: Places, preprocessed: Path) -> None:
    for run in places.matrix.runs:
        finish(run, places, lost=LOST[run.arm.trainer])
    (run, *_) = places.matrix.runs
    (places.fold(run) / "validation" / f"{CASES[0]}.nii.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match=f"1 cases of {run.name} cannot be scored, such as case_00"):
        score(places, preprocessed=preprocessed)
