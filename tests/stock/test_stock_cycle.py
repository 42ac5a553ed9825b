"""The whole life of a model through stock nnU-Net commands, in folders of their own.

Train, be killed, resume, validate, predict, find the best configuration, ensemble, export, install in an
empty home and predict the same there.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunet_ext.trainers.registry import TRAINERS
from nnunet_home import NnunetHome

pytestmark = pytest.mark.stock
TRAINER_NAMES = [trainer.name for trainer in TRAINERS]
BUDGET = "_3epochs_2iters"
DATASET = "Dataset901_plain"


def train_command(home: NnunetHome, name: str, configuration: str, *options: str) -> list[str]:
    return home.command(
        "nnUNetv2_train", "901", configuration, "0", "-tr", name, "-device", "cpu", "--npz", *options
    )


def train_and_kill(home: NnunetHome, name: str, configuration: str) -> Path:
    """Start a training and kill -9 it in its last epoch, after a save; returns its folder."""
    process = subprocess.Popen(
        train_command(home, name, configuration),
        env={**home.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "Epoch 2" in line:
            break
    assert "Epoch 2" in said[-1], "".join(said)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    results = Path(home.environment["nnUNet_results"])
    folder = results / DATASET / f"{name}__nnUNetPlans__{configuration}"
    assert (folder / "fold_0" / "checkpoint_latest.pth").is_file()
    assert not (folder / "fold_0" / "checkpoint_final.pth").exists()
    return folder


def predict(home: NnunetHome, name: str, configuration: str, out: Path) -> np.ndarray:
    images = home.root / "raw" / DATASET / "imagesTs"
    options = ("-d", DATASET, "-c", configuration, "-tr", name, "-f", "0", "-device", "cpu")
    home.run("nnUNetv2_predict", "-i", images, "-o", out, *options, "--save_probabilities")
    array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "unseen.nii.gz")))
    return array


def life_of_a_model(home: NnunetHome, name: str, configuration: str, tmp_path: Path) -> None:
    folder = train_and_kill(home, name, configuration)
    resumed = subprocess.run(
        train_command(home, name, configuration, "--c"),
        env=home.environment,
        capture_output=True,
        text=True,
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Epoch 2" in resumed.stdout
    assert "Epoch 0" not in resumed.stdout
    assert (folder / "fold_0" / "validation" / "summary.json").is_file()
    checkpoint = torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == name

    predicted = predict(home, name, configuration, tmp_path / "predicted")
    image = sitk.ReadImage(str(home.root / "raw" / DATASET / "imagesTs" / "unseen_0000.nii.gz"))
    label = sitk.ReadImage(str(tmp_path / "predicted" / "unseen.nii.gz"))
    assert (label.GetSize(), label.GetSpacing()) == (image.GetSize(), image.GetSpacing())

    archive = tmp_path / "model.zip"
    options = ("-d", DATASET, "-o", archive, "-c", configuration, "-tr", name, "-f", "0")
    home.run("nnUNetv2_export_model_to_zip", *options)
    empty = NnunetHome(tmp_path / "elsewhere").create()
    empty.run("nnUNetv2_install_pretrained_model_from_zip", archive)
    images = empty.root / "raw" / DATASET / "imagesTs"
    images.parent.mkdir(parents=True)
    images.symlink_to(home.root / "raw" / DATASET / "imagesTs")
    again = predict(empty, name, configuration, tmp_path / "predicted_elsewhere")
    np.testing.assert_array_equal(again, predicted)


@pytest.mark.parametrize(
    ("name", "configuration"), [("nnUNetTrainerMAUNet", "2d"), ("nnUNetTrainerRASUNet", "3d_fullres")]
)
def test_life_of_a_model(preprocessed: NnunetHome, name: str, configuration: str, tmp_path: Path) -> None:
    life_of_a_model(preprocessed, name + BUDGET, configuration, tmp_path)


def test_a_paper_s_regime_in_nnunet_s_workers(preprocessed: NnunetHome, tmp_path: Path) -> None:
    """Planned crops and optimizer of paper 002 from the command line, where loaders run in processes."""
    name = "nnUNetTrainerAFUNet_Paper_1epochs_1iters"
    done = subprocess.run(
        train_command(preprocessed, name, "2d"), env=preprocessed.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Regime of paper 002: 1 epochs x 1 iterations = 1; in the paper: 10000" in done.stdout
    results = Path(preprocessed.environment["nnUNet_results"])
    folder = results / DATASET / f"{name}__nnUNetPlans__2d" / "fold_0"
    checkpoint = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["inference_allowed_mirroring_axes"] == (1,)
    assert predict(preprocessed, name, "2d", tmp_path / "predicted").ndim == 3


@pytest.mark.every_trainer
@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize("name", TRAINER_NAMES)
def test_life_of_every_trainer_s_model(
    preprocessed: NnunetHome, name: str, configuration: str, tmp_path: Path
) -> None:
    life_of_a_model(preprocessed, name + BUDGET, configuration, tmp_path)


@pytest.mark.every_trainer
@pytest.mark.parametrize("name", TRAINER_NAMES)
def test_validation_best_configuration_and_ensemble(
    preprocessed: NnunetHome, name: str, tmp_path: Path
) -> None:
    trainer = f"{name}_1epochs_1iters"
    for configuration in ("2d", "3d_fullres"):
        subprocess.run(
            train_command(preprocessed, trainer, configuration), env=preprocessed.environment, check=True
        )
        preprocessed.run(
            "nnUNetv2_train", "901", configuration, "0", "-tr", trainer, "-device", "cpu", "--val", "--npz"
        )
        predict(preprocessed, trainer, configuration, tmp_path / configuration)
    best = preprocessed.run(
        "nnUNetv2_find_best_configuration",
        "901",
        "-c",
        "2d",
        "3d_fullres",
        "-tr",
        trainer,
        "-f",
        "0",
        "-np",
        "1",
    )
    assert "nnUNetv2_predict" in best.stdout
    out = tmp_path / "ensemble"
    preprocessed.run(
        "nnUNetv2_ensemble", "-i", tmp_path / "2d", tmp_path / "3d_fullres", "-o", out, "-np", "1"
    )
    assert (out / "unseen.nii.gz").is_file()
