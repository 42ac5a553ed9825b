"""Any volumes: patterns of names say what is what, and what they do not say is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Conversion, Label, Region
from nnunet_ext.dataset_conversion.description import write_description
from nnunet_ext.dataset_conversion.registry import converter
from public_datasets import (
    cases_of,
    check_case,
    check_description,
    check_left_is_left,
    convert,
    dataset_of,
    description_of,
    drawn,
    label_manager,
    on,
    refusals,
    save,
    scan,
    verify,
)
from real_data import real_data

from nnunet_ext.laterality import laterality_of

TRUTH = drawn(2, 1, 3)
LABELS = ("--label", "Eye_L=1", "--label", "Eye_R=2", "--label", "GTV=255:may_be_absent")
FOLDERS = ("--channel", "CT=CT*.nii.gz", "--label-file", "*mask*.nii.gz", *LABELS)
PAIR = ("--pair", "Eye_L,Eye_R")


REGIONS = ("--region", "Eyes=Eye_L,Eye_R", "--region", "Right=Eye_R", "--region", "Rest=GTV")


def published(numbers: np.ndarray) -> np.ndarray:
    return np.array([0, 1, 2, 255], np.uint8)[numbers]


def write(source: Path, names: dict[str, str], seed: int, *, axes: str = "LPS") -> SimpleITK.Image:
    """One case: files of the roles image, label and mr."""
    image = scan(seed)
    for role, name in names.items():
        if role == "image":
            save(image, source / name, axes=axes)
        elif role == "label":
            save(on(image, published(TRUTH)), source / name, axes=axes)
        else:
            save(scan(seed, air=0, tissue=300), source / name, axes=axes)
    return image


def in_folder(name: str) -> dict[str, str]:
    return {"image": f"{name}/CT_image.nii.gz", "label": f"{name}/CT_mask.nii.gz"}


def named(out: Path) -> dict[str, str]:
    """From what a case was called to what it is called."""
    key = json.loads((out.parent / "keys" / "volumes.json").read_text())
    return {entry["source"]: name for name, entry in key["cases"].items()}


def test_folders_are_cases_and_the_more_exact_pattern_counts(tmp_path: Path) -> None:
    source, out = tmp_path / "hospital", tmp_path / "raw"
    names = [f"Doe_{n}" for n in range(1, 6)]
    images = {
        name: write(source, in_folder(name), seed, axes="RAS") for seed, name in enumerate(names, start=1)
    }
    (source / "LICENSE.md").write_text("")
    # CT*.nii.gz fits the mask as well.
    assert convert("volumes", source, out, *FOLDERS, *PAIR) == 0
    dataset = dataset_of("volumes", out)
    for name, image in images.items():
        check_case(dataset, named(out)[name], image, TRUTH)
    labels = {"background": 0, "Eye_L": 1, "Eye_R": 2, "GTV": 3}
    check_description(dataset, channels={"0": "CT"}, labels=labels, training=5)
    check_left_is_left(dataset)
    assert "Doe" not in "".join(str(path) for path in dataset.rglob("*"))
    assert "Doe" not in (dataset / "conversion_report.json").read_text()


def test_a_flat_folder_with_two_channels_and_patients_by_name(tmp_path: Path) -> None:
    source, out = tmp_path / "flat", tmp_path / "raw"
    names = [f"p{patient}_scan{scan_}" for patient in range(1, 6) for scan_ in (1, 2)]
    for seed, name in enumerate(names):
        files = {"image": f"{name}.nrrd", "label": f"seg/{name}_seg.nrrd", "mr": f"{name}_T1.nrrd"}
        write(source, files, seed)
    patterns = ("--channel", "CT={case}.nrrd", "--channel", "T1w={case}_T1.nrrd")
    more = ("--label-file", "seg/{case}_seg.nrrd", *LABELS, "--group-by", "{patient}_scan?")
    assert convert("volumes", source, out, *patterns, *more) == 0
    dataset = dataset_of("volumes", out)
    for seed, name in enumerate(names):
        case = named(out)[name]
        check_case(dataset, case, scan(seed), TRUTH)
        check_case(dataset, case, scan(seed, air=0, tissue=300), TRUTH, channel=1)
    labels = {"background": 0, "Eye_L": 1, "Eye_R": 2, "GTV": 3}
    check_description(dataset, channels={"0": "CT", "1": "T1w"}, labels=labels, training=10)
    for split in json.loads((dataset / "splits_final.json").read_text()):
        twins = [{named(out)[f"p{n}_scan1"], named(out)[f"p{n}_scan2"]} for n in range(1, 6)]
        assert set(split["val"]) in twins
    assert "laterality" not in description_of(dataset)


def test_regions_in_place_of_labels(tmp_path: Path) -> None:
    source, out = tmp_path / "hospital", tmp_path / "raw"
    images = {name: write(source, in_folder(name), seed) for seed, name in enumerate("abcde", start=1)}
    assert convert("volumes", source, out, *FOLDERS, *REGIONS, "--pair", "Eyes,Right") == 0
    dataset = dataset_of("volumes", out)
    for name, image in images.items():
        check_case(dataset, named(out)[name], image, TRUTH)
    labels = {"background": 0, "Eyes": [1, 2], "Right": [2], "Rest": [3]}
    check_description(dataset, channels={"0": "CT"}, labels=labels, training=5)
    assert label_manager(dataset).foreground_regions == [(1, 2), (2,), (3,)]
    assert description_of(dataset)["regions_class_order"] == [1, 2, 3]


def test_ignore_stays_beside_regions(tmp_path: Path) -> None:
    labels = (Label("Eye"), Label("Lens", "may_be_undrawn"))
    eyes = replace(
        converter("volumes"),
        labels=labels,
        regions=(Region("Whole", ("Eye", "Lens")), Region("Lens", ("Lens",))),
    )
    write_description(Conversion(eyes, tmp_path, tmp_path), [])
    manager = label_manager(tmp_path)
    assert manager.ignore_label == 3
    assert manager.foreground_regions == [(1, 2), (2,)]


def test_patients_from_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for seed in range(1, 7):
        write(source, in_folder(f"scan_{seed}"), seed)
    table = tmp_path / "Patients of Dr. Doe.csv"
    rows = [f"scan_{seed},patient {min(seed, 5)}" for seed in range(1, 7)]
    table.write_text("\n".join(["case,patient", *rows[:-1]]))
    assert convert("volumes", source, out, *FOLDERS, "--group-by", str(table)) == 2
    assert "gives no patient for 1 of 6 cases" in caplog.text
    assert "scan_6" not in caplog.text
    table.write_text("\n".join(["case,patient", *rows]))
    assert convert("volumes", source, out, *FOLDERS, "--group-by", str(table)) == 0
    twins = {named(out)["scan_5"], named(out)["scan_6"]}
    splits = json.loads((dataset_of("volumes", out) / "splits_final.json").read_text())
    assert [len(twins & set(split["val"])) for split in splits].count(2) == 1
    assert "Doe" not in (dataset_of("volumes", out) / "dataset.json").read_text()
    for wrong in ("case,person\n1,2", "case,patient\n" + "\n".join([*rows, rows[0]])):
        table.write_text(wrong)
        assert convert("volumes", source, out, *FOLDERS, "--group-by", str(table)) == 2


def test_a_case_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for seed in range(1, 6):
        write(source, in_folder(f"case_{seed}"), seed)
    write(source, {"label": "no_image/CT_mask.nii.gz"}, 6)
    write(source, {"image": "no_label/CT_image.nii.gz"}, 7)
    write(source, {"other": "strange/PET.nii.gz"}, 8)
    write(source, in_folder("twice") | {"mr": "twice/CT_again.nii.gz"}, 9)
    image = write(source, in_folder("value"), 10)
    save(on(image, TRUTH), source / "value" / "CT_mask.nii.gz")  # 3 where 255 was told
    write(source, in_folder("absent"), 11)
    save(on(scan(11), drawn(2, 1)), source / "absent" / "CT_mask.nii.gz")
    write(source, in_folder("empty"), 12)
    save(on(scan(12), drawn(2)), source / "empty" / "CT_mask.nii.gz")
    write(source, in_folder("moved"), 13)
    save(on(scan(14), published(TRUTH)), source / "moved" / "CT_mask.nii.gz")
    assert convert("volumes", source, out, *FOLDERS) == 1
    dataset, names = dataset_of("volumes", out), named(out)
    assert refusals(dataset) == {
        names["no_image"]: "missing-channel",
        names["no_label"]: "empty-label",
        names["strange"]: "missing-channel",
        names["twice"]: "ambiguous-file",
        names["value"]: "label-value",
        names["empty"]: "empty-label",
        names["moved"]: "label-grid",
    }
    check_case(dataset, names["absent"], scan(11), drawn(2, 1))
    verify(dataset)
    report = (dataset / "conversion_report.json").read_text()
    assert not [name for name in names if f'"{name}"' in report or f"{name}/" in report]
    assert cases_of(dataset)[names["absent"]]["voxels"] == {"Eye_L": 36, "Eye_R": 27}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FOLDERS[2:], "expected --channel NAME=PATTERN, got none"),
        (FOLDERS[:2] + FOLDERS[4:], "expected --label-file PATTERN, got none"),
        (FOLDERS[:4], "expected --label NAME=VALUE, got none"),
        ((*FOLDERS, "--channel", "PET=*PET*"), "the pattern of --channel PET fits none of the 2 files"),
        ((*FOLDERS, "--channel", "PET={case}/PET*"), "expected {case} in every pattern or in none"),
        ((*FOLDERS, "--channel", "CT=x"), "--channel: CT is there already"),
        ((*FOLDERS, "--channel", "CT"), "--channel: expected NAME=PATTERN, got 'CT'"),
        ((*FOLDERS, "--label", "x=1"), "--label: 1 is there already"),
        ((*FOLDERS, "--label", "GTV=7"), "--label: GTV is there already"),
        ((*FOLDERS, "--label", "ignore=7"), "--label: ignore is there already"),
        ((*FOLDERS, "--label", "x=0"), "a whole number above 0"),
        ((*FOLDERS, "--label", "x=7:sometimes"), ":may_be_undrawn; got 'x=7:sometimes'"),
        ((*FOLDERS, "--pair", "Eye_L,Lens_R"), "--pair: expected some of Eye_L, Eye_R, GTV, got Lens_R"),
        ((*FOLDERS, *REGIONS, *PAIR), "--pair: expected some of Eyes, Right, Rest, got Eye_L, Eye_R"),
        ((*FOLDERS, "--region", "Eyes=Eye_L,Lens"), "--region: expected some of Eye_L, Eye_R, GTV, got Lens"),
        ((*FOLDERS, "--region", "Eyes"), "--region: expected NAME=LABEL,..., got 'Eyes'"),
        ((*FOLDERS, *REGIONS[:-2]), "--region: no region has GTV, which would never be trained"),
        ((*FOLDERS, *REGIONS, "--region", "Eyes=GTV"), "--region: Eyes is there already"),
        ((*FOLDERS, "--region", "Eyes=Eye_R,Eye_L", *REGIONS[2:]), "Eye_R, the first label of Eyes, is in a"),
        ((*FOLDERS, "--pair", "Eye_L"), "--pair: expected LEFT,RIGHT"),
        ((*FOLDERS, "--group-by", "patient_*"), "--group-by: expected a pattern with {patient}"),
        ((*FOLDERS, "--group-by", "missing.csv"), "missing.csv"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(
    options: tuple[str, ...], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "src", in_folder("one"), 1)
    assert convert("volumes", tmp_path / "src", tmp_path / "raw", *options) == 2
    assert message in caplog.text
    assert not (tmp_path / "raw").exists()


def test_new_patients_follow_the_dataset(tmp_path: Path) -> None:
    for seed in range(1, 6):
        write(tmp_path / "src", in_folder(f"case_{seed}"), seed)
    # The pattern says which training cases are one patient; a new patient's folder may be called anything.
    by_name = ("--group-by", "case_{patient}")
    assert convert("volumes", tmp_path / "src", tmp_path / "raw", *FOLDERS, *by_name) == 0
    write(tmp_path / "new", {"image": "somebody/CT_tomorrow.nii.gz"}, 77, axes="RAS")
    assert convert("volumes", tmp_path / "new", tmp_path / "raw", "--like", "7") == 0
    dataset = dataset_of("volumes", tmp_path / "raw")
    (written,) = (dataset / "imagesTs").iterdir()
    check_case(dataset, written.name.removesuffix("_0000.nii.gz"), scan(77), None)


def test_an_anatomy_with_a_left_and_a_right_but_no_pairs_is_recorded(tmp_path: Path) -> None:
    write(tmp_path / "src", in_folder("case"), 1)
    for more, expected in (((), None), (("--chiral",), {"pairs": [], "axis": 2})):
        convert("volumes", tmp_path / "src", tmp_path / "raw", *FOLDERS, *more)
        dataset = dataset_of("volumes", tmp_path / "raw")
        assert description_of(dataset).get("laterality") == expected
    assert laterality_of(description_of(dataset)) is not None  # which the trainers ask


def test_real_sarcomas_become_a_dataset(tmp_path: Path) -> None:
    """Five patients with CT, MR and their target, as they were published."""
    source, out = tmp_path / "sts", tmp_path / "raw"
    source.mkdir()
    patients = sorted(real_data("sts_sarcoma").glob("STS_*"))[:5]
    for patient in patients:
        (source / patient.name).symlink_to(patient)  # folders of folders that lie elsewhere are common
    options = ("--channel", "CT=CT_image.nii.gz", "--label-file", "CT_mask.nii.gz", "--label", "GTV=1")
    assert convert("volumes", source, out, *options) == 0
    dataset = dataset_of("volumes", out)
    check_description(dataset, channels={"0": "CT"}, labels={"background": 0, "GTV": 1}, training=5)
    for patient in patients:
        image, mask = (SimpleITK.ReadImage(str(patient / f"CT_{kind}.nii.gz")) for kind in ("image", "mask"))
        assert int(SimpleITK.GetArrayViewFromImage(mask).sum()) > 0
        turned = SimpleITK.DICOMOrient(image, "LPS")
        numbers = SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(mask, "LPS"))
        check_case(dataset, named(out)[patient.name], turned, numbers)
