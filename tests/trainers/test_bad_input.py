"""What a user gets wrong is answered with the cause."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from nnunet_home import NnunetHome
from trainer_factory import make_trainer

NAME = "nnUNetTrainerRASUNet_1epochs_1iters"
DATASET = "Dataset901_plain"


@pytest.fixture
def one_case(own_copy: NnunetHome) -> NnunetHome:
    """The plain dataset with all cases but one removed."""
    folder = own_copy.root / "preprocessed" / DATASET
    (folder / "splits_final.json").unlink(missing_ok=True)
    for path in folder.rglob("case_*"):
        if not path.name.startswith("case_0"):
            path.unlink()
    return own_copy


def test_one_case_cannot_be_split_into_folds(one_case: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(one_case, NAME, dataset=DATASET, monkeypatch=monkeypatch)
    with pytest.raises(ValueError, match=r"at least 5 cases.*n_samples=1.*the fold all, or write splits"):
        trainer.run_training()


def test_one_case_trains_with_fold_all(one_case: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(one_case, NAME, dataset=DATASET, monkeypatch=monkeypatch, fold="all")
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    assert (Path(trainer.output_folder) / "checkpoint_final.pth").is_file()


def test_without_the_variable_nnunet_says_which_one(preprocessed: NnunetHome) -> None:
    environment = {k: v for k, v in preprocessed.environment.items() if k != "nnUNet_extTrainer"}
    done = subprocess.run(
        preprocessed.command("nnUNetv2_train", "901", "3d_fullres", "0", "-tr", NAME, "-device", "cpu"),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert f"Could not find requested nnunet trainer {NAME}" in done.stderr
    assert "nnUNet_extTrainer" in done.stderr


@pytest.mark.long  # tests/trainers/test_hook.py asks nnU-Net's look-up alone
def test_a_misspelt_trainer_is_told_by_the_command(preprocessed: NnunetHome) -> None:
    wrong = "nnUNetTrainerRASUNet_1iters_1epochs"
    done = preprocessed.run("nnUNetv2_train", "901", "3d_fullres", "0", "-tr", wrong, check=False)
    assert done.returncode != 0
    assert f"write {NAME}" in done.stderr
