"""Pairs of files that can be compared, and those that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from clinical_images import oblique_direction
from evaluated import cube, table, write_labels

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.evaluation import score_case
from nnunet_ext.evaluation.label_maps import read_pair

LABELS = cube(at=(2, 2, 2)).astype(np.uint8)
PLACE: dict[str, Any] = {"spacing": (0.7, 0.8, 2.5), "origin": (-120, 33, -400)}


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("turned", [(0, 0, 0), (20, -10, 30)])
def test_spacing_follows_the_axes_of_the_voxels(
    tmp_path: Path, ending: str, turned: tuple[float, float, float]
) -> None:
    """Two slices of 2.5 mm apart, however the image lies in the world."""
    place = {**PLACE, "direction": oblique_direction(*turned)}
    reference = write_labels(tmp_path / f"a{ending}", LABELS, **place)
    prediction = write_labels(tmp_path / f"b{ending}", np.roll(LABELS, 2, axis=0), **place)
    pair = read_pair(prediction, reference)
    assert pair.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    scores = score_case(pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, table=table())
    assert scores.structures["1"].hd_mm == pytest.approx(5)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"origin": (-120, 33, -399)}, "a corner of the prediction lies 1 mm from that of the reference"),
        ({"spacing": (0.7, 0.8, 2.6)}, "a corner of the prediction lies 2.3 mm"),
        ({"direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1)}, "a corner of the prediction lies"),
    ],
)
def test_another_grid_is_refused(tmp_path: Path, change: dict[str, Any], found: str) -> None:
    reference = write_labels(tmp_path / "a.nii.gz", LABELS, **PLACE)
    prediction = write_labels(tmp_path / "b.nii.gz", LABELS, **{**PLACE, **change})
    with pytest.raises(CaseError, match=f"grid-mismatch: {found}"):
        read_pair(prediction, reference)


def test_another_size_is_refused(tmp_path: Path) -> None:
    reference = write_labels(tmp_path / "a.nii.gz", LABELS)
    prediction = write_labels(tmp_path / "b.nii.gz", LABELS[1:])
    with pytest.raises(CaseError, match=r"24 x 24 x 23 voxels .*, the reference 24 x 24 x 24"):
        read_pair(prediction, reference)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [("float32", "uint8"), ("int16", "uint8"), ("float64", "uint8"), ("uint8", "uint8")],
)
def test_whole_numbers_of_any_type(tmp_path: Path, stored: str, expected: str) -> None:
    file = write_labels(tmp_path / "a.nii.gz", LABELS.astype(stored))
    pair = read_pair(file, file)
    assert pair.prediction.dtype == expected
    assert (pair.prediction == LABELS).all()


def test_large_label_values(tmp_path: Path) -> None:
    file = write_labels(tmp_path / "a.nrrd", LABELS.astype(np.int32) * 850)
    assert read_pair(file, file).prediction.max() == 850


@pytest.mark.parametrize("wrong", [0.5, -1, 70000, np.nan, np.inf])
def test_what_is_no_label(tmp_path: Path, wrong: float) -> None:
    voxels = LABELS.astype(np.float32)
    voxels[0, 0, 0] = wrong
    reference = write_labels(tmp_path / "a.nrrd", LABELS)
    with pytest.raises(CaseError, match="not-labels: expected the prediction to hold whole numbers"):
        read_pair(write_labels(tmp_path / "b.nrrd", voxels), reference)


def test_pictures_are_compared_in_pixels(tmp_path: Path) -> None:
    """Their resolution is that of a printer."""
    image = SimpleITK.GetImageFromArray(LABELS[4])
    image.SetSpacing((0.2, 0.2))
    SimpleITK.WriteImage(image, str(tmp_path / "a.png"))
    pair = read_pair(tmp_path / "a.png", tmp_path / "a.png")
    assert pair.prediction.shape == (1, 24, 24)
    assert pair.spacing_mm == (1, 1, 1)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_files_of_two_dimensions_are_one_slice_in_mm(tmp_path: Path, ending: str) -> None:
    for name, voxels in (("a", LABELS[4]), ("b", np.roll(LABELS[4], 2, axis=0))):
        image = SimpleITK.GetImageFromArray(voxels)
        image.SetSpacing((0.5, 1.5))
        SimpleITK.WriteImage(image, str(tmp_path / f"{name}{ending}"))
    pair = read_pair(tmp_path / f"b{ending}", tmp_path / f"a{ending}")
    assert pair.prediction.shape == (1, 24, 24)
    assert pair.spacing_mm[1:] == pytest.approx((1.5, 0.5))
    scores = score_case(pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, table=table())
    assert scores.structures["1"].hd_mm == pytest.approx(3)
    if ending == ".nii.gz":
        whole = (tmp_path / "a.nii.gz").read_bytes()
        (tmp_path / "a.nii.gz").write_bytes(whole[:-20])
        with pytest.raises(CaseError, match="truncated-file"):
            read_pair(tmp_path / "b.nii.gz", tmp_path / "a.nii.gz")


def test_volumes_of_four_dimensions_or_vectors_are_refused(tmp_path: Path) -> None:
    series = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(LABELS)] * 2)
    SimpleITK.WriteImage(series, str(tmp_path / "a.nii.gz"))
    vectors = SimpleITK.GetImageFromArray(np.stack([LABELS[4]] * 2, axis=-1), isVector=True)
    SimpleITK.WriteImage(vectors, str(tmp_path / "b.mha"))
    for name in ("a.nii.gz", "b.mha"):
        with pytest.raises(CaseError, match="not-3d"):
            read_pair(tmp_path / name, tmp_path / name)


def test_colors_are_no_labels(tmp_path: Path) -> None:
    SimpleITK.WriteImage(SimpleITK.Image([4, 4], SimpleITK.sitkVectorUInt8, 3), str(tmp_path / "a.png"))
    with pytest.raises(CaseError, match="in color"):
        read_pair(tmp_path / "a.png", tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(CaseError, match="unreadable"):
        read_pair(tmp_path / "b.png", tmp_path / "b.png")
