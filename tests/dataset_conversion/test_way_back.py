"""Predictions go back onto the series they were made from, voxel by voxel, and onto no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinics import Truth, write_patient

from nnunet_ext.cli.main import main
from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.grids import with_grid_of
from nnunet_ext.clinical_io.rasterize import rasterize
from nnunet_ext.clinical_io.structure_set import read_structure_set

NAME = "Dataset501_LiverTarget"
ANGLES = ((0, 0, 0), (100, 12, -95), (4, -8, 180))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    """Patients who lay straight, obliquely and head first, converted, and a prediction of each."""
    root = tmp_path_factory.mktemp("hospital")
    truths = [
        write_patient(root / "clinic" / f"p{i}", seed=i, angles=angles)
        for i, angles in enumerate(ANGLES, start=1)
    ]
    arguments = ["--dataset-id", "501", "--out", str(root / "raw"), "--key", str(root / "key.json")]
    main(["convert", "liver-target", str(root / "clinic"), *arguments, "--no-pbar"])
    predictions = root / "predictions"
    shutil.copytree(root / "raw" / NAME / "labelsTr", predictions)
    shutil.copy(root / "raw" / NAME / "dataset.json", predictions)
    (predictions / "plans.json").write_text(json.dumps({"dataset_name": NAME}))
    return root, truths


def export(root: Path, case: int, series: int, *more: str, out: str = "rs.dcm") -> int:
    prediction = root / "predictions" / f"LiverTarget_{case:03d}.nii.gz"
    arguments = [str(prediction), str(root / "clinic" / f"p{series}" / "CT"), "--out", str(root / out)]
    return main(["export", *arguments, *(more or ["--key", str(root / "key.json")])])


@pytest.mark.parametrize("case", [1, 2, 3])
def test_a_structure_comes_back_on_the_original_series(
    clinic: tuple[Path, list[Truth]], case: int, capsys: pytest.CaptureFixture[str]
) -> None:
    root, truths = clinic
    assert export(root, case, case) == 0
    target = truths[case - 1].target
    assert json.loads(capsys.readouterr().out)["voxels"] == {"GTV": int(target.sum())}
    volume = read_series(find_dicom(root / "clinic" / f"p{case}" / "CT").series[0])
    (structure,) = read_structure_set(root / "rs.dcm").structures
    assert structure.name == "GTV"
    assert structure.color == (255, 0, 0)  # as the hospital drew it
    np.testing.assert_array_equal(rasterize(structure.contours, volume.image).voxels, target)


def test_regions_holes_colors_and_what_was_not_found(
    clinic: tuple[Path, list[Truth]], tmp_path: Path
) -> None:
    root, _ = clinic
    label = SimpleITK.ReadImage(str(root / "predictions" / "LiverTarget_001.nii.gz"))
    numbers = np.zeros(label.GetSize()[::-1], np.uint8)
    numbers[2:5, 4:14, 4:14] = 1
    numbers[2:5, 7:10, 7:10] = 2
    prediction = tmp_path / "LiverTarget_001.nii.gz"
    SimpleITK.WriteImage(with_grid_of(SimpleITK.GetImageFromArray(numbers), label), str(prediction))
    names = {"background": 0, "Liver": [1, 2], "GTV": 2, "Shell": 1, "Cyst": 3, "ignore": 4}
    description = tmp_path / "names.json"
    description.write_text(json.dumps({"labels": names, "colors": {"GTV": [1, 2, 3]}}))
    arguments = ["--dataset-json", str(description), "--image", str(_image(root, 1))]
    series = str(root / "clinic" / "p1" / "CT")
    assert main(["export", str(prediction), series, "--out", str(tmp_path / "rs.dcm"), *arguments]) == 0
    volume = read_series(find_dicom(Path(series)).series[0])
    structures = {s.name: s for s in read_structure_set(tmp_path / "rs.dcm").structures}
    assert list(structures) == ["Liver", "GTV", "Shell", "Cyst"]
    assert structures["GTV"].color == (1, 2, 3)
    assert len({s.color for s in structures.values()}) == 4
    assert structures["Cyst"].is_empty
    for name, expected in (("Liver", numbers > 0), ("GTV", numbers == 2), ("Shell", numbers == 1)):
        np.testing.assert_array_equal(rasterize(structures[name].contours, volume.image).voxels, expected)


def _image(root: Path, case: int) -> Path:
    return root / "raw" / NAME / "imagesTr" / f"LiverTarget_{case:03d}_0000.nii.gz"


def test_another_patients_series_is_refused_by_its_grid(
    clinic: tuple[Path, list[Truth]], caplog: pytest.LogCaptureFixture
) -> None:
    root, _ = clinic
    assert export(root, 1, 3, out="wrong.dcm") == 1
    assert "wrong-series" in caplog.text
    assert not (root / "wrong.dcm").exists()


@pytest.mark.parametrize("how", ["key", "image"])
def test_another_patients_series_with_the_same_grid_is_refused(
    clinic: tuple[Path, list[Truth]], tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    root, truths = clinic
    other = write_patient(tmp_path / "other", seed=9)
    series = tmp_path / "other" / "CT"
    _move_to(series, other.image, truths[0].image)
    prediction = str(root / "predictions" / "LiverTarget_001.nii.gz")
    whose: Sequence[str] = ["--key", str(root / "key.json")]
    if how == "image":
        whose = ["--image", str(_image(root, 1))]
    assert main(["export", prediction, str(series), "--out", str(tmp_path / "rs.dcm"), *whose]) == 1
    assert "wrong-series" in caplog.text
    assert "grid" not in caplog.text
    assert not (tmp_path / "rs.dcm").exists()


def _move_to(series: Path, image: SimpleITK.Image, reference: SimpleITK.Image) -> None:
    import pydicom

    shift = np.subtract(reference.GetOrigin(), image.GetOrigin())
    for file in series.iterdir():
        content = pydicom.dcmread(file)
        content.ImagePositionPatient = [
            f"{float(mm) + by:.6f}" for mm, by in zip(content.ImagePositionPatient, shift, strict=True)
        ]
        content.save_as(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--key", "missing.json"], "missing.json"),
        (["--dataset-json", "missing.json"], "missing.json"),
        (["--modality", "MR", "--key", "KEY"], "expected one MR series"),
    ],
)
def test_wrong_usage_is_told(
    clinic: tuple[Path, list[Truth]],
    arguments: list[str],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, _ = clinic
    arguments = [str(root / "key.json") if a == "KEY" else a for a in arguments]
    assert export(root, 1, 1, *arguments) in (1, 2)
    assert message in caplog.text


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [("plans.json", "give it with --key FILE, or"), ("dataset.json", "give --dataset-json FILE")],
)
def test_what_nnunet_did_not_leave_beside_the_prediction_is_asked_for(
    clinic: tuple[Path, list[Truth]],
    tmp_path: Path,
    missing: str,
    remedy: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, _ = clinic
    predictions = shutil.copytree(root / "predictions", tmp_path / "predictions")
    (predictions / missing).unlink()
    whose = [] if missing == "plans.json" else ["--key", str(root / "key.json")]
    arguments = [str(predictions / "LiverTarget_001.nii.gz"), str(root / "clinic" / "p1"), *whose]
    assert main(["export", *arguments, "--out", str(tmp_path / "rs.dcm")]) == 2
    assert f"{predictions / missing}" in caplog.text
    assert remedy in caplog.text


def test_a_case_that_the_key_does_not_know_is_refused(
    clinic: tuple[Path, list[Truth]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, _ = clinic
    for file in ("dataset.json", "plans.json"):
        shutil.copy(root / "predictions" / file, tmp_path)
    shutil.copy(root / "predictions" / "LiverTarget_001.nii.gz", tmp_path / "somebody.nii.gz")
    arguments = [str(tmp_path / "somebody.nii.gz"), str(root / "clinic" / "p1"), "--out", str(tmp_path / "a")]
    assert main(["export", *arguments, "--key", str(root / "key.json")]) == 2
    assert "knows no series of somebody" in caplog.text


def test_a_number_without_a_name_is_refused(
    clinic: tuple[Path, list[Truth]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, _ = clinic
    description = tmp_path / "names.json"
    description.write_text('{"labels": {"background": 0}}')
    whose = ["--dataset-json", str(description), "--image", str(_image(root, 1))]
    assert export(root, 1, 1, *whose, out="nameless.dcm") == 1
    assert "label-value" in caplog.text
