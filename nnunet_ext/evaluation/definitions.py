"""What each number means, in words that go into every file of results."""

from __future__ import annotations

from nnunet_ext.evaluation.scores import Settings

_METRICS = {
    "Dice": "2 TP / (2 TP + FP + FN), over voxels",
    "IoU": "Jaccard index, TP / (TP + FP + FN), over voxels",
    "precision": "TP / (TP + FP); null where nothing was predicted",
    "recall": "TP / (TP + FN); null where the reference is empty",
    "surface": "centers of the boundary voxels of a mask: those with a face towards a voxel outside of it or "
    "towards the edge of the image; images of one slice are taken as two-dimensional",
    "hd_mm": "Hausdorff distance: largest distance from a boundary voxel of either mask to the nearest of "
    "the other one",
    "hd95_mm": "larger of the two directed 95th percentiles (linear interpolation) of these distances; "
    "neither the percentile of both pooled nor the mean of two",
    "assd_mm": "mean of these distances, both surfaces pooled",
    "rve_percent": "relative volume error, 100 (V_prediction - V_reference) / V_reference; "
    "rve_absolute_percent is its absolute value",
    "volume_ml": "volume of the prediction's voxels; reference_volume_ml of the reference's",
    "cl_dice": "harmonic mean of the fraction of the prediction's skeleton inside the reference and the "
    "fraction of the reference's skeleton inside the prediction (Shit et al. 2021); skeletons are thinned on "
    "the voxel grid (Lee 1994 in 3D, Zhang and Suen 1984 in 2D), every voxel counts alike",
    "skeleton_recall": "fraction of the reference's skeleton inside the prediction",
    "pooled": "MM-WHS's generalized scores: TP, FP and FN summed over all labels, so that each weighs by its "
    "volume; max_hd_mm is the largest Hausdorff distance of a structure",
    "union": "all labels of the foreground taken as one mask",
    "mean": "mean over the cases that have a value, n says how many; counts of voxels and volumes over all",
    "foreground_mean": "mean over structures of their means, n says how many have one",
}
_MISSING = {
    "both_empty": "neither in the reference nor in the prediction: every score is null and enters no mean",
    "missing_reference": "predicted where the reference has none: Dice, IoU, precision, nsd and cl_dice are "
    "0, the rest null",
    "missing_prediction": "in the reference and not predicted: Dice, IoU, recall, nsd, cl_dice and "
    "skeleton_recall are 0, rve_percent is -100, precision null, distances are ",
}
_DISTANCES = {
    "worst": "the diagonal of the image, between the centers of its corner voxels",
    "null": "null and enter no mean",
}


def definitions(settings: Settings, *, unit: str = "mm") -> dict[str, object]:
    """Definitions of all metrics under the settings of a run, for files of results.

    Args:
        settings: of the run.
        unit: of distances: ``"mm"``, or ``"pixel"`` where the files hold no spacing.

    Returns:
        Texts and numbers by the names of metrics.

    Example:
        >>> definitions(Settings(nsd_tolerance_mm=1))["nsd_tolerance_mm"]
        1
    """
    missed = _MISSING["missing_prediction"] + _DISTANCES[settings.missing]
    return {
        **_METRICS,
        "nsd": "normalized surface Dice: fraction of the boundary voxels of both masks, each counted alike, "
        f"that lie within {settings.nsd_tolerance_mm:g} mm of the other surface, the tolerance included",
        "nsd_tolerance_mm": settings.nsd_tolerance_mm,
        "space": "the reference's own grid; distances along its axes by its spacing",
        "unit": unit if unit == "mm" else f"{unit}: the files hold no spacing, keys say mm all the same",
        "ignore": "voxels that the reference ignores are background in both masks and enter no count; a mask "
        "that is cut there has a surface at the cut",
        "missing": {**_MISSING, "missing_prediction": missed},
    }
