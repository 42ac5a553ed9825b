"""Many cases: a bad one of each kind fails by its name, and the others are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluated import cube, table, write_labels

from nnunet_ext.evaluation import evaluate_cases, find_cases

LABELS = cube(at=(2, 2, 2)).astype(np.uint8)
CODES = {
    "cut_off": "truncated-file",
    "elsewhere": "grid-mismatch",
    "good": None,
    "no_labels": "not-labels",
    "smaller": "grid-mismatch",
    "too_much": "no-reference",
    "undeclared": "undeclared-values",
    "unpredicted": "no-prediction",
    "well": None,
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with a case of each kind."""
    prediction, reference = tmp_path / "prediction", tmp_path / "reference"
    for name in CODES:
        write_labels(reference / f"{name}.nii.gz", LABELS)
        write_labels(prediction / f"{name}.nii.gz", LABELS)
    write_labels(prediction / "elsewhere.nii.gz", LABELS, origin=(0, 0.5, 0))
    write_labels(prediction / "smaller.nii.gz", LABELS[:-1])
    write_labels(prediction / "undeclared.nii.gz", LABELS * 7)
    write_labels(prediction / "no_labels.nii.gz", LABELS * 0.5)
    whole = (prediction / "cut_off.nii.gz").read_bytes()
    (prediction / "cut_off.nii.gz").write_bytes(whole[: len(whole) // 2])
    (prediction / "unpredicted.nii.gz").unlink()
    (reference / "too_much.nii.gz").unlink()
    return prediction, reference


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_case_is_its_own(
    folders: tuple[Path, Path], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    cases = find_cases(*folders, file_ending=".nii.gz")
    results = evaluate_cases(cases, table=table(), workers=workers)
    assert {r.case.name: None if r.error is None else r.error[0] for r in results} == CODES
    assert [r.case.name for r in results] == sorted(CODES)
    for result in results:
        if result.scores is not None:
            assert result.scores.structures["1"].overlap.dice == 1
            assert result.scores.structures["2"].both_empty
    warned = [record.getMessage() for record in caplog.records]
    assert [w.split(" failed")[0] for w in warned] == [n for n, code in CODES.items() if code]


def test_memory_that_runs_out_is_the_cases_own(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("nnunet_ext.evaluation.folder.read_pair", fail)
    cases = find_cases(*folders, file_ending=".nii.gz")
    codes = {r.error[0] for r in evaluate_cases(cases, table=table()) if r.error}
    assert codes == {"out-of-memory", "no-prediction", "no-reference"}


def test_no_workers() -> None:
    with pytest.raises(ValueError, match="at least one worker"):
        evaluate_cases([], table=table(), workers=0)
