"""The whole life of a refiner through commands alone, nnU-Net's and ours, on a phantom."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from nnunet_home import NnunetHome
from refinement_home import read
from shared_datasets import DATASETS

pytestmark = [pytest.mark.stock, pytest.mark.long]
TRAINER = "nnUNetTrainer_1epochs_5iters"
NAMES = ("-c", "3d_fullres", "-tr", TRAINER)


def two_folds(home: NnunetHome) -> None:
    folder = home.root / "preprocessed" / DATASETS["plain"]
    cases = sorted(file.name.removesuffix(".nii.gz") for file in (folder / "gt_segmentations").iterdir())
    splits = [{"train": cases[1 - fold :: 2], "val": cases[fold::2]} for fold in (0, 1)]
    (folder / "splits_final.json").write_text(json.dumps(splits))


def test_life_of_a_refiner(own_copy: NnunetHome, tmp_path: Path) -> None:
    home = own_copy
    two_folds(home)
    for fold in ("0", "1"):
        home.run("nnUNetv2_train", "901", "3d_fullres", fold, "-tr", TRAINER, "-device", "cpu")
    short = ("--iterations", "3", "--threads", "1")
    refused = home.run("nnunet_ext", "refine", "train", "901", *NAMES, *short, check=False)
    assert refused.returncode == 2
    wanted = f"nnUNetv2_train {DATASETS['plain']} 3d_fullres 0 -tr {TRAINER} -p nnUNetPlans --val --npz"
    assert wanted in refused.stderr, "the command to type"
    for fold in ("0", "1"):
        validate = (*wanted.split()[:3], fold, *wanted.split()[4:])
        home.run(*validate, "-device", "cpu")
    trained = home.run("nnunet_ext", "refine", "train", "901", *NAMES, *short, "--json")
    answer = json.loads(trained.stdout)
    assert len(answer["held_out"]["cases"]) == 5
    assert answer["gains"] is False, "five cases cannot show it"

    images = tmp_path / "in"
    shutil.copytree(home.root / "raw" / DATASETS["plain"] / "imagesTs", images)
    first = tmp_path / "first"
    model = ("-d", "901", *NAMES, "-f", "0", "1")
    stock = (
        "nnUNetv2_predict",
        "-i",
        images,
        "-o",
        first,
        *model,
        "-device",
        "cpu",
        "-npp",
        "1",
        "-nps",
        "1",
    )
    home.run(*stock, "--save_probabilities", "--disable_tta")
    apply = ("nnunet_ext", "refine", "apply")
    refiner = ("--refiner", answer["refiner"])
    home.run(*apply, first, "-o", tmp_path / "off", *refiner)
    np.testing.assert_array_equal(read(tmp_path / "off" / "unseen.nii.gz"), read(first / "unseen.nii.gz"))
    forced = ("--force-refiner", "--everywhere", "--save-probabilities")
    home.run(*apply, first, "-o", tmp_path / "refined", *refiner, *forced)
    assert (read(tmp_path / "refined" / "unseen.nii.gz") != read(first / "unseen.nii.gz")).any()

    # What stock prediction and ours give is refined alike, but for nnU-Net's own half precision.
    both = ("-o", tmp_path / "both", "--refiner", "--force-refiner", "--refine-everywhere")
    home.run("nnunet_ext", "predict", "-i", images, *model, *both, "--device", "cpu", "--disable-mirroring")
    agree = read(tmp_path / "both" / "unseen.nii.gz") == read(tmp_path / "refined" / "unseen.nii.gz")
    assert agree.mean() > 0.99

    # nnU-Net's ensembling takes refined probabilities, and we take its ensembles.
    ensemble = tmp_path / "ensemble"
    home.run("nnUNetv2_ensemble", "-i", first, first, "-o", ensemble, "--save_npz", "-np", "1")
    home.run(*apply, ensemble, "-o", tmp_path / "of-ensemble", *refiner, *forced)
    np.testing.assert_array_equal(
        read(tmp_path / "of-ensemble" / "unseen.nii.gz"), read(tmp_path / "refined" / "unseen.nii.gz")
    )
    refined = tmp_path / "refined"
    home.run("nnUNetv2_ensemble", "-i", refined, refined, "-o", tmp_path / "again", "-np", "1")
    np.testing.assert_array_equal(read(tmp_path / "again" / "unseen.nii.gz"), read(refined / "unseen.nii.gz"))
