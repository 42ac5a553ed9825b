"""nnU-Net's own evaluation gives the same numbers, and reads our file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from evaluated import cube, table, write_labels
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder, load_summary_json
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from real_data import real_data

from nnunet_ext.evaluation import Evaluation, LabelTable, Settings, evaluate_cases, find_cases, summary_text

HIPPOCAMPUS = {"background": 0, "Anterior": 1, "Posterior": 2}
THEIR_KEYS = ("Dice", "IoU", "TP", "FP", "FN", "TN", "n_pred", "n_ref")


def both(prediction: Path, reference: Path, labels: LabelTable) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our file as nnU-Net loads it, and nnU-Net's."""
    cases = find_cases(prediction, reference, file_ending=".nii.gz", only_predicted=True)
    ours = prediction / "summary_ext.json"
    results = evaluate_cases(cases, table=labels)
    ours.write_text(summary_text(Evaluation(results, labels, Settings())), encoding="utf-8")
    keys = [s.labels if s.key.startswith("(") else s.labels[0] for s in labels.structures]
    theirs = prediction / "summary.json"
    compute_metrics_on_folder(
        str(reference),
        str(prediction),
        str(theirs),
        SimpleITKIO(),
        ".nii.gz",
        keys,
        labels.ignore,
        num_processes=1,
    )
    return load_summary_json(str(ours)), load_summary_json(str(theirs))


def assert_reproduced(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    pairs = [(ours["mean"][key], theirs["mean"][key]) for key in theirs["mean"]]
    pairs.append((ours["foreground_mean"], theirs["foreground_mean"]))
    for our_case, their_case in zip(ours["metric_per_case"], theirs["metric_per_case"], strict=True):
        for key in ("prediction_file", "reference_file"):
            assert our_case[key] == their_case[key]
        assert list(our_case["metrics"]) == list(their_case["metrics"])
        pairs += [(our_case["metrics"][key], their_case["metrics"][key]) for key in their_case["metrics"]]
    for mine, its in pairs:
        for name in THEIR_KEYS:
            if np.isnan(its[name]):  # JSON has no such number
                assert mine[name] is None
            else:
                assert mine[name] == pytest.approx(its[name], abs=1e-6)


def perturbed(voxels: np.ndarray, seed: int) -> np.ndarray:
    """Moved, with holes, and in one case without label 2."""
    moved = np.roll(voxels, seed % 3, axis=1)
    moved[np.random.default_rng(seed).random(moved.shape) < 0.02 * seed] = seed % 3
    if seed == 2:
        moved[moved == 2] = 0
    return moved


def test_real_patients(tmp_path: Path) -> None:
    source = real_data("Task04_Hippocampus") / "labelsTr"
    prediction, reference = tmp_path / "prediction", tmp_path / "reference"
    for folder in (prediction, reference):
        folder.mkdir()
    for seed, file in enumerate(sorted(f for f in source.glob("*.nii.gz") if f.name[0] != ".")[:6]):
        image = SimpleITK.ReadImage(str(file))
        voxels = SimpleITK.GetArrayFromImage(image)
        if seed == 5:  # a structure that is nowhere
            voxels[voxels == 2] = 0
        for folder, labels in ((reference, voxels), (prediction, perturbed(voxels, seed % 5))):
            written = SimpleITK.GetImageFromArray(labels)
            written.CopyInformation(image)
            SimpleITK.WriteImage(written, str(folder / file.name))
    ours, theirs = both(prediction, reference, table(HIPPOCAMPUS))
    assert len(theirs["metric_per_case"]) == 6
    assert 0.3 < theirs["foreground_mean"]["Dice"] < 1
    assert_reproduced(ours, theirs)


def test_regions_and_ignored_voxels(tmp_path: Path) -> None:
    labels = table({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, regions_class_order=[1, 2])
    rng = np.random.default_rng(0)
    prediction, reference = tmp_path / "prediction", tmp_path / "reference"
    for case in "ab":
        voxels = cube(at=(2, 2, 2)).astype(np.uint8)
        voxels[2:5][voxels[2:5] > 0] = 2
        write_labels(prediction / f"{case}.nii.gz", np.where(rng.random(voxels.shape) < 0.1, 1, voxels))
        voxels[rng.random(voxels.shape) < 0.2] = 3
        write_labels(reference / f"{case}.nii.gz", voxels)
    ours, theirs = both(prediction, reference, labels)
    assert list(theirs["mean"]) == [(1, 2), 2]
    assert_reproduced(ours, theirs)
