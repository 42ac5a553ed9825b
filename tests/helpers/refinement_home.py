"""A model's out-of-fold probabilities, as nnU-Net writes them: two balls that it takes for each other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_models import Tiny

from nnunet_ext.refinement import training
from nnunet_ext.refinement.folder import Refiner
from nnunet_ext.refinement.sources import Source, out_of_fold
from nnunet_ext.refinement.train import train_refiner

DATASET = "Dataset990_tiny"
FOLDS = 3


@dataclass(frozen=True)
class Shape:
    """Size of the images and their spacing, (z, y, x) of the files, and of the plans."""

    size: tuple[int, ...] = (10, 18, 22)
    spacing_mm: tuple[float, ...] = (2.0, 1.0, 1.0)
    tiny: Tiny = field(default_factory=Tiny)


SHAPES = {
    "anisotropic": Shape(),
    "isotropic": Shape((14, 16, 19), (1.0, 1.0, 1.0), replace(Tiny(), spacing_mm=(1.0, 1.0, 1.0))),
    "resampled": Shape((10, 19, 24), (1.7, 0.9, 0.8)),
    "transposed": Shape(
        (10, 19, 24), (1.7, 0.9, 0.8), replace(Tiny(), spacing_mm=(1.0, 2.0, 1.0), transpose=(1, 0, 2))
    ),
}


@dataclass(frozen=True)
class RefinementHome:
    """Folders of nnU-Net with such a model."""

    root: Path
    labels: str
    shape: Shape

    @property
    def model(self) -> Path:
        return self.root / "results" / DATASET / "nnUNetTrainer__nnUNetPlans__tiny"

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / DATASET

    @property
    def environment(self) -> dict[str, str]:
        return {f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}

    def source(self, **options: Any) -> Source:
        return out_of_fold(self.model, preprocessed=self.preprocessed, **options)

    def validation(self, fold: int) -> Path:
        return self.model / f"fold_{fold}" / "validation"


def make_refinement_home(
    root: Path, *, labels: str = "plain", shape: str = "anisotropic", cases: int = 6, wrong: bool = True
) -> RefinementHome:
    """Probabilities of every case by the fold that validates it; ``wrong`` ones have the balls exchanged."""
    made = RefinementHome(root, labels, SHAPES[shape])
    tiny = replace(made.shape.tiny, labels=labels, folds=tuple(range(FOLDS)))
    tiny.create(made.model.parent)
    references = made.preprocessed / "gt_segmentations"
    references.mkdir(parents=True)
    names = [f"case_{n}" for n in range(cases)]
    splits = [
        {"train": [n for n in names if n not in names[fold::FOLDS]], "val": names[fold::FOLDS]}
        for fold in range(FOLDS)
    ]
    (made.preprocessed / "splits_final.json").write_text(json.dumps(splits))
    for number, name in enumerate(names):
        write_probabilities(
            made,
            name,
            seed=number,
            folder=made.validation(number % FOLDS),
            references=references,
            tiny=tiny,
            wrong=wrong,
        )
    return made


def write_probabilities(
    made: RefinementHome,
    name: str,
    *,
    seed: int,
    folder: Path,
    references: Path,
    tiny: Tiny | None = None,
    wrong: bool = True,
) -> None:
    """One case by nnU-Net's own export."""
    tiny = tiny or replace(made.shape.tiny, labels=made.labels)
    rng = np.random.default_rng(seed)
    labels = two_balls(rng, made.shape.size)
    if "ignore" in made.labels:
        labels[:, :4] = 3
    image = 50.0 * labels + 60 + rng.normal(0, 5, labels.shape)
    image[0] = 0  # nnU-Net crops what is zero
    for sub in (folder, references, made.root / "images"):
        sub.mkdir(parents=True, exist_ok=True)
    image_file = made.root / "images" / f"{name}_0000.nii.gz"
    label_file = references / f"{name}.nii.gz"
    write(image.astype(np.float32), image_file, made.shape.spacing_mm)
    write(labels, label_file, made.shape.spacing_mm)
    manager, dataset_json = PlansManager(tiny.plans()), tiny.dataset_json()
    configuration = manager.get_configuration("tiny")
    _, segmentation, properties = DefaultPreprocessor(verbose=False).run_case(
        [str(image_file)], str(label_file), manager, configuration, dataset_json
    )
    logits = _logits(np.maximum(segmentation[0], 0) % 3, rng, regions="regions" in made.labels, wrong=wrong)
    export_prediction_from_logits(
        torch.from_numpy(logits),
        properties,
        configuration,
        manager,
        dataset_json,
        str(folder / name),
        save_probabilities=True,
        num_threads_torch=1,
    )


def two_balls(rng: np.random.Generator, size: Sequence[int]) -> np.ndarray:
    """Label 1 on the side of low x, label 2 beside it."""
    grid = np.meshgrid(*(np.arange(n) / n for n in size), indexing="ij")
    center = 0.5 + rng.uniform(-0.06, 0.06, 3)
    labels = np.zeros(tuple(size), np.uint8)
    for label, side in ((1, -0.19), (2, 0.19)):
        middle = center + np.array([0, 0, side])
        away = [g - c for g, c in zip(grid, middle, strict=True)]
        labels[sum((a / r) ** 2 for a, r in zip(away, (0.3, 0.3, 0.17), strict=True)) < 1] = label
    return labels


def _logits(labels: np.ndarray, rng: np.random.Generator, *, regions: bool, wrong: bool) -> np.ndarray:
    """A network that is right but for a part of each ball, where it hardly knows which of the two it is."""
    evidence = np.stack([4.0 * (labels == label) for label in range(3)])
    if wrong:
        for label, other in ((1, 2), (2, 1)):
            rows = np.argwhere(labels == label)[:, 1]
            part = (labels == label) & (np.arange(labels.shape[1])[:, None] > np.median(rows))
            evidence[other][part] = 4.6
    evidence += rng.normal(0, 0.2, evidence.shape)
    if regions:
        evidence = np.stack(
            [np.maximum(evidence[1], evidence[2]) - evidence[0], evidence[2] - np.maximum(*evidence[:2])]
        )
    return evidence.astype(np.float32)


def write(array: np.ndarray, file: Path, spacing_mm: Sequence[float]) -> None:
    """With the spacing in the order of the array."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in reversed(spacing_mm)])
    image.SetOrigin((3.0, -4.0, 5.0))
    sitk.WriteImage(image, str(file))


def read(file: Path) -> np.ndarray:
    """Labels of a file."""
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))


@contextmanager
def small_refiners() -> Iterator[None]:
    """Refiners of 8 channels in the place of 64: enough for two balls, and 60 times faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "FEATURES", 8)
        yield


def trained_refiner(home: RefinementHome, out: Path) -> Refiner:
    """A refiner that has learned which ball is which."""
    settings = training.Settings(iterations=80, learning_rate=5e-3)
    with small_refiners():
        return train_refiner(home.source(), out=out, settings=settings, progress=False).refiner
