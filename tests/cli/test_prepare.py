"""Steps on a dataset and on new images: the same for both, labels and descriptions kept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunet_ext.cli.main import main

SIZE = (6, 60, 60)
LABELS = {"background": 0, "organ": [1, 2], "tumor": 2, "ignore": 3}


def scan(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hu = np.full(SIZE, -1000)
    hu[:, 5:45, 10:50] = 40
    hu[:, 52:55] = 100  # couch
    noisy: np.ndarray = (hu + rng.normal(0, 5, SIZE)).round().astype(np.int16)
    return noisy


def label() -> np.ndarray:
    numbers = np.zeros(SIZE, np.uint8)
    numbers[1:4, 20:30, 20:30] = 1
    numbers[2, 22:25, 22:25] = 2
    numbers[:, :3] = 3
    return numbers


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / "Dataset020_Raw"
    place = {"spacing": (3, 3, 5), "origin": (1, 2, 3)}
    for n in range(3):
        _write(placed(scan(n), **place), folder / "imagesTr" / f"case_{n}_0000.nii.gz")
        _write(placed(label(), **place), folder / "labelsTr" / f"case_{n}.nii.gz")
    _write(placed(scan(9), **place), folder / "imagesTs" / "unseen_0000.nii.gz")
    description = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "regions_class_order": [1, 2],
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "laterality": {"pairs": [], "axis": 2},
        "colors": {"tumor": [1, 2, 3]},
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    (folder / "splits_final.json").write_text(
        json.dumps([{"train": ["case_0", "case_1"], "val": ["case_2"]}])
    )
    return folder


def _write(image: SimpleITK.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(file))


def read(file: Path) -> np.ndarray:
    array: np.ndarray = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    return array


@pytest.fixture
def steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["prepare", "--example", "ct"]) == 0
    file = tmp_path / "steps.json"
    file.write_text(capsys.readouterr().out)
    return file


def prepare(raw: Path, steps: Path) -> int:
    more = ["--dataset-id", "21", "--out", str(raw.parent), "--key", str(raw.parent.parent / "key.json")]
    return main(["prepare", str(raw), "--steps", str(steps), *more, "--no-pbar"])


def test_the_couch_is_gone_and_everything_else_is_as_it_was(raw: Path, steps: Path) -> None:
    assert prepare(raw, steps) == 0
    done = raw.parent / "Dataset021_Prepared"
    for n in range(3):
        image = read(done / "imagesTr" / f"case_{n}_0000.nii.gz")
        np.testing.assert_array_equal(image[:, 5:45, 10:50], scan(n)[:, 5:45, 10:50])
        assert (image[:, 50:] == -1000).all()
        np.testing.assert_array_equal(read(done / "labelsTr" / f"case_{n}.nii.gz"), label())
    assert (read(done / "imagesTs" / "unseen_0000.nii.gz")[:, 50:] == -1000).all()
    description = json.loads((done / "dataset.json").read_text())
    assert description["labels"] == LABELS
    assert description["regions_class_order"] == [1, 2]
    assert description["laterality"] == {"pairs": [], "axis": 2}
    assert description["colors"] == {"tumor": [1, 2, 3]}
    splits = [json.loads((folder / "splits_final.json").read_text()) for folder in (done, raw)]
    assert splits[0] == splits[1]
    verify_dataset_integrity(str(done), num_processes=1)


def test_new_images_get_exactly_the_steps_of_the_dataset(
    raw: Path,
    steps: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    prepare(raw, steps)
    done = raw.parent / "Dataset021_Prepared"
    new, out = tmp_path / "new", tmp_path / "prepared"
    (new).mkdir()
    for name in ("case_0", "case_1"):
        file = raw / "imagesTr" / f"{name}_0000.nii.gz"
        (new / file.name).write_bytes(file.read_bytes())
    _write(placed(np.full(SIZE, -1000, np.int16)), new / "air_0000.nii.gz")
    monkeypatch.setenv("nnUNet_raw", str(raw.parent))
    assert main(["prepare", str(new), "--like", "3", "--out", str(out)]) == 2
    assert "expected one dataset 3 in" in caplog.text
    assert main(["prepare", str(new), "--like", done.name, "--out", str(out), "--no-pbar"]) == 1
    for name in ("case_0", "case_1"):
        expected = read(done / "imagesTr" / f"{name}_0000.nii.gz")
        np.testing.assert_array_equal(read(out / f"{name}_0000.nii.gz"), expected)
    report = json.loads((out / "preparation_report.json").read_text())
    assert report["air"]["code"] == "threshold-implausible"
    assert report["case_0"]["steps"][0]["step"] == "remove_couch"
    assert sorted(p.name for p in out.glob("*.nii.gz")) == ["case_0_0000.nii.gz", "case_1_0000.nii.gz"]


def test_an_image_that_no_library_reads_is_refused_alone(
    raw: Path, steps: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(raw, steps)
    done = raw.parent / "Dataset021_Prepared"
    new, out = tmp_path / "new", tmp_path / "prepared"
    _write(placed(scan(9), spacing=(3, 3, 5)), new / "good_0000.nii.gz")
    content = bytearray(gzip.decompress((new / "good_0000.nii.gz").read_bytes()))
    content[70:72] = b"\x0f\x27"  # a type of voxels that there is none of
    (new / "type_0000.nii.gz").write_bytes(gzip.compress(bytes(content)))
    (new / "empty_0000.nii.gz").write_bytes(b"")
    for other in ("notes.nii.gz", "notes_1.nii.gz"):  # no images of nnU-Net's
        (new / other).write_bytes((new / "good_0000.nii.gz").read_bytes())
    assert main(["prepare", str(new), "--like", str(done), "--out", str(out), "--no-pbar"]) == 1
    report = json.loads((out / "preparation_report.json").read_text())
    assert sorted(report) == ["empty", "good", "type"]
    assert {report[name]["code"] for name in ("empty", "type")} == {"unreadable"}
    assert [p.name for p in out.glob("*.nii.gz")] == ["good_0000.nii.gz"]


def test_a_refused_case_leaves_the_splits(raw: Path, steps: Path, caplog: pytest.LogCaptureFixture) -> None:
    air = placed(np.full(SIZE, -1000, np.int16))
    _write(air, raw / "imagesTr" / "case_1_0000.nii.gz")
    assert prepare(raw, steps) == 1
    assert "case_1 refused" in caplog.text
    splits = raw.parent / "Dataset021_Prepared" / "splits_final.json"
    assert json.loads(splits.read_text()) == [{"train": ["case_0"], "val": ["case_2"]}]
    _write(air, raw / "imagesTr" / "case_2_0000.nii.gz")
    assert prepare(raw, steps) == 1
    assert "in fold 0" in caplog.text
    assert "no case is left to train on or to validate" in caplog.text
    assert not splits.exists()


def test_other_splits_among_the_preprocessed_data_are_refused_with_the_command(
    raw: Path,
    steps: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    other = tmp_path / "preprocessed" / "Dataset021_Prepared" / "splits_final.json"
    other.parent.mkdir(parents=True)
    other.write_text('[{"train": ["a"], "val": ["b"]}]')
    assert prepare(raw, steps) == 1
    assert f"rm '{other}'" in caplog.text
    other.write_bytes((raw / "splits_final.json").read_bytes())
    assert prepare(raw, steps) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "STEPS"], "give the dataset"),
        (["RAW", "--steps", "STEPS"], "set nnUNet_raw or give --out"),
        (["RAW", "--steps", "STEPS", "--out", "o"], "expected --dataset-id from 1 to 999, got None"),
        (["RAW", "--steps", "missing.json", "--dataset-id", "3", "--out", "o"], "missing.json"),
        (["EMPTY", "--steps", "STEPS", "--dataset-id", "3", "--out", "o"], "expected an nnU-Net raw dataset"),
        (["BROKEN", "--steps", "STEPS", "--dataset-id", "3", "--out", "o"], "is not as nnU-Net wants it"),
        (["nowhere", "--steps", "STEPS", "--dataset-id", "3", "--out", "o"], "set nnUNet_raw"),
        (["RAW", "--like", "RAW"], "give --out"),
        (["RAW", "--like", "RAW", "--out", "o"], "Dataset020_Raw was not prepared"),
        (
            ["RAW", "--like", "RAW", "--out", "o", "--workers", "0", "--dataset-id", "77", "--name", "Foo"],
            "--like takes no --dataset-id, --name, --workers: leave it out",
        ),
        (["RAW", "--like", "RAW", "--out", "o", "--key", "k.json"], "--like takes no --key"),
        (["RAW", "--like", "RAW", "--out", "o", "--accept-misplaced"], "--like takes no --accept-misplaced"),
        (["RAW", "--example", "ct", "--out", "o", "--name", "a"], "--example takes no --name, SRC, --out"),
        (["RAW", "--steps", "STEPS", "--dataset-id", "3", "--out", "o", "--workers", "0"], "workers"),
        (
            ["RAW", "--steps", "OTHER", "--dataset-id", "3", "--out", "o"],
            "expected a preparation for the channels CT, got one for CTA",
        ),
    ],
)
def test_wrong_usage_is_told(
    raw: Path,
    steps: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where the key would lie
    (tmp_path / "other.json").write_text(steps.read_text().replace('"CT"', '"CTA"'))
    places = {"RAW": str(raw), "STEPS": str(steps), "OTHER": "other.json"}
    for name in ("EMPTY", "BROKEN"):
        places[name] = str(tmp_path / f"Dataset030_{name}")
        Path(places[name]).mkdir()
    (Path(places["BROKEN"]) / "dataset.json").write_text("{")
    assert main(["prepare", *(places.get(a, a) for a in arguments)]) == 2
    assert message in caplog.text
