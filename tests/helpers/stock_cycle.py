"""The whole life of a model through stock nnU-Net commands.

Train, be killed, resume, validate, predict, export, install in an empty home and predict the same there.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from nnunet_home import NnunetHome

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
    # One worker to preprocess and one to export: each imports nnU-Net for itself.
    home.run(
        "nnUNetv2_predict",
        "-i",
        images,
        "-o",
        out,
        *options,
        "--save_probabilities",
        "-npp",
        "1",
        "-nps",
        "1",
    )
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
