"""A few real hippocampi from the Decathlon's layout to a trained step, through nnU-Net's own commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nnunet_home import NnunetHome
from real_data import real_data
from trainer_factory import make_trainer

pytestmark = [pytest.mark.stock, pytest.mark.long]
CASES = 6


@pytest.fixture
def hippocampus(tmp_path: Path) -> NnunetHome:
    """A home with the first cases converted, planned and preprocessed."""
    source = real_data("Task04_Hippocampus")
    home = NnunetHome(tmp_path / "home").create()
    task = tmp_path / "Task04_Hippocampus"
    # nnU-Net's converter wants the folder of test images, which the training data come without.
    (task / "imagesTs").mkdir(parents=True)
    shutil.copy(source / "dataset.json", task)
    for folder in ("imagesTr", "labelsTr"):
        (task / folder).mkdir()
        for path in sorted((source / folder).glob("*.nii.gz"))[:CASES]:
            shutil.copy(path, task / folder)
    description = json.loads((task / "dataset.json").read_text())
    (task / "dataset.json").chmod(0o644)
    (task / "dataset.json").write_text(json.dumps({**description, "numTraining": CASES}))
    home.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-overwrite_id", "904", "-np", "1")
    home.run("nnUNetv2_plan_and_preprocess", "-d", "904", "-c", "3d_fullres", "-np", "1", "-npfp", "1")
    return home


def test_trains_on_real_patients(hippocampus: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(
        hippocampus,
        "nnUNetTrainerRASUNet_1epochs_2iters",
        dataset="Dataset904_Hippocampus",
        monkeypatch=monkeypatch,
    )
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    assert len(trainer.logger.get_value("dice_per_class_or_region", step=-1)) == 2
