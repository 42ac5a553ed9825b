"""No leak from the coarse stage (SPEC F.17)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from nnunet_ext.cascade.records import (
    CoarseRecord,
    LeakError,
    read_record,
    require_out_of_fold,
    save_record,
)
from nnunet_ext.files import checksum

COMMAND = "nnUNetv2_train 5 3d_lowres FOLD -tr T"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cases in three folds, each predicted by the model of the other two."""
    cases = ["a", "b", "c"]
    for fold, case in enumerate(cases):
        others = tuple(c for c in cases if c != case)
        file = tmp_path / f"{case}.b2nd"
        file.write_text(f"label map of {case}")
        record = CoarseRecord(
            case, "T", "nnUNetPlans", "3d_lowres", fold, others, checkpoint_sha256="00", prediction_sha256=""
        )
        save_record(replace(record, prediction_sha256=checksum(file)), tmp_path)
    return tmp_path


def check(folder: Path, *cases: str) -> dict[str, CoarseRecord]:
    return require_out_of_fold(folder, cases, ending=".b2nd", command=COMMAND)


def test_out_of_fold_predictions_pass(folder: Path) -> None:
    assert [record.fold for record in check(folder, "c", "a", "b").values()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("file", "1 cases have no coarse prediction: b"),
        ("record", "nobody knows whether its model saw them: b"),
        ("fold all", "were predicted by a coarse model that was trained on them: b"),
        ("overwritten", "a coarse prediction that is not the one that was recorded: b"),
        ("half a record", "nobody knows whether its model saw them: b"),
    ],
)
def test_everything_else_is_refused_with_the_command(folder: Path, spoil: str, message: str) -> None:
    if spoil == "file":
        (folder / "b.b2nd").unlink()
    elif spoil == "record":
        (folder / "b.coarse.json").unlink()
    elif spoil == "half a record":
        (folder / "b.coarse.json").write_text('{"case": "b"')
    elif spoil == "overwritten":
        (folder / "b.b2nd").write_text("by another training")
    else:
        record = read_record(folder, "b")
        assert record is not None
        save_record(replace(record, training_cases=("a", "b", "c")), folder)
    with pytest.raises(LeakError, match=message) as caught:
        check(folder, "a", "b", "c")
    assert COMMAND in str(caught.value)
    assert set(check(folder, "a", "c")) == {"a", "c"}


def test_splits_that_changed_are_refused(folder: Path) -> None:
    def check_with(splits: dict[int, list[str]]) -> dict[str, CoarseRecord]:
        return require_out_of_fold(folder, "abc", ending=".b2nd", command=COMMAND, training_cases=splits)

    splits = {0: ["b", "c"], 1: ["a", "c"], 2: ["a", "b"]}
    assert set(check_with(splits)) == {"a", "b", "c"}
    with pytest.raises(LeakError, match=r"2 cases were .* before splits_final.json changed: a, b") as caught:
        check_with({**splits, 0: ["c"], 1: ["c", "b"]})
    assert COMMAND in str(caught.value)


def test_a_model_that_saw_a_case_is_trained_again_not_validated_again(folder: Path) -> None:
    record = read_record(folder, "b")
    assert record is not None
    save_record(replace(record, training_cases=("a", "b", "c")), folder)
    with pytest.raises(LeakError, match="which trains it again"):
        check(folder, "b")


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    file.write_bytes(b"weights" * 500_000)
    assert checksum(file) == hashlib.sha256(file.read_bytes()).hexdigest()
