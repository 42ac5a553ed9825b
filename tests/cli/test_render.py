"""The verb ``render``: picture and surfaces of a case, and what cannot be shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from evaluated import ball, write_dataset_json, write_labels

from nnunet_ext.cli.main import main


@pytest.fixture
def case(tmp_path: Path) -> Path:
    labels = ball(9, half_mm=12).astype(np.uint8)
    labels[ball(4, half_mm=12)] = 2
    write_dataset_json(tmp_path / "in", {"background": 0, "Eye L/left": 1, "lens": 2})
    return write_labels(tmp_path / "in" / "a.nii.gz", labels, origin=(-100, 50, 900))


def test_every_structure_becomes_a_surface_in_the_patients_coordinates(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyvista

    assert main(["render", str(case), "--out", str(tmp_path / "out")]) == 0
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["a.png", "a_Eye_L_left.stl", "a_lens.stl"]
    lens = pyvista.read(tmp_path / "out" / "a_lens.stl")
    assert lens.center == pytest.approx((-100 + 12, 50 + 12, 900 + 12), abs=0.1)
    assert lens.volume == pytest.approx(ball(4, half_mm=12).sum(), rel=0.03)
    assert "lens: " in capsys.readouterr().out


def test_with_a_reference_and_an_image_and_without_names(case: Path, tmp_path: Path) -> None:
    alone = write_labels(
        tmp_path / "alone" / "b.nii.gz", SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(case)))
    )
    options = ["--reference", str(alone), "--image", str(alone), "--format", "ply", "--max-triangles", "300"]
    assert main(["render", str(alone), "--out", str(tmp_path / "out"), *options]) == 0
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["b.png", "b_label_1.ply", "b_label_2.ply"]


def test_structures_whose_names_differ_in_signs_alone_keep_their_own_files(
    case: Path, tmp_path: Path
) -> None:
    write_dataset_json(case.parent, {"background": 0, "GTV+": 1, "gtv-": 2})
    assert main(["render", str(case), "--out", str(tmp_path / "out")]) == 0
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["a.png", "a_GTV_1.stl", "a_gtv_2.stl"]


def test_a_label_map_without_structures_has_a_picture_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write_labels(tmp_path / "in" / "e.nii.gz", np.zeros((5, 6, 7), np.uint8))
    assert main(["render", str(empty), "--out", str(tmp_path / "out")]) == 0
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["e.png"]
    assert "no structure" in capsys.readouterr().out


def test_what_cannot_be_shown_is_refused(
    case: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flat = write_labels(tmp_path / "in" / "flat.nii.gz", np.ones((1, 6, 7), np.uint8))
    other = write_labels(tmp_path / "in" / "other.nii.gz", np.ones((4, 6, 7), np.uint8))
    for arguments, message in (
        ([str(flat)], "expected a volume, got one slice"),
        ([str(case), "--reference", str(other)], "grid-mismatch"),
        ([str(tmp_path / "none.nii.gz")], "none.nii.gz"),
    ):
        caplog.clear()
        assert main(["render", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert message in caplog.text
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True
