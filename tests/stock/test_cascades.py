"""Cascades through commands alone: plan, preprocess, train every coarse fold and the fine stage, predict."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunet_ext.trainers.registry import TRAINERS
from nnunet_home import NnunetHome, write_dataset

pytestmark = [pytest.mark.stock, pytest.mark.long]
COARSE, FINE, PLANS = "3d_lowres", "3d_cascade_fullres", "nnUNetOursPlans"


@dataclass(frozen=True)
class Cascade:
    """What is trained, on a phantom of which shape."""

    trainer: str
    network: str
    labels: str
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    coarse_spacing_mm: tuple[float, float, float]
    fine_patch: tuple[int, int, int]


ISOTROPIC = Cascade(
    "nnUNetTrainerSkeletonCascade", "AGUNet", "plain", (32, 32, 32), (1, 1, 1), (2, 2, 2), (16, 16, 16)
)
ANISOTROPIC = Cascade(
    "nnUNetTrainerROICascade", "ResUNet", "regions", (12, 48, 48), (3, 1, 1), (3, 2, 2), (8, 32, 32)
)
WHOLE_HEART = Cascade(
    "nnUNetTrainerROICascadeMAUNet", "MAUNet", "plain", (32, 32, 32), (1, 1, 1), (2, 2, 2), (16, 16, 16)
)


def test_every_cascade_is_here() -> None:
    trained = {cascade.trainer for cascade in (ISOTROPIC, ANISOTROPIC, WHOLE_HEART)}
    assert trained == {trainer.name for trainer in TRAINERS if trainer.cascade}


def labels_in(file: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))


@pytest.mark.parametrize("cascade", [ISOTROPIC, ANISOTROPIC, WHOLE_HEART], ids=lambda c: c.trainer)
def test_life_of_a_cascade(cascade: Cascade, tmp_path: Path) -> None:
    home = NnunetHome(tmp_path).create()
    dataset = "Dataset930_cascade"
    raw = write_dataset(
        home, dataset, labels=cascade.labels, cases=5, size=cascade.size, spacing_mm=cascade.spacing_mm
    )
    home.run("nnUNetv2_plan_and_preprocess", "-d", "930", "-c", "3d_fullres", "-npfp", "1", "-np", "1")
    spacing, patch = (list(map(str, n)) for n in (cascade.coarse_spacing_mm, cascade.fine_patch))
    stages = ("--coarse", "--coarse-spacing-mm", *spacing, "--fine-patch", *patch, "--batch-size", "2")
    home.run("nnunet_ext", "plan", "930", "--network", cascade.network, *stages, "--plans-name", PLANS)
    home.run(
        "nnUNetv2_preprocess", "-d", "930", "-plans_name", PLANS, "-c", COARSE, "3d_fullres", "-np", "1", "1"
    )
    name = f"{cascade.trainer}_1epochs_2iters"
    for configuration, folds in ((COARSE, "01234"), (FINE, "0")):
        for fold in folds:
            train = ("nnUNetv2_train", "930", configuration, fold, "-p", PLANS, "-tr", name, "-device", "cpu")
            home.run(*train)
    home.run(*train, "--val")
    splits = json.loads((tmp_path / "preprocessed" / dataset / "splits_final.json").read_text())
    (case, *_) = splits[0]["val"]
    images = tmp_path / "in"
    images.mkdir()
    shutil.copy(raw / "imagesTr" / f"{case}_0000.nii.gz", images)

    names = ("-d", "930", "-p", PLANS, "-tr", name, "-f", "0")
    ours = tmp_path / "ours"
    home.run("nnunet_ext", "predict", "-i", images, "-o", ours, *names, "-c", FINE, "--device", "cpu")
    model = tmp_path / "results" / dataset / f"{name}__{PLANS}__{FINE}"
    validated = labels_in(model / "fold_0" / "validation" / f"{case}.nii.gz")
    np.testing.assert_array_equal(labels_in(ours / f"{case}.nii.gz"), validated)

    # Stock prediction looks everywhere.
    options = ("-i", images, *names, "-device", "cpu", "-npp", "1", "-nps", "1")
    home.run("nnUNetv2_predict", *options, "-o", tmp_path / "coarse", "-c", COARSE)
    before = ("-prev_stage_predictions", tmp_path / "coarse")
    home.run("nnUNetv2_predict", *options, "-o", tmp_path / "stock", "-c", FINE, *before)
    assert labels_in(tmp_path / "stock" / f"{case}.nii.gz").shape == validated.shape
