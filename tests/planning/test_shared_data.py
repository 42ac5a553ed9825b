"""Which preprocessed data plans of one dataset share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnunet_ext.planning.shared_data import DATA_FIELDS, PLANS_DATA_FIELDS, PlansBeside

CASES = 2


def plans(name: str, data: str = "", **changes: Any) -> dict[str, Any]:
    """Plans of one configuration; ``changes`` are of its fields or of the plans'."""
    found: dict[str, Any] = {field: f"some {field}" for field in PLANS_DATA_FIELDS}
    configuration: dict[str, Any] = {field: f"some {field}" for field in DATA_FIELDS}
    for field, value in changes.items():
        (found if field in found else configuration)[field] = value
    configuration["data_identifier"] = data or f"{name}_3d_fullres"
    return {**found, "configurations": {"3d_fullres": configuration}}


def write(folder: Path, name: str, content: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content))


def preprocess(folder: Path, data: str, cases: int = CASES) -> None:
    (folder / data).mkdir()
    for case in range(cases):
        (folder / data / f"case_{case}.pkl").touch()


def shared(folder: Path, made: dict[str, Any], name: str = "new") -> tuple[str, bool]:
    """The data that new plans get, and whether they are there."""
    beside = PlansBeside.of(folder / f"{name}.json", cases=CASES)
    beside.share_data(made, "3d_fullres")
    data: str = made["configurations"]["3d_fullres"]["data_identifier"]
    return data, beside.has_data(data)


def test_the_same_fields_share_the_data(tmp_path: Path) -> None:
    write(tmp_path, "nnUNetPlans", plans("nnUNetPlans"))
    write(tmp_path, "dataset", {"labels": {}})
    write(tmp_path, "splits_final", [{"train": [], "val": []}])
    assert shared(tmp_path, plans("new", patch_size=[7, 7, 7])) == ("nnUNetPlans_3d_fullres", False)
    preprocess(tmp_path, "nnUNetPlans_3d_fullres")
    assert shared(tmp_path, plans("new")) == ("nnUNetPlans_3d_fullres", True)


@pytest.mark.parametrize("field", [*DATA_FIELDS, *PLANS_DATA_FIELDS])
def test_another_field_gets_data_of_its_own(field: str, tmp_path: Path) -> None:
    write(tmp_path, "nnUNetPlans", plans("nnUNetPlans"))
    preprocess(tmp_path, "nnUNetPlans_3d_fullres")
    assert shared(tmp_path, plans("new", **{field: "another"})) == ("new_3d_fullres", False)


def test_data_that_other_plans_use_are_not_overwritten(tmp_path: Path) -> None:
    """Plans were deleted, others still use their data, and now there are new plans of the deleted name."""
    write(tmp_path, "other", plans("other", "new_3d_fullres"))
    write(tmp_path, "third", plans("third", "new_3d_fullres2", spacing="a third"))
    preprocess(tmp_path, "new_3d_fullres")
    assert shared(tmp_path, plans("new", spacing="another")) == ("new_3d_fullres3", False)
    assert shared(tmp_path, plans("new")) == ("new_3d_fullres", True)


def test_a_folder_that_no_plans_name_is_no_data(tmp_path: Path) -> None:
    preprocess(tmp_path, "new_3d_fullres")
    assert shared(tmp_path, plans("new")) == ("new_3d_fullres", False)


def test_unfinished_data_are_to_be_preprocessed(tmp_path: Path) -> None:
    write(tmp_path, "nnUNetPlans", plans("nnUNetPlans"))
    preprocess(tmp_path, "nnUNetPlans_3d_fullres", CASES - 1)
    assert shared(tmp_path, plans("new")) == ("nnUNetPlans_3d_fullres", False)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "nnUNetPlans", plans("nnUNetPlans"))
    (tmp_path / "broken.json").write_text("{")
    assert shared(tmp_path, plans("new")) == ("nnUNetPlans_3d_fullres", False)
    assert "broken.json cannot be read and is left out" in caplog.text
