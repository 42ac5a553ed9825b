"""From a hospital's folder to nnU-Net raw: right voxels, no identities, nothing lost or half-written."""

from __future__ import annotations

import copy
import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from clinics import Truth, write_clinic, write_patient
from nnunet_ext.dataset_conversion.registry import CONVERTERS, LAYOUT, layout_of
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunet_ext.cli.main import main
from nnunet_ext.clinical_io.grids import in_one_orientation, with_grid_of
from nnunet_ext.preparation import Preparation, Window, write_preparation

NAME = "Dataset501_LiverTarget"


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    return tmp_path / "Clinic of Dr. Doe"


@pytest.fixture
def truth(clinic: Path) -> dict[str, Truth]:
    return write_clinic(clinic)


def convert(clinic: Path, out: Path, *more: str) -> int:
    key = out.parent / "keys" / "key.json"
    arguments = ["--dataset-id", "501", "--out", str(out), "--key", str(key), "--no-pbar"]
    return main(["convert", "liver-target", str(clinic), *arguments, *more])


def key_of(out: Path) -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, str]] = json.loads((out.parent / "keys" / "key.json").read_text())["cases"]
    return content


def report_of(out: Path) -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, str]] = json.loads((out / NAME / "conversion_report.json").read_text())[
        "cases"
    ]
    return content


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_voxels_places_and_description_are_right(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "raw"
    assert convert(clinic, out) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"dataset": str(out / NAME), "written": 6, "refused": 0}
    for case, entry in key_of(out).items():
        expected = truth[entry["source"]]
        image = SimpleITK.ReadImage(str(out / NAME / "imagesTr" / f"{case}_0000.nii.gz"))
        label = SimpleITK.ReadImage(str(out / NAME / "labelsTr" / f"{case}.nii.gz"))
        np.testing.assert_array_equal(
            SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(expected.image)
        )
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label) == 1, expected.target)
        np.testing.assert_allclose(image.GetOrigin(), expected.image.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(image.GetSpacing(), expected.image.GetSpacing(), atol=1e-5)
        assert image.GetPixelID() == SimpleITK.sitkInt16
    description = json.loads((out / NAME / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT"}
    assert description["labels"] == {"background": 0, "GTV": 1}
    assert description["numTraining"] == 6
    assert description["colors"] == {"GTV": [255, 0, 0]}
    verify_dataset_integrity(str(out / NAME), num_processes=1)


def test_a_color_is_recorded_where_all_cases_agree(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out, file = tmp_path / "raw", clinic / "Doe_Jane_02" / "RS.dcm"
    content = pydicom.dcmread(file)
    whole = deepcopy(content)
    content.ROIContourSequence[0].ROIDisplayColor = [0, 0, 255]
    content.save_as(file)
    assert convert(clinic, out) == 0
    assert "colors" not in json.loads((out / NAME / "dataset.json").read_text())
    del whole.ROIContourSequence[0].ROIDisplayColor
    whole.save_as(file)
    assert convert(clinic, out) == 0  # the other cases are not read again
    assert json.loads((out / NAME / "dataset.json").read_text())["colors"] == {"GTV": [255, 0, 0]}


def test_oblique_and_turned_patients_get_one_orientation_and_keep_their_voxels(
    clinic: Path, tmp_path: Path
) -> None:
    truth = write_patient(clinic / "a", seed=1, angles=(100, 12, -95))
    out = tmp_path / "raw"
    assert convert(clinic, out) == 1  # one patient gives no five splits
    image = SimpleITK.ReadImage(str(out / NAME / "imagesTr" / "LiverTarget_001_0000.nii.gz"))
    label = SimpleITK.ReadImage(str(out / NAME / "labelsTr" / "LiverTarget_001.nii.gz"))
    expected = in_one_orientation(truth.image)
    target = SimpleITK.GetImageFromArray(truth.target.astype(np.uint8))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(expected))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(label),
        SimpleITK.GetArrayFromImage(in_one_orientation(with_grid_of(target, truth.image))),
    )
    np.testing.assert_allclose(image.GetDirection(), expected.GetDirection(), atol=1e-6)


def test_nothing_tells_who_a_patient_is(
    clinic: Path,
    truth: dict[str, Truth],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "raw"
    (slice_,) = (clinic / "Doe_Jane_03" / "CT").glob("0004.dcm")
    slice_.write_bytes(slice_.read_bytes()[:-300])
    write_patient(clinic / "Doe_Jane_07", seed=7, structure="Doe's tumor")
    assert convert(clinic, out) == 1
    captured = capfd.readouterr()
    seen = [captured.out, captured.err, caplog.text]
    for name, raw in contents(out).items():
        seen += [name, (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("latin-1")]
    for text in seen:
        for secret in ("Doe", "Jane", "secret", "Clinic"):
            assert secret not in text, text[:500]
    # The owner of the key finds out which case it was.
    assert [e["source"] for e in key_of(out).values() if "details" in e] == ["Doe_Jane_07"]
    assert "Doe's tumor" in key_of(out)["LiverTarget_007"]["details"]


def _add_structures(file: Path, *names: str) -> None:
    """Further structures with the contours of the first."""
    content = pydicom.dcmread(file)
    for number, name in enumerate(names, start=len(content.StructureSetROISequence) + 1):
        roi, curves = (
            copy.deepcopy(s[0]) for s in (content.StructureSetROISequence, content.ROIContourSequence)
        )
        roi.ROINumber, roi.ROIName, curves.ReferencedROINumber = number, name, number
        content.StructureSetROISequence.append(roi)
        content.ROIContourSequence.append(curves)
    content.save_as(file)


def test_what_did_not_arrive_or_belongs_to_nobody_is_told(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (clinic / "Doe_Jane_07" / "CT").mkdir(parents=True)
    shutil.copy(clinic / "Doe_Jane_01" / "CT" / "0001.dcm", clinic / "Doe.dcm")
    assert convert(clinic, tmp_path / "raw") == 1
    assert report_of(tmp_path / "raw")["LiverTarget_007"]["code"] == "missing-structures"
    assert "1 files lie beside the cases' folders" in caplog.text
    assert "Doe" not in caplog.text


def test_every_name_that_nobody_knows_is_reported(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out = tmp_path / "raw"
    _add_structures(clinic / "Doe_Jane_01" / "RS.dcm", "PTV of Doe", "Couch", "Liver")
    for _ in range(2):  # the second time the case is finished, and the key still knows
        assert convert(clinic, out) == 0
        (note,) = report_of(out)["LiverTarget_001"]["notes"]
        assert note.startswith("unknown-name: 2 structures have names that nobody knows")
        assert key_of(out)["LiverTarget_001"]["details"] == "PTV of Doe\nCouch"
    assert report_of(out)["LiverTarget_002"]["notes"] == []


def test_a_second_target_is_no_background(clinic: Path, truth: dict[str, Truth], tmp_path: Path) -> None:
    out = tmp_path / "raw"
    _add_structures(clinic / "Doe_Jane_01" / "RS.dcm", "GTV 2", "GTVn")
    assert convert(clinic, out) == 1
    assert report_of(out)["LiverTarget_001"]["code"] == "ambiguous-name"
    assert key_of(out)["LiverTarget_001"]["details"] == "GTV 2"
    (tmp_path / "names.json").write_text('{"GTV 2": []}')
    assert convert(clinic, out, "--aliases", str(tmp_path / "names.json")) == 0


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_the_key_is_for_its_owner_alone(clinic: Path, truth: dict[str, Truth], tmp_path: Path) -> None:
    convert(clinic, tmp_path / "raw")
    key = tmp_path / "keys" / "key.json"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


def test_one_bad_case_is_refused_alone_and_taken_up_when_it_is_mended(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out = tmp_path / "raw"
    missing = clinic / "Doe_Jane_02" / "CT" / "0004.dcm"
    pixels = missing.read_bytes()
    missing.unlink()
    assert convert(clinic, out) == 1
    report = report_of(out)
    assert report["LiverTarget_002"]["code"] == "missing-slice"
    assert [case for case, entry in report.items() if entry["status"] == "written"] == [
        f"LiverTarget_00{n}" for n in (1, 3, 4, 5, 6)
    ]
    assert json.loads((out / NAME / "dataset.json").read_text())["numTraining"] == 5
    kept = (out / NAME / "imagesTr" / "LiverTarget_001_0000.nii.gz").stat().st_ino
    missing.write_bytes(pixels)
    assert convert(clinic, out) == 0
    assert report_of(out)["LiverTarget_002"]["status"] == "written"
    assert (out / NAME / "imagesTr" / "LiverTarget_001_0000.nii.gz").stat().st_ino == kept


def test_contours_that_cross_are_refused_until_the_user_says_what_they_mean(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out, file = tmp_path / "raw", clinic / "Doe_Jane_02" / "RS.dcm"
    content = pydicom.dcmread(file)
    (drawn,) = content.ROIContourSequence
    for curve in list(drawn.ContourSequence):
        moved = deepcopy(curve)
        moved.ContourData = [float(mm) + 0.9 * (i % 3 == 0) for i, mm in enumerate(curve.ContourData)]
        drawn.ContourSequence.append(moved)  # a voxel to the left
    content.save_as(file)
    assert convert(clinic, out) == 1
    entry = report_of(out)["LiverTarget_002"]
    assert entry["code"] == "overlapping-contours"
    assert entry["reason"].startswith("GTV: on ")
    assert "--overlapping-contours" in entry["remedy"]
    assert convert(clinic, out, "--overlapping-contours", "union") == 0
    assert "overlapping-contours: GTV: on " in report_of(out)["LiverTarget_002"]["notes"][0]
    label = SimpleITK.ReadImage(str(out / NAME / "labelsTr" / "LiverTarget_002.nii.gz"))
    target = truth["Doe_Jane_02"].target
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(label) == 1, target | np.roll(target, 1, axis=2)
    )


def test_a_case_that_went_bad_leaves_the_dataset(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out = tmp_path / "raw"
    assert convert(clinic, out) == 0
    (clinic / "Doe_Jane_02" / "CT" / "0004.dcm").unlink()
    assert convert(clinic, out) == 1
    assert not list((out / NAME).rglob("LiverTarget_002*"))
    assert json.loads((out / NAME / "dataset.json").read_text())["numTraining"] == 5


def test_a_damaged_output_is_written_again(clinic: Path, truth: dict[str, Truth], tmp_path: Path) -> None:
    out = tmp_path / "raw"
    convert(clinic, out)
    before = contents(out)
    label = out / NAME / "labelsTr" / "LiverTarget_004.nii.gz"
    label.write_bytes(label.read_bytes()[:-8])
    assert convert(clinic, out) == 0
    assert contents(out) == before


def test_a_new_patient_leaves_the_numbers_of_the_others(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out = tmp_path / "raw"
    convert(clinic, out)
    before = {case: entry["source"] for case, entry in key_of(out).items()}
    write_patient(clinic / "Aaron_first_in_the_list", seed=9)
    assert convert(clinic, out) == 0
    after = {case: entry["source"] for case, entry in key_of(out).items()}
    assert after == before | {"LiverTarget_007": "Aaron_first_in_the_list"}


def test_two_workers_write_the_same_bytes(clinic: Path, truth: dict[str, Truth], tmp_path: Path) -> None:
    convert(clinic, tmp_path / "raw")
    one = contents(tmp_path / "raw")
    shutil.rmtree(tmp_path / "raw")
    assert convert(clinic, tmp_path / "raw", "--workers", "2") == 0
    assert contents(tmp_path / "raw") == one


def _killed_runs(clinic: Path, out: Path) -> Iterator[float]:
    """Kill conversions after longer and longer times, until one ends."""
    program = "import sys; from nnunet_ext.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["convert", "liver-target", str(clinic), "--dataset-id", "501", "--out", str(out)]
    key = ["--key", str(out.parent / "keys" / "key.json"), "--no-pbar"]
    for tenths in range(5, 600, 2):
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments, *key],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            child.wait(timeout=tenths / 10)
            return
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            yield tenths / 10


def test_a_conversion_killed_again_and_again_equals_an_undisturbed_one(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out = tmp_path / "raw"
    half = 0
    for _ in _killed_runs(clinic, out):
        images = list((out / NAME / "imagesTr").glob("*"))
        half += 0 < len(images) < 6
        assert not (out / NAME / "dataset.json").exists() or len(images) == 6
        for image in images:  # whatever stands there is whole
            SimpleITK.ReadImage(str(image))
            gzip.decompress(image.read_bytes())
        time.sleep(0.01)
    killed = contents(out)
    shutil.rmtree(out)
    assert convert(clinic, out) == 0
    leftovers = {name for name in killed if ".writing-" in name}
    assert {n: c for n, c in killed.items() if n not in leftovers} == contents(out)


def test_cases_of_one_patient_stay_together_in_the_splits(clinic: Path, tmp_path: Path) -> None:
    for seed in range(1, 9):
        write_patient(clinic / f"scan_{seed}", seed=seed, patient=f"ID-{seed // 2}-secret")
    out = tmp_path / "raw"
    assert convert(clinic, out) == 0
    splits = json.loads((out / NAME / "splits_final.json").read_text())
    assert len(splits) == 5
    assert sorted(case for split in splits for case in split["val"]) == [
        f"LiverTarget_00{n}" for n in range(1, 9)
    ]
    for split in splits:
        assert set(split["train"]).isdisjoint(split["val"])
        for first, second in ((2, 3), (4, 5), (6, 7)):
            names = {f"LiverTarget_00{first}", f"LiverTarget_00{second}"}
            assert len(names & set(split["val"])) in (0, 2)


def test_anonymized_patients_are_told_apart_by_folder_only_when_asked(
    clinic: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(1, 7):
        write_patient(clinic / f"scan_{seed}", seed=seed, patient="ANONYMOUS")
    assert convert(clinic, tmp_path / "raw") == 1
    assert "got 1 with 6 cases; give --patients folder, if anonymization gave" in caplog.text
    assert not (tmp_path / "raw" / NAME / "splits_final.json").exists()
    assert convert(clinic, tmp_path / "raw", "--patients", "folder") == 0


def test_other_splits_among_the_preprocessed_data_are_refused_with_the_command(
    clinic: Path,
    truth: dict[str, Truth],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    other = tmp_path / "preprocessed" / NAME / "splits_final.json"
    other.parent.mkdir(parents=True)
    other.write_text('[{"train": ["a"], "val": ["b"]}]')
    assert convert(clinic, tmp_path / "raw") == 1
    assert f"rm '{other}'" in caplog.text
    shutil.copy(tmp_path / "raw" / NAME / "splits_final.json", other)
    assert convert(clinic, tmp_path / "raw") == 0


def test_what_is_not_this_dataset_is_left_alone(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "raw"
    strange = out / NAME / "imagesTr" / "somebody_0000.nii.gz"
    strange.parent.mkdir(parents=True)
    strange.write_bytes(b"x")
    (tmp_path / "keys").mkdir()
    assert convert(clinic, out) == 2
    assert "their key" in caplog.text
    (tmp_path / "keys" / "key.json").write_text(
        json.dumps({"version": 1, "dataset": NAME, "salt": "00", "cases": {}})
    )
    assert convert(clinic, out) == 2
    assert "holds 1 cases that the source has not" in caplog.text
    strange.unlink()
    (out / NAME / "dataset.json").write_text('{"name": "another"}')
    assert convert(clinic, out) == 2
    assert "holds another dataset" in caplog.text
    assert (out / NAME / "dataset.json").read_text() == '{"name": "another"}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset-id", "0", "--out", "raw"], "1 to 999"),
        (["--dataset-id", "501"], "set nnUNet_raw or give --out"),
        (["--dataset-id", "501", "--out", "raw", "--workers", "0"], "workers"),
        (["--dataset-id", "501", "--out", "raw", "--key", f"raw/{NAME}/key.json"], "must not lie"),
        (["--dataset-id", "501", "--out", "raw", "--aliases", "missing.json"], "missing.json"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(
    clinic: Path,
    truth: dict[str, Truth],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    if "--key" not in arguments:
        arguments = [*arguments, "--key", "key.json"]
    assert main(["convert", "liver-target", str(clinic), *arguments]) == 2
    assert message in caplog.text
    assert not (tmp_path / "raw").exists()


def test_new_patients_take_the_same_path_into_images_ts(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "raw"
    assert convert(clinic, out, "--patients", "folder") == 0
    before = contents(out)
    # Tomorrow's folder is called as one of yesterday's, has no contours and lies otherwise in the scanner.
    new = tmp_path / "tomorrow"
    truth_of_new = write_patient(new / "Doe_Jane_01", seed=11, angles=(0, 0, 180))
    (new / "Doe_Jane_01" / "RS.dcm").unlink()
    write_patient(new / "broken", seed=12)
    (new / "broken" / "CT" / "0004.dcm").unlink()
    key = ["--key", str(tmp_path / "keys" / "key.json"), "--no-pbar"]
    monkeypatch.setenv("nnUNet_raw", str(out))
    for name in ("501", NAME):
        assert main(["convert", "liver-target", str(new), "--like", name, *key]) == 1
    after = contents(out)
    image = SimpleITK.ReadImage(str(out / NAME / "imagesTs" / "LiverTarget_007_0000.nii.gz"))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(image),
        SimpleITK.GetArrayFromImage(in_one_orientation(truth_of_new.image)),
    )
    assert {n: after[n] for n in before} == before
    report = json.loads((out / NAME / "conversion_report_imagesTs.json").read_text())
    assert report["cases"]["LiverTarget_008"]["code"] == "missing-slice"
    assert report["converter"]["options"]["patients"] == "folder"  # as the dataset was converted
    # Converting the training cases again leaves the new ones where they are.
    assert convert(clinic, out, "--patients", "folder") == 0
    assert contents(out) == after


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ("502", "got 0"),
        ("Dataset503_Other", "none of ours"),
        ("503", "got 2"),
        ("*", "got 0"),
        ("504", "convert --like the dataset that it was made of, and prepare the new images --like this one"),
    ],
)
def test_new_patients_need_a_dataset_of_a_converter(
    clinic: Path,
    truth: dict[str, Truth],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    like: str,
    message: str,
) -> None:
    out = tmp_path / "raw"
    convert(clinic, out)
    (out / "Dataset503_Other").mkdir()
    (out / "Dataset503_Twin").mkdir()
    (out / "Dataset503_Other" / "dataset.json").write_text("{}")
    (out / "Dataset504_Prepared").mkdir()
    (out / "Dataset504_Prepared" / "dataset.json").write_text('{"converter": {"name": "nnunet-raw"}}')
    key = ["--out", str(out), "--key", str(tmp_path / "keys" / "key.json")]
    assert main(["convert", "liver-target", str(clinic), "--like", like, *key]) == 2
    assert message in caplog.text


def test_new_patients_are_prepared_as_the_dataset_was_and_not_otherwise(
    clinic: Path,
    truth: dict[str, Truth],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    out, steps, others = tmp_path / "raw", tmp_path / "steps.json", tmp_path / "others.json"
    windowed = Preparation(("CT",), "CT", (Window(channel="CT", low=-100, high=50),))
    write_preparation(windowed, steps)
    write_preparation(Preparation(("CT",), "CT", (Window(channel="CT", low=-100, high=60),)), others)
    monkeypatch.setenv("nnUNet_raw", str(out))
    new = tmp_path / "tomorrow"
    write_patient(new / "a", seed=11)

    def convert_new(*more: str) -> int:
        key = str(tmp_path / "keys" / "key.json")
        return main(["convert", "liver-target", str(new), "--like", "501", "--key", key, "--no-pbar", *more])

    assert convert(clinic, out) == 0
    assert convert_new("--preparation", str(steps)) == 2
    assert "prepared as the cases of Dataset501_LiverTarget, which have none: leave it out" in caplog.text
    assert not (out / NAME / "imagesTs").exists()
    assert convert(clinic, out, "--preparation", str(steps)) == 0
    assert convert_new("--preparation", str(others)) == 2
    assert "which have other steps: leave it out" in caplog.text
    image = out / NAME / "imagesTs" / "LiverTarget_007_0000.nii.gz"
    for typed in ((), ("--preparation", str(steps))):
        assert convert_new(*typed) == 0
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(image)))
        assert (values.min(), values.max()) == (-1, 1)  # as a window leaves them


def test_of_several_series_of_a_new_patient_the_user_says_which(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path
) -> None:
    out, new = tmp_path / "raw", tmp_path / "tomorrow"
    assert convert(clinic, out) == 0
    images = {
        description: write_patient(new / "a", seed=seed, patient="tomorrow", description=description).image
        for seed, description in ((11, "native"), (12, "Portal venous"))
    }
    report = out / NAME / "conversion_report_imagesTs.json"
    like = ["--like", str(out / NAME), "--key", str(tmp_path / "keys" / "key.json"), "--no-pbar"]
    assert main(["convert", "liver-target", str(new), *like]) == 1
    entry = json.loads(report.read_text())["cases"]["LiverTarget_007"]
    assert entry["code"] == "mixed-series"
    assert "--series" in entry["remedy"]
    assert main(["convert", "liver-target", str(new), *like, "--series", "portal"]) == 0
    image = SimpleITK.ReadImage(str(out / NAME / "imagesTs" / "LiverTarget_007_0000.nii.gz"))
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(images["Portal venous"])
    )
    assert main(["convert", "liver-target", str(new), *like, "--series", "arterial"]) == 1
    assert json.loads(report.read_text())["cases"]["LiverTarget_007"]["code"] == "missing-channel"


def test_no_typed_option_of_new_patients_is_passed_over(
    clinic: Path, truth: dict[str, Truth], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, table = tmp_path / "raw", tmp_path / "names.json"
    table.write_text('{"GTV": ["lesion"]}')
    own = ["--patients", "folder", "--aliases", str(table), "--overlapping-contours", "xor"]
    assert convert(clinic, out, *own) == 0
    new = tmp_path / "tomorrow"
    for seed, patient in ((11, "a"), (12, "b")):
        write_patient(new / patient, seed=seed, patient="ANONYMOUS")
    like = ["--like", str(out / NAME), "--key", str(tmp_path / "keys" / "key.json"), "--no-pbar"]
    for typed in (
        ["--aliases", str(table)],
        ["--overlapping-contours", "union"],
        ["--accept-misplaced"],
    ):
        assert main(["convert", "liver-target", str(new), *like, *typed]) == 2
        assert f"{typed[0]} is about labels, and new patients have none: leave it out" in caplog.text
    assert not (out / NAME / "imagesTs").exists()
    typed = ["--overlapping-contours", "xor", "--patients", "dicom"]
    assert main(["convert", "liver-target", str(new), *like, *typed]) == 0
    report = json.loads((out / NAME / "conversion_report_imagesTs.json").read_text())
    assert report["converter"]["options"]["patients"] == "dicom"
    patients = [key_of(out)[f"LiverTarget_{number:03d}"]["patient"] for number in (1, 7, 8)]
    assert patients[0] != patients[1] == patients[2]


@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_a_folder_without_cases_is_told(
    tmp_path: Path, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    assert convert(tmp_path / source, tmp_path / "raw") == 2
    assert "expected" in caplog.text
    if source == "empty":
        assert "The folder holds one folder for each patient" in caplog.text
        assert "See docs/datasets/liver-target.md" in caplog.text


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_converter_can_say_what_it_looks_for(name: str) -> None:
    words = layout_of(name).splitlines()
    assert len(words) > 2
    assert words[1].startswith(LAYOUT)


def test_the_script_alone_does_the_same(clinic: Path, truth: dict[str, Truth], tmp_path: Path) -> None:
    from nnunet_ext.dataset_conversion import Dataset501_LiverTarget

    done = subprocess.run(
        [
            sys.executable,
            Dataset501_LiverTarget.__file__,
            str(clinic),
            *("--dataset-id", "501", "--out", str(tmp_path / "raw"), "--key", str(tmp_path / "key.json")),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert json.loads(done.stdout)["written"] == 6
