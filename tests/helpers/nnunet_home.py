"""Tiny datasets and stock nnU-Net commands in folders of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nnunet_ext.trainers.registry import hook_folder

LABELS: Mapping[str, dict[str, Any]] = {
    "plain": {"labels": {"background": 0, "shell": 1, "core": 2}},
    "ignore": {"labels": {"background": 0, "shell": 1, "core": 2, "ignore": 3}},
    "regions": {
        "labels": {"background": 0, "whole": [1, 2], "core": [2]},
        "regions_class_order": [1, 2],
    },
    "regions_ignore": {
        "labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
        "regions_class_order": [1, 2],
    },
}


@dataclass(frozen=True)
class NnunetHome:
    """nnU-Net's three folders under one root, and commands that see only them."""

    root: Path
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet_")}
        folders = {f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}
        return {
            **kept,
            **folders,
            "nnUNet_extTrainer": str(hook_folder()),
            # 0 would do for training, but nnU-Net's planner hands it to torch as a number of threads.
            "nnUNet_n_proc_DA": "1",
            # Each imports nnU-Net for itself.
            "nnUNet_def_n_proc": "1",
            **self.extra,
        }

    def create(self) -> NnunetHome:
        for name in ("raw", "preprocessed", "results"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        return self

    def command(self, *arguments: str | Path) -> list[str]:
        """The command of this environment's nnU-Net, which need not be on the PATH."""
        return [str(Path(sys.executable).with_name(str(arguments[0]))), *map(str, arguments[1:])]

    def run(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, cwd=self.root
        )
        if check and done.returncode:
            raise AssertionError(f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


def write_dataset(
    home: NnunetHome,
    name: str,
    *,
    labels: str = "plain",
    cases: int = 5,
    size: Sequence[int] = (16, 32, 32),
    spacing_mm: Sequence[float] = (2.0, 1.0, 1.0),
) -> Path:
    """A raw dataset of bright balls with a brighter core, (z, y, x); returns its folder."""
    folder = home.root / "raw" / name
    for sub in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / sub).mkdir(parents=True)
    for case in range(cases + 1):
        image, segmentation = _ball(np.random.default_rng(case), size)
        if "ignore" in labels:
            segmentation[: size[0] // 4] = 3
        if case == cases:
            _write(image, folder / "imagesTs" / "unseen_0000.nii.gz", spacing_mm)
        else:
            _write(image, folder / "imagesTr" / f"case_{case}_0000.nii.gz", spacing_mm)
            _write(segmentation, folder / "labelsTr" / f"case_{case}.nii.gz", spacing_mm)
    description = {
        "channel_names": {"0": "CT"},
        "numTraining": cases,
        "file_ending": ".nii.gz",
        **LABELS[labels],
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def _ball(rng: np.random.Generator, size: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    center = np.array(size) / 2 + rng.uniform(-2, 2, 3)
    distance = np.sqrt((((grid - center) / (np.array(size) / 4)) ** 2).sum(-1))
    segmentation = (distance < 1).astype(np.uint8) + (distance < 0.5)
    image = 100.0 * segmentation + rng.normal(0, 20, tuple(size))
    return image.astype(np.float32), segmentation.astype(np.uint8)


def _write(array: np.ndarray, path: Path, spacing_mm: Sequence[float]) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in reversed(spacing_mm)])
    sitk.WriteImage(image, str(path))
