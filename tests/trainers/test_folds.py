"""A fold that the splits do not have is refused, where nnU-Net draws a random one."""

from __future__ import annotations

import json

import pytest
from nnunet_home import NnunetHome
from trainer_factory import make_trainer

DATASET = "Dataset901_plain"
NAME = "nnUNetTrainerRASUNet"


@pytest.mark.parametrize(
    ("made", "fold", "known"),
    [(2, 1, True), (2, 2, False), (2, -1, False), (None, 4, True), (None, 5, False)],
)
def test_only_folds_of_the_file_are_trained(
    own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch, made: int | None, fold: int, known: bool
) -> None:
    file = own_copy.root / "preprocessed" / DATASET / "splits_final.json"
    file.unlink(missing_ok=True)
    if made is not None:
        splits = [{"train": ["case_0"], "val": [f"case_{n + 1}"]} for n in range(made)]
        file.write_text(json.dumps(splits))
    trainer = make_trainer(own_copy, NAME, dataset=DATASET, monkeypatch=monkeypatch, fold=fold)
    if not known:
        with pytest.raises(ValueError, match=f"expected a fold from 0 to {(made or 5) - 1}.*got {fold}"):
            trainer.do_split()
        return
    train, validation = trainer.do_split()
    assert train
    assert set(train).isdisjoint(validation)
    if made is not None:
        assert validation == [f"case_{fold + 1}"]


def test_fold_all_needs_no_splits(own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    file = own_copy.root / "preprocessed" / DATASET / "splits_final.json"
    file.write_text("[]")
    trainer = make_trainer(own_copy, NAME, dataset=DATASET, monkeypatch=monkeypatch, fold="all")
    train, validation = trainer.do_split()
    assert train == validation


def test_synthetic_cases_are_never_validated(own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own_copy.root / "preprocessed" / DATASET
    description = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**description, "synthetic_cases": ["case_1"]}))
    splits = [
        {"train": ["case_0", "case_1"], "val": ["case_2"]},
        {"train": ["case_0"], "val": ["case_1", "case_2"]},
    ]
    (folder / "splits_final.json").write_text(json.dumps(splits))

    def split_of(fold: int | str) -> tuple[list[str], list[str]]:
        trainer = make_trainer(own_copy, NAME, dataset=DATASET, monkeypatch=monkeypatch, fold=fold)
        return trainer.do_split()

    assert split_of(0) == (["case_0", "case_1"], ["case_2"])
    with pytest.raises(ValueError, match=r"real cases alone to validate fold 1, got case_1"):
        split_of(1)
    train, validation = split_of("all")
    assert set(train) - set(validation) == {"case_1"}
    everything = [f"case_{n}" for n in range(5)]
    (folder / "dataset.json").write_text(json.dumps({**description, "synthetic_cases": everything}))
    with pytest.raises(ValueError, match="real cases alone to validate fold all"):
        split_of("all")
