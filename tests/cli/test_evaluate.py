"""The verb from the command line to its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from evaluated import cube, write_dataset_json, write_labels

from nnunet_ext.cli.main import main

ORGAN = cube(at=(2, 2, 2)).astype(np.uint8)
MOVED = cube(at=(4, 2, 2)).astype(np.uint8)
VESSEL = 2 * cube(at=(12, 12, 12), side=6).astype(np.uint8)
PLACE = {"spacing": (1, 1, 1.5)}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions as nnUNetv2_predict leaves them, two cases, and their references."""
    prediction, reference = tmp_path / "prediction", tmp_path / "labelsTs"
    for case, predicted in (("case_1", MOVED + VESSEL), ("case_2", ORGAN)):
        write_labels(prediction / f"{case}.nii.gz", predicted, **PLACE)
        write_labels(reference / f"{case}.nii.gz", ORGAN + VESSEL, **PLACE)
    write_dataset_json(prediction)
    (prediction / "summary.json").write_text("nnU-Net's own")
    return prediction, reference


def run(*arguments: str | Path) -> int:
    return main(["evaluate", *map(str, arguments), "--no-pbar"])


def test_from_folders_to_files(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prediction, reference = folders
    assert run(*folders, "--csv", tmp_path / "out" / "cases.csv", "--tubular", "vessel", "--union") == 0
    found = json.loads((prediction / "summary_ext.json").read_text())
    assert found["names"] == {"1": "organ", "2": "vessel"}
    first, second = (case["metrics"] for case in found["metric_per_case"])
    assert (first["1"]["hd_mm"], first["1"]["Dice"], first["2"]["hd_mm"]) == (3, 0.75, 0)
    assert first["2"]["cl_dice"] == first["2"]["skeleton_recall"] == 1
    assert "cl_dice" not in first["1"]
    assert second["2"]["missing_prediction"] is True
    assert found["mean"]["2"]["missing_prediction"] == 1
    assert found["metric_per_case"][0]["pooled"]["union_hd_mm"] == 3
    assert found["metric_per_case"][0]["reference_file"] == str(reference / "case_1.nii.gz")
    rows = list(csv.DictReader((tmp_path / "out" / "cases.csv").open()))
    assert [(r["case"], r["structure"]) for r in rows] == [
        (case, name) for case in ("case_1", "case_2") for name in ("organ", "vessel")
    ]
    assert (prediction / "summary.json").read_text() == "nnU-Net's own"
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == ["organ", "vessel"]


def test_a_bad_case_is_named_and_the_others_are_there(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prediction, reference = folders
    write_labels(prediction / "case_2.nii.gz", ORGAN, spacing=(1, 1, 1.6))
    write_labels(reference / "case_3.nii.gz", ORGAN)
    summary = tmp_path / "all.json"
    assert run(*folders, "--json", summary) == 1
    found = json.loads(summary.read_text())
    assert {f["case"]: f["code"] for f in found["failed"]} == {
        "case_2": "grid-mismatch",
        "case_3": "no-prediction",
    }
    assert [case["case"] for case in found["metric_per_case"]] == ["case_1"]
    assert "case_2 failed: grid-mismatch: a corner" in caplog.text
    assert not (prediction / "summary_ext.json").exists()
    assert run(*folders, "--only-predicted", "--json", summary) == 1
    assert [f["case"] for f in json.loads(summary.read_text())["failed"]] == ["case_2"]


def test_a_page_of_all_cases(
    folders: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, reference = folders
    # nnU-Net's folder of images beside that of the labels is found.
    write_labels(tmp_path / "imagesTs" / "case_2_0000.nii.gz", (ORGAN * 100).astype(np.int16), **PLACE)
    write_labels(reference / "case_3.nii.gz", ORGAN, **PLACE)
    page = tmp_path / "report.html"
    assert run(*folders, "--html", page) == 1
    text = page.read_text()
    assert "2 cases, 1 failed. Mean Dice: organ 0.875, vessel 0.500." in text
    for words in ("Cases that failed", "case_3", "worst case: case_2", "Every case"):
        assert words in text, words
    assert text.count('<img src="data:image/png') == 1  # of two cases the worst is the median, too
    assert "left out of the pictures" not in caplog.text


def test_a_page_of_pictures_has_no_surfaces(tmp_path: Path) -> None:
    for folder in ("prediction", "labelsTs"):
        file = tmp_path / folder / "a.png"
        file.parent.mkdir()
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ORGAN[4]), str(file))
    write_dataset_json(tmp_path / "prediction", ending=".png")
    page = tmp_path / "report.html"
    assert run(tmp_path / "prediction", tmp_path / "labelsTs", "--html", page) == 0
    text = page.read_text()
    assert "for mm read pixel" in text
    assert 'class="plot turns"' not in text


def test_two_files(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    prediction, reference = (folder / "case_1.nii.gz" for folder in folders)
    before = sorted(prediction.parent.iterdir())
    assert run(prediction, reference, "--missing", "null", "--nsd-tolerance-mm", "3") == 0
    out = capsys.readouterr().out
    assert "NSD at 3 mm" in out
    assert out.splitlines()[1].split()[3] == "1.0000"
    assert sorted(prediction.parent.iterdir()) == before


def test_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder, shift in (("prediction", 2), ("labels", 0)):
        (tmp_path / folder).mkdir()
        picture = np.roll(ORGAN[4], shift, axis=0)
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(picture), str(tmp_path / folder / "a.png"))
    file = write_dataset_json(tmp_path, {"background": 0, "organ": 1}, ending=".png")
    assert run(tmp_path / "prediction", tmp_path / "labels", "--dataset-json", file) == 0
    assert "for mm read pixel" in capsys.readouterr().out
    found = json.loads((tmp_path / "prediction" / "summary_ext.json").read_text())
    assert found["mean"]["1"]["hd_mm"] == 2
    assert found["definitions"]["unit"].startswith("pixel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tubular", "bone"), "no structure is called bone"),
        (("--nsd-tolerance-mm", "-1"), "tolerance of 0 mm or more"),
        (("--workers", "0"), "at least one worker"),
        (("--dataset-json", "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_usage(
    folders: tuple[Path, Path],
    arguments: tuple[str, ...],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert run(*folders, *arguments) == 2
    assert message in caplog.text
    assert not (folders[0] / "summary_ext.json").exists()


def test_folders_that_are_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_dataset_json(tmp_path)
    assert run(tmp_path / "a", tmp_path / "b") == 2
    assert "is no folder" in caplog.text
