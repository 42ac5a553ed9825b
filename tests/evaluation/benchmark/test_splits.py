"""Folds that nnU-Net itself draws, before any training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_training import preprocessed_dataset
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunet_ext.evaluation.benchmark.matrix import Matrix
from nnunet_ext.evaluation.benchmark.splits import draw_splits

MATRIX = Matrix("Dataset004_X", (), baselines=())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = preprocessed_dataset(tmp_path, dataset=MATRIX.dataset, plans=("nnUNetPlans",)) / MATRIX.dataset
    (folder / "splits_final.json").unlink()
    return folder


def add_cases(dataset: Path, count: int) -> list[str]:
    names = [f"case_{number:02}" for number in range(count)]
    for name in names:
        for ending in (".b2nd", "_seg.b2nd", ".pkl"):
            (dataset / "nnUNetPlans_3d_fullres" / f"{name}{ending}").touch()
    return names


def test_they_are_nnunets_own(dataset: Path) -> None:
    names = add_cases(dataset, 11)
    assert draw_splits(MATRIX, preprocessed=dataset.parent)
    drawn = json.loads((dataset / "splits_final.json").read_text())
    assert drawn == generate_crossval_split(names, seed=12345, n_splits=5)
    assert not list(dataset.glob(".*"))
    assert not draw_splits(MATRIX, preprocessed=dataset.parent)


def test_those_that_are_there_stay(dataset: Path) -> None:
    (dataset / "splits_final.json").write_text("[]")
    assert not draw_splits(MATRIX, preprocessed=dataset.parent)
    assert (dataset / "splits_final.json").read_text() == "[]"


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_cases_are_told(dataset: Path, count: int) -> None:
    add_cases(dataset, count)
    with pytest.raises(ValueError, match=r"expected cases in .* from which nnU-Net draws its folds"):
        draw_splits(MATRIX, preprocessed=dataset.parent)
    assert not (dataset / "splits_final.json").exists()
