"""Masks with known distances, and folders of label maps to evaluate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from clinical_images import placed
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from nnunet_ext.evaluation import LabelTable, label_table

Mask = NDArray[np.bool_]
TWO_LABELS = {"background": 0, "organ": 1, "vessel": 2}


def cube(*, at: Sequence[int], side: int = 8, shape: Sequence[int] = (24, 24, 24)) -> Mask:
    """A cube whose first voxel is ``at``."""
    mask = np.zeros(tuple(shape), bool)
    mask[tuple(slice(n, n + side) for n in at)] = True
    return mask


def ball(radius_mm: float, *, spacing_mm: Sequence[float] = (1, 1, 1), half_mm: float = 24) -> Mask:
    """A ball in the middle of an image that reaches ``half_mm`` to every side."""
    axes = [np.arange(-round(half_mm / mm), round(half_mm / mm) + 1) * mm for mm in spacing_mm]
    squares = [
        axis.reshape([-1 if i == j else 1 for j in range(len(axes))]) ** 2 for i, axis in enumerate(axes)
    ]
    inside: Mask = sum(squares[1:], squares[0]) <= radius_mm**2
    return inside


def blobs(seed: int, *, shape: Sequence[int] = (20, 30, 26), threshold: float = 0.55) -> Mask:
    """Random smooth blobs, some of them at the edges of the image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(tuple(shape)), 2)
    spread = (noise - noise.min()) / np.ptp(noise)
    mask: Mask = spread > threshold
    return mask


def table(labels: Mapping[str, Any] = TWO_LABELS, **more: Any) -> LabelTable:
    """The labels of a dataset."""
    return label_table({"labels": dict(labels), **more})


def write_labels(file: Path, voxels: ArrayLike, **place: Any) -> Path:
    """Write a label map (Z, Y, X); ``place`` as of :func:`clinical_images.placed`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(placed(voxels, **place), str(file))
    return file


def write_dataset_json(
    folder: Path, labels: Mapping[str, Any] = TWO_LABELS, *, ending: str = ".nii.gz", **more: Any
) -> Path:
    """Write what nnU-Net puts beside its predictions."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {"labels": dict(labels), "file_ending": ending, "channel_names": {"0": "CT"}, **more}
    file = folder / "dataset.json"
    file.write_text(json.dumps(description))
    return file
