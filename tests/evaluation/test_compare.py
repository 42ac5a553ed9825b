"""One case: structures cut out of label maps, what is missing, what is ignored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluated import blobs, cube, table

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.evaluation import Settings, StructureScores, score_case

SPACING_MM = (3.0, 1.0, 1.0)


def scored(
    prediction: np.ndarray, reference: np.ndarray, settings: Settings | None = None, **more: object
) -> dict[str, StructureScores]:
    maps = (np.asarray(m, np.uint8) for m in (prediction, reference))
    options = {"spacing_mm": SPACING_MM, "table": table(), **more}
    return score_case(*maps, settings=settings, **options).structures  # type: ignore[arg-type]


def test_two_structures() -> None:
    reference = cube(at=(2, 2, 2)) + 2 * cube(at=(12, 12, 12))
    prediction = cube(at=(3, 2, 2)) + 2 * cube(at=(12, 12, 12))
    found = scored(prediction, reference)
    assert found["1"].hd_mm == 3
    assert found["1"].overlap.dice == 0.875
    assert found["1"].numbers()["volume_ml"] == pytest.approx(8**3 * 3 / 1000)
    assert found["2"].numbers() | {"TN": 0} == {
        **dict.fromkeys(("Dice", "IoU", "precision", "recall", "nsd"), 1),
        **dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm", "rve_percent", "rve_absolute_percent"), 0),
        **dict.fromkeys(("TP", "n_pred", "n_ref"), 512),
        **dict.fromkeys(("FP", "FN", "TN"), 0),
        **dict.fromkeys(("volume_ml", "reference_volume_ml"), 1.536),
    }


def test_boxes_do_not_change_what_whole_volumes_give() -> None:
    from nnunet_ext.evaluation.surfaces import surface_distances

    prediction, reference = blobs(0), blobs(1)
    found = scored(prediction, reference)["1"]
    whole = surface_distances(prediction, reference, spacing_mm=SPACING_MM)
    assert (found.hd_mm, found.hd95_mm, found.assd_mm) == (whole.hd_mm, whole.hd95_mm, whole.assd_mm)


def test_volume_errors_have_a_sign_and_an_absolute_value() -> None:
    larger, smaller = cube(at=(1, 1, 1), side=4), cube(at=(1, 1, 1), side=2)
    numbers = scored(smaller, larger)["1"].numbers()
    assert (numbers["rve_percent"], numbers["rve_absolute_percent"]) == (-87.5, 87.5)
    assert scored(larger, smaller)["1"].numbers()["rve_percent"] == 700


EMPTY = np.zeros((24, 24, 24), np.uint8)
ORGAN = cube(at=(2, 2, 2)).astype(np.uint8)
# The centers of opposite corners are 23 voxels apart along every axis.
DIAGONAL_MM = np.sqrt((23 * 3) ** 2 + 23**2 + 23**2)
ZERO = dict.fromkeys(("Dice", "IoU", "nsd", "cl_dice"), 0)


@pytest.mark.parametrize(
    ("prediction", "reference", "missing", "expected", "flag"),
    [
        (EMPTY, EMPTY, "worst", {}, "both_empty"),
        (EMPTY, EMPTY, "null", {}, "both_empty"),
        (ORGAN, EMPTY, "worst", {**ZERO, "precision": 0}, "missing_reference"),
        (ORGAN, EMPTY, "null", {**ZERO, "precision": 0}, "missing_reference"),
        (
            EMPTY,
            ORGAN,
            "null",
            {**ZERO, "recall": 0, "skeleton_recall": 0, "rve_percent": -100, "rve_absolute_percent": 100},
            "missing_prediction",
        ),
        (
            EMPTY,
            ORGAN,
            "worst",
            {
                **ZERO,
                **dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm"), pytest.approx(DIAGONAL_MM)),
                **{"recall": 0, "skeleton_recall": 0, "rve_percent": -100, "rve_absolute_percent": 100},
            },
            "missing_prediction",
        ),
    ],
)
def test_the_policy_for_what_is_missing(
    prediction: np.ndarray, reference: np.ndarray, missing: str, expected: dict[str, float], flag: str
) -> None:
    settings = Settings(missing=missing, tubular=frozenset({"1"}))  # type: ignore[arg-type]
    found = scored(prediction, reference, settings)["1"]
    counts = ("TP", "FP", "FN", "TN", "n_pred", "n_ref", "volume_ml", "reference_volume_ml")
    scores = {k: v for k, v in found.numbers().items() if k not in counts}
    assert {k: v for k, v in scores.items() if v is not None} == expected
    assert [name for name, is_so in found.flags().items() if is_so] == [flag]


def test_ignored_voxels_count_for_nothing() -> None:
    labels = table({"background": 0, "organ": 1, "vessel": 2, "ignore": 3})
    reference = cube(at=(4, 4, 4)).astype(np.uint8)
    prediction = reference.copy()
    prediction[20:] = 1  # far away from the organ
    prediction[:, :2] = 2
    reference[19:] = reference[:, :3] = 3
    found = score_case(prediction, reference, spacing_mm=SPACING_MM, table=labels)
    organ = found.structures["1"]
    assert (organ.overlap.dice, organ.hd_mm) == (1, 0)
    assert organ.overlap.tn == (reference == 0).sum()
    assert found.structures["2"].both_empty
    assert found.pooled.dice == 1


def test_an_organ_that_is_cut_by_what_is_ignored_has_its_surface_at_the_cut() -> None:
    labels = table({"background": 0, "organ": 1, "ignore": 2})
    reference = cube(at=(4, 4, 4)).astype(np.uint8)
    prediction = cube(at=(4, 4, 4), side=12).astype(np.uint8)
    reference[8:] = reference[:, 12:] = reference[:, :, 12:] = 2
    found = score_case(prediction, reference, spacing_mm=SPACING_MM, table=labels).structures["1"]
    assert (found.overlap.dice, found.hd_mm) == (1, 0)


def test_the_ignore_label_is_no_prediction() -> None:
    labels = table({"background": 0, "organ": 1, "ignore": 2})
    with pytest.raises(CaseError, match="ignore-predicted"):
        score_case(2 * ORGAN, ORGAN, spacing_mm=SPACING_MM, table=labels)


def test_regions_are_made_of_their_labels() -> None:
    labels = table({"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=[1, 2])
    reference = np.maximum(cube(at=(4, 4, 4), side=12), 2 * cube(at=(6, 6, 6), side=4)).astype(np.uint8)
    prediction = np.maximum(cube(at=(4, 4, 4), side=12), 2 * cube(at=(8, 6, 6), side=4)).astype(np.uint8)
    found = score_case(prediction, reference, spacing_mm=SPACING_MM, table=labels)
    assert found.structures["(1, 2)"].overlap.dice == 1
    assert found.structures["(1, 2)"].hd_mm == 0
    assert found.structures["2"].overlap.dice == 0.5
    assert found.structures["2"].hd_mm == 6
    # Pooled over the labels, so that no voxel counts in two regions: 1728 of which 64 are confused.
    assert found.pooled.dice == pytest.approx((1728 - 64) / 1728)


def test_labels_pooled_and_united() -> None:
    prediction = cube(at=(4, 4, 4), side=12).astype(np.uint8)
    reference = prediction + cube(at=(4, 4, 4), side=2).astype(np.uint8)
    found = score_case(
        prediction, reference, spacing_mm=SPACING_MM, table=table(), settings=Settings(union=True)
    )
    dice = [s.overlap.dice or 0.0 for s in found.structures.values()]
    assert dice == [pytest.approx(2 * 1720 / 3448), 0]
    pooled = found.pooled_numbers()
    assert pooled["Dice"] == pytest.approx(2 * 1720 / (1728 * 2))
    assert pooled["Dice"] != pytest.approx(np.mean(dice), abs=0.4)
    assert (pooled["union_hd_mm"], pooled["union_nsd"]) == (0, 1)
    assert pooled["max_hd_mm"] == pytest.approx(DIAGONAL_MM)


def test_a_single_slice_has_two_dimensions() -> None:
    """As a slab every voxel would be on the surface, and the inside would hide the distance of the rim."""
    larger, smaller = (cube(at=(0, n, n), side=24 - 2 * n) for n in (2, 6))
    settings = Settings(tubular=frozenset({"1"}))
    slab = scored(larger[:1], smaller[:1], settings)["1"]
    flat = scored(larger[0], smaller[0], settings, spacing_mm=SPACING_MM[1:])["1"]
    assert slab.assd_mm == flat.assd_mm
    assert replace(slab, voxel_ml=0) == replace(flat, voxel_ml=0)
    assert slab.hd_mm == pytest.approx(np.hypot(4, 4))
    across = scored(larger[:1].transpose(2, 1, 0), smaller[:1].transpose(2, 1, 0), spacing_mm=(1, 1, 3))["1"]
    assert across.assd_mm == slab.assd_mm


def test_values_that_nobody_declared() -> None:
    gap = table({"background": 0, "a": [1, 3], "b": 3}, regions_class_order=[1, 2])
    for prediction, reference, values in ((9 * ORGAN, ORGAN, "9"), (ORGAN, 2 * ORGAN, "2")):
        with pytest.raises(CaseError, match=f"holds {values}; dataset.json declares 0, 1, 3"):
            score_case(prediction, reference, spacing_mm=SPACING_MM, table=gap)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one shape"):
        scored(ORGAN, ORGAN[1:])
