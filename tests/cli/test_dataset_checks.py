"""What doctor says of datasets with left and right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_ext.cli.dataset_checks import check_datasets

PAIRED = {"background": 0, "eye left": 1, "eye right": 2}


def write(folder: Path, name: str, description: Any) -> None:
    (folder / name).mkdir(parents=True)
    text = description if isinstance(description, str) else json.dumps(description)
    (folder / name / "dataset.json").write_text(text)


def test_says_nothing_of_datasets_without_sides(tmp_path: Path) -> None:
    write(tmp_path, "Dataset001_Liver", {"labels": {"background": 0, "liver": 1}})
    (tmp_path / "Dataset002_Empty").mkdir()
    assert check_datasets({"nnUNet_raw": str(tmp_path)}) == ()
    assert check_datasets({}) == ()


def test_a_recorded_laterality(tmp_path: Path) -> None:
    record = {"pairs": [["eye left", "eye right"]], "axis": 2}
    write(tmp_path / "raw", "Dataset003_Eyes", {"labels": PAIRED})
    write(tmp_path / "preprocessed", "Dataset003_Eyes", {"labels": PAIRED, "laterality": record})
    environment = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed")}
    (check,) = check_datasets(environment)
    assert (check.name, check.status) == ("Dataset003_Eyes", "warning")
    assert "eye left / eye right" in check.found
    assert "-tr nnUNetTrainerNoMirroring" in check.remedy


def test_sides_without_a_record(tmp_path: Path) -> None:
    ribs = {f"rib_{side}_{i}": 2 * i + (side == "right") for i in range(1, 13) for side in ("left", "right")}
    write(tmp_path, "Dataset004_Ribs", {"labels": {"background": 0, **ribs}})
    (check,) = check_datasets({"nnUNet_raw": str(tmp_path)})
    assert "rib_left_1 / rib_right_1" in check.found
    assert "and 9 more" in check.found
    line = next(line.strip() for line in check.remedy.splitlines() if '"laterality"' in line)
    assert len(json.loads("{" + line + "}")["laterality"]["pairs"]) == 12


@pytest.mark.parametrize(
    "description", ["{", "[]", '{"labels": {"background": 0}, "laterality": {"pairs": [["a", "b"]]}}']
)
def test_what_cannot_be_read_is_named(description: str, tmp_path: Path) -> None:
    write(tmp_path, "Dataset005_Broken", description)
    (check,) = check_datasets({"nnUNet_raw": str(tmp_path)})
    assert (check.name, check.status) == ("Dataset005_Broken", "warning")
    assert "Dataset005_Broken/dataset.json cannot be read" in check.found
