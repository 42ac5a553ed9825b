"""A benchmark that has ended, with all files that nnU-Net and ours would have left: balls in noise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from evaluated import ball, write_dataset_json, write_labels
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.evaluation.benchmark.matrix import Matrix, Run
from nnunet_ext.evaluation.benchmark.places import Places

DATASET = "Dataset004_Balls"
LABELS = {"background": 0, "liver": 1, "tumor": 2}
EPOCHS = 3
_HALF_MM = 12


def finished_benchmark(
    folder: Path,
    *,
    trainers: Mapping[str, float],
    cases: int = 6,
    folds: int = 2,
    repeats: int = 2,
    seed: int = 0,
) -> Places:
    """Write raw images, references, and the validation of every training.

    Args:
        folder: gets ``raw``, ``preprocessed`` and ``bench``.
        trainers: from a trainer's name to the share of each structure's rim that it gets wrong; vanilla's
            stands under ``nnUNetTrainer``.
        cases: patients, dealt to the folds in turn.
        folds: of the dataset.
        repeats: trainings of each.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    others = tuple(name for name in trainers if name != "nnUNetTrainer")
    matrix = Matrix(
        dataset=DATASET,
        trainers=others,
        folds=tuple(range(folds)),
        repeats=repeats,
        budget="3epochs",
        precision="float32",
    )
    places = Places(folder / "bench", matrix)
    dataset = folder / "preprocessed" / DATASET
    write_dataset_json(dataset, LABELS)
    references = {}
    for number in range(cases):
        name = f"case_{number:03d}"
        references[name] = _reference(rng)
        write_labels(dataset / "gt_segmentations" / f"{name}.nii.gz", references[name])
        image = references[name] * 40.0 + rng.normal(0, 10, references[name].shape)
        file = folder / "raw" / DATASET / "imagesTr" / f"{name}_0000.nii.gz"
        write_labels(file, image.astype(np.float32))
    for run in matrix.runs:
        of_fold = {n: r for i, (n, r) in enumerate(references.items()) if i % folds == run.fold}
        _write_run(places, run, of_fold, wrong=trainers.get(run.arm.trainer, 0.1), rng=rng)
    places.root.mkdir(parents=True, exist_ok=True)
    declaration = {"matrix": asdict(matrix), "sha256": {}}
    (places.root / "benchmark.json").write_text(json.dumps(declaration))
    return places


def _reference(rng: np.random.Generator) -> NDArray[np.uint8]:
    labels = ball(rng.uniform(7, 10), half_mm=_HALF_MM).astype(np.uint8)
    tumor = np.roll(ball(rng.uniform(2.5, 4), half_mm=_HALF_MM), rng.integers(-2, 3, 3), axis=(0, 1, 2))
    labels[tumor] = 2
    return labels


def _write_run(
    places: Places,
    run: Run,
    references: Mapping[str, NDArray[np.uint8]],
    *,
    wrong: float,
    rng: np.random.Generator,
) -> None:
    fold = places.fold(run)
    for name, reference in references.items():
        rim = ndimage.binary_dilation(reference > 0) & ~ndimage.binary_erosion(reference > 0)
        drawn = rim & (rng.random(reference.shape) < wrong)
        prediction = np.where(drawn, (reference == 0).astype(np.uint8), reference)
        write_labels(fold / "validation" / f"{name}.nii.gz", prediction)
    summary = {"foreground_mean": {"Dice": 1 - wrong}, "metric_per_case": [{}] * len(references)}
    (fold / "validation" / "summary.json").write_text(json.dumps(summary))
    torch.save({"network_weights": {"a": torch.ones(100)}}, fold / "checkpoint_final.pth")
    lines = []
    for epoch in range(EPOCHS):
        lines += [f"Epoch {epoch}", f"train_loss {-0.2 * epoch:.3f}", f"val_loss {-0.2 * epoch + wrong:.3f}"]
        lines += [f"Pseudo dice [np.float32({0.2 * epoch + 0.1:.2f})]", "Epoch time: 12.5 s"]
    stamp = "2026-01-01 10:00:{:02d}.000001: "
    stamped = [stamp.format(second) + line for second, line in enumerate(lines)]
    (fold / "training_log_1.txt").write_text("\n".join(stamped) + "\n")


def write_records(places: Places) -> None:
    """A record of every training, as ``benchmark run`` leaves them."""
    from nnunet_ext.evaluation.benchmark.machine import machine
    from nnunet_ext.evaluation.benchmark.records import record_of, save_record

    for number, run in enumerate(places.matrix.runs):
        record = record_of(
            run,
            places,
            reason="",
            machine=machine(),
            peak_memory_gib=1.0 + number / 10,
            peak_gpu_memory_gib=None,
        )
        save_record(record, places.record(run))
