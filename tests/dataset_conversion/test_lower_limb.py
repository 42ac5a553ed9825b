"""CT with one PNG a slice, through the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinical_images import ct_slices, placed
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
from PIL import Image

from nnunet_ext.cli.main import main
from nnunet_ext.clinical_io.dicom_writer import save_slices

NAME = "Dataset513_LowerLimb"


def leg(seed: int) -> np.ndarray:
    z, y, x = np.indices((10, 24, 32))
    return np.hypot(y - 7 - 0.3 * z, x - 8 - seed) < 4


def write_patient(folder: Path, seed: int, *, upside_down: bool = False) -> None:
    hu = np.where(leg(seed), 500, 30).astype(np.int16)
    hu[:, :2] = -1000
    slices = ct_slices(placed(hu, spacing=(0.7, 0.7, 1.5)), patient=f"patient-{seed}", description="legs")
    save_slices(slices, folder / "dicom")
    mask = leg(seed)[:, ::-1] if upside_down else leg(seed)
    (folder / "mask").mkdir()
    for z, plane in enumerate(mask):
        Image.fromarray(plane.astype(np.uint8)).save(folder / "mask" / f"{z + 1}.png")


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    for seed in range(1, 7):
        write_patient(tmp_path / "clinic" / f"p{seed}", seed, upside_down=seed == 4)
    return tmp_path / "clinic"


def convert(clinic: Path, *more: str) -> int:
    out, key = clinic.parent / "raw", clinic.parent / "key.json"
    arguments = ["--dataset-id", "513", "--out", str(out), "--key", str(key), "--no-pbar", *more]
    return main(["convert", "lower-limb", str(clinic), *arguments])


def test_bones_come_out_where_they_are_and_flipped_ones_are_refused(clinic: Path) -> None:
    assert convert(clinic) == 1
    dataset = clinic.parent / "raw" / NAME
    report = json.loads((dataset / "conversion_report.json").read_text())["cases"]
    assert {case: entry.get("code") for case, entry in report.items() if entry["status"] == "refused"} == {
        "LowerLimb_004": "flipped-png"
    }
    for seed in (1, 2, 3, 5, 6):
        label = SimpleITK.ReadImage(str(dataset / "labelsTr" / f"LowerLimb_{seed:03d}.nii.gz"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label) == 1, leg(seed))
    verify_dataset_integrity(str(dataset), num_processes=1)


def test_of_several_series_the_user_says_which(clinic: Path) -> None:
    thin = np.full((10, 24, 32), 30, np.int16)
    thin[:, :2] = -1000
    save_slices(ct_slices(placed(thin), patient="patient-1", description="thorax"), clinic / "p1" / "other")
    report = clinic.parent / "raw" / NAME / "conversion_report.json"
    assert convert(clinic) == 1
    entry = json.loads(report.read_text())["cases"]["LowerLimb_001"]
    assert entry["code"] == "mixed-series"
    assert "--series" in entry["remedy"]
    assert convert(clinic, "--series", "LEGS") == 1
    assert json.loads(report.read_text())["cases"]["LowerLimb_001"]["status"] == "written"


def test_a_slice_without_a_mask_is_empty_only_when_the_user_says_so(clinic: Path) -> None:
    write_patient(clinic / "p7", 4)
    for png in (clinic / "p4" / "mask").glob("*"):
        png.unlink()
    (clinic / "p1" / "mask" / "10.png").unlink()
    assert convert(clinic) == 1
    dataset = clinic.parent / "raw" / NAME
    codes = {
        case: entry.get("code")
        for case, entry in json.loads((dataset / "conversion_report.json").read_text())["cases"].items()
    }
    assert codes["LowerLimb_001"] == codes["LowerLimb_004"] == "missing-png"
    assert convert(clinic, "--missing-png", "empty") == 1  # a case without any is still refused
    label = SimpleITK.ReadImage(str(dataset / "labelsTr" / "LowerLimb_001.nii.gz"))
    assert SimpleITK.GetArrayFromImage(label).any(axis=(1, 2)).tolist() == [True] * 9 + [False]
    assert not (dataset / "labelsTr" / "LowerLimb_004.nii.gz").exists()
