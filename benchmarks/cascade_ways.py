"""What the benchmarks of cascades share: folds that waste no time, and how much the proposals can reach."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from typed_commands import Work, way_name

from nnunet_ext.cascade.proposals import propose
from nnunet_ext.cascade.settings import FINE, Kind, settings_of
from nnunet_ext.cascade.windows import recall_ceiling

# The coarse stage needs both halves; everything else is trained on the first half alone.
COARSE_FOLDS, FOLD = (0, 1), 2


def splits_of(cases: Sequence[str], *, watched: str) -> list[dict[str, list[str]]]:
    """Two halves for the coarse stage, and the first of them once more, validated on one case alone.

    nnU-Net predicts all validation cases at the end of every training; here that may take longer than the
    training, and unseen cases are predicted afterwards anyway.

    Args:
        cases: to train on.
        watched: the case that the third fold validates; of the cases, or another one.

    Example:
        >>> splits_of(["a", "b", "c", "d"], watched="e")[2]
        {'train': ['b', 'd'], 'val': ['e']}
    """
    first, second = list(cases[1::2]), list(cases[0::2])
    seen_by_nobody = [] if watched in cases else [watched]
    return [
        {"train": first, "val": [*second, *seen_by_nobody]},
        {"train": second, "val": first},
        {"train": first, "val": [watched]},
    ]


def ceiling_of(
    work: Work, *, kind: Kind, plans: str, coarse_way: str, result: Mapping[str, Any]
) -> float | None:
    """Mean share of the reference that lies in windows, over test cases.

    Windows are proposed from the coarse model's own predictions as the command writes them, and as `predict`
    does where it found nothing; that they are as many as `predict` reports is checked.

    Args:
        work: the benchmark.
        kind: of the cascade.
        plans: of the fine stage.
        coarse_way: under which the coarse stage alone was predicted.
        result: of :meth:`Work.predict` with the cascade.

    Returns:
        None where no case has anything to find.
    """
    content = json.loads((work.folder / "preprocessed" / work.name / f"{plans}.json").read_text())
    fine = content["configurations"][FINE]
    described = json.loads((work.folder / "preprocessed" / work.name / "dataset.json").read_text())
    settings = settings_of(fine, kind=kind, dataset_json=described)
    found = []
    for case in result["report"]["cases"]:
        name = f"{case['name']}.nii.gz"
        if case["notes"]:  # coarse_empty
            print(f"{case['name']}: {'; '.join(case['notes'])}")
        coarse = _labels(work.folder / "predicted" / way_name(coarse_way) / name)
        proposed = propose(
            coarse,
            settings,
            size=fine["patch_size"],
            image=lambda name=name: _image(work, name, content),
        )
        if len(proposed.windows) != case["tiles"]:
            print(f"{case['name']}: {len(proposed.windows)} windows here, {case['tiles']} in predict")
        reference = _labels(work.folder / "references" / name)
        found += [recall_ceiling(reference == n, proposed.windows) for n in np.unique(reference) if n > 0]
    return float(np.mean(found)) if found else None


def _image(work: Work, name: str, plans: Mapping[str, Any]) -> NDArray[Any]:
    """A test image's first channel, (1, z, y, x); a CT as it is clipped before `predict` seeks the body."""
    array = _labels(work.folder / "images" / name.replace(".nii.gz", "_0000.nii.gz"))
    if plans["configurations"][FINE]["normalization_schemes"][0] == "CTNormalization":
        window = plans["foreground_intensity_properties_per_channel"]["0"]
        array = array.clip(window["percentile_00_5"], window["percentile_99_5"])
    return array[None]


def _labels(file: Any) -> NDArray[Any]:
    array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    return array
