"""Pairs of files by name, and the dataset.json that belongs to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluated import write_dataset_json

from nnunet_ext.evaluation import find_cases, find_dataset_json, read_dataset_json


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_files_are_paired_by_name(tmp_path: Path) -> None:
    prediction = touch(
        tmp_path / "p", "b.nii.gz", "a.nii.gz", "a.npz", "plans.json", "._a.nii.gz", "x.nii.gz"
    )
    reference = touch(tmp_path / "r", "a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nrrd")
    found = find_cases(prediction, reference, file_ending=".nii.gz")
    assert [(c.name, c.prediction is None, c.reference is None) for c in found] == [
        ("a", False, False),
        ("b", False, False),
        ("c", True, False),
        ("x", False, True),
    ]
    some = find_cases(prediction, reference, file_ending=".nii.gz", only_predicted=True)
    assert [c.name for c in some] == ["a", "b", "x"]


def test_two_files_are_one_case(tmp_path: Path) -> None:
    folder = touch(tmp_path, "mine.nii.gz", "theirs.nii.gz")
    (case,) = find_cases(folder / "mine.nii.gz", folder / "theirs.nii.gz", file_ending=".nii.gz")
    assert (case.name, case.reference) == ("mine", folder / "theirs.nii.gz")


def test_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder"):
        find_cases(tmp_path, tmp_path / "nowhere", file_ending=".nii.gz")
    with pytest.raises(ValueError, match=r"no .nii.gz file in"):
        find_cases(tmp_path, tmp_path, file_ending=".nii.gz")


def test_dataset_json_beside_predictions_comes_first(tmp_path: Path) -> None:
    model, raw = tmp_path / "model", tmp_path / "raw"
    validation, labels = touch(model / "fold_0" / "validation"), touch(raw / "labelsTr")
    with pytest.raises(ValueError, match="--dataset-json"):
        find_dataset_json(validation, labels)
    for folder in (model, raw, labels, validation):  # the last one that is written is the nearest
        expected = write_dataset_json(folder)
        assert find_dataset_json(validation, labels) == expected
    file = touch(validation, "a.nii.gz") / "a.nii.gz"
    assert find_dataset_json(file, labels) == expected


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"file_ending": ".tif"}'])
def test_a_dataset_json_that_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(ValueError, match=r"is no JSON|expected a .file_ending."):
        read_dataset_json(tmp_path / "dataset.json")
