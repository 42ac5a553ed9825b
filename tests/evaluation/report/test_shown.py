"""Cases as they are shown: turned to one orientation, images that do not fit left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from evaluated import table, write_labels

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.evaluation.report.overlays import overlay_png
from nnunet_ext.evaluation.report.shown import read_shown_case
from nnunet_ext.evaluation.report.views import VIEWS

PNG = b"\x89PNG"


def test_arrays_run_to_head_back_and_left_whatever_the_file_says(tmp_path: Path) -> None:
    voxels = np.zeros((4, 5, 6), np.uint8)
    voxels[3, 4, 5] = 1  # the head's, back's and left's corner
    image = placed(voxels, spacing=(1, 2, 3), origin=(7, 8, 9))
    for letters in ("LPS", "RAI", "SLP", "AIR"):
        file = tmp_path / f"{letters}.nii.gz"
        SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, letters), str(file))
        case = read_shown_case(file, name="a", reference=file)
        assert np.argwhere(case.prediction).tolist() == [[3, 4, 5]], letters
        assert case.spacing_mm == (3.0, 2.0, 1.0)
        assert case.to_lps_mm @ [5, 4, 3, 1] == pytest.approx([12, 16, 18, 1], abs=1e-5)


def test_the_eye_from_the_front_has_the_patients_right_on_its_left() -> None:
    elevation, azimuth = next((e, a) for title, e, a in VIEWS if title == "from the front")
    eye = np.array([np.cos(np.radians(azimuth)), np.sin(np.radians(azimuth)), np.sin(np.radians(elevation))])
    right_of_the_picture = np.cross([0, 0, 1], eye)
    assert right_of_the_picture == pytest.approx([1, 0, 0], abs=1e-6)  # x runs to the patient's left


def test_another_grid_is_refused_for_labels_and_left_out_for_an_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = write_labels(tmp_path / "a.nii.gz", np.ones((4, 5, 6), np.uint8))
    other = write_labels(tmp_path / "b.nii.gz", np.ones((4, 5, 7), np.uint8))
    with pytest.raises(CaseError, match="grid-mismatch"):
        read_shown_case(labels, name="a", reference=other)
    assert read_shown_case(labels, name="a", image=other).image is None
    assert "b.nii.gz is left out of the pictures" in caplog.text
    (tmp_path / "c.nii.gz").write_bytes(b"no image")
    assert read_shown_case(labels, name="a", image=tmp_path / "c.nii.gz").image is None


def test_a_picture_of_labels_is_one_slice(tmp_path: Path) -> None:
    voxels = np.zeros((12, 9), np.uint8)
    voxels[3:7, 2:5] = 1
    for name, content in (("labels", voxels), ("color", np.stack([voxels * 40] * 3, axis=2))):
        SimpleITK.WriteImage(
            SimpleITK.GetImageFromArray(content, isVector=content.ndim == 3), str(tmp_path / f"{name}.png")
        )
    case = read_shown_case(
        tmp_path / "labels.png", name="a", reference=tmp_path / "labels.png", image=tmp_path / "color.png"
    )
    assert case.is_flat
    assert case.image is not None
    assert case.image.shape == (1, 12, 9)
    assert overlay_png(case).startswith(PNG)


def test_an_overlay_is_drawn_of_any_case_and_always_the_same(tmp_path: Path) -> None:
    labels = np.zeros((6, 9, 12), np.uint8)
    labels[2:4, 3:6, 4:9] = 2
    empty = write_labels(tmp_path / "empty.nii.gz", np.zeros_like(labels))
    file = write_labels(tmp_path / "a.nii.gz", labels, spacing=(1, 1, 4))
    same = write_labels(tmp_path / "b.nii.gz", labels * 0, spacing=(1, 1, 4))
    assert overlay_png(read_shown_case(empty, name="a", reference=empty)).startswith(PNG)
    case = read_shown_case(file, name="a", reference=same, image=file)
    assert overlay_png(case, ignore=table().ignore) == overlay_png(case)
