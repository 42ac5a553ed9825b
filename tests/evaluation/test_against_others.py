"""The same numbers from other implementations: MONAI's functions, SimpleITK's filter."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK
import torch
from evaluated import blobs, table
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)

from nnunet_ext.evaluation import Settings, score_case
from nnunet_ext.evaluation.surfaces import surface, surface_distances

SPACING_MM = (3.0, 0.9, 1.3)


@pytest.mark.parametrize("seed", range(3))
def test_monai(seed: int) -> None:
    maps = [blobs(seed + i) + 2 * (blobs(seed + i + 50) & ~blobs(seed + i)) for i in (0, 100)]
    found = score_case(
        *(m.astype(np.uint8) for m in maps),
        spacing_mm=SPACING_MM,
        table=table(),
        settings=Settings(nsd_tolerance_mm=1.5),
    )
    one_hot = [torch.from_numpy(np.stack([m == n for n in range(3)]))[None] for m in maps]
    options = {"include_background": False, "spacing": SPACING_MM}
    theirs = {
        "Dice": compute_dice(*one_hot, include_background=False),
        "IoU": compute_iou(*one_hot, include_background=False),
        "hd_mm": compute_hausdorff_distance(*one_hot, **options),
        "hd95_mm": compute_hausdorff_distance(*one_hot, percentile=95, **options),
        "assd_mm": compute_average_surface_distance(*one_hot, symmetric=True, **options),
        "nsd": compute_surface_dice(*one_hot, class_thresholds=[1.5, 1.5], **options),
    }
    for i, scores in enumerate(found.structures.values()):
        numbers = scores.numbers()
        for name, values in theirs.items():
            assert numbers[name] == pytest.approx(float(values[0, i]), rel=1e-5), name


@pytest.mark.parametrize("seed", range(3))
def test_simpleitk(seed: int) -> None:
    """Its filter takes the distance of sets of voxels, which the surfaces are."""
    prediction, reference = blobs(seed), blobs(seed + 100)
    images = []
    for mask in (prediction, reference):
        image = SimpleITK.GetImageFromArray(surface(mask).astype(np.uint8))
        image.SetSpacing(SPACING_MM[::-1])
        images.append(image)
    theirs = SimpleITK.HausdorffDistanceImageFilter()
    theirs.Execute(*images)
    ours = surface_distances(prediction, reference, spacing_mm=SPACING_MM)
    assert ours.hd_mm == pytest.approx(theirs.GetHausdorffDistance(), rel=1e-5)
