"""A hospital's coronary CT: label volumes and contours, series to choose from, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from clinical_images import ct_slices
from phantom_clinics import SIZES
from public_datasets import (
    brightened,
    cases_of,
    check_case,
    check_description,
    convert,
    dataset_of,
    description_of,
    drawn,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

from nnunet_ext.cli.main import main
from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.dicom_writer import save_slices
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set
from nnunet_ext.phantoms.clinic.anatomies import anatomy_of
from nnunet_ext.preparation import Preparation, Window, write_preparation

NAME = "coronary-cta"
LABELS = {"background": 0, "coronary_artery": 1}
# Branches, each in a place of its own; no mirror maps one onto another.
LAD, CX, RCA = (drawn(*numbers) for numbers in ((1,), (0, 1), (0, 0, 1)))
TREE = LAD | CX | RCA


def ct(number: int, *, hu: float = 400) -> SimpleITK.Image:
    """A CT whose vessels are bright; every patient has a place of its own."""
    return brightened(scan(number), TREE, hu)


def save_ct(folder: Path, number: int, *, hu: float = 400, phase: str = "CTA 75 %") -> SimpleITK.Image:
    """Write a series into ``folder/phase``."""
    image = ct(number, hu=hu)
    slices = ct_slices(image, patient=f"patient-{number}", description=phase)
    save_slices(slices, folder / phase)
    return image


def save_label(
    folder: Path, number: int, label: np.ndarray = TREE, *, name: str = "Segmentation.nrrd"
) -> None:
    save(on(scan(number), label), folder / name, axes="RAS")


def save_structures(folder: Path, masks: Mapping[str, np.ndarray], *, phase: str = "CTA 75 %") -> None:
    (series,) = find_dicom(folder / phase).series
    named = [NamedMask(name, mask > 0, (255, 0, 0)) for name, mask in masks.items()]
    write_structure_set(named, read_series(series), path=folder / "RS.dcm", label="arteries")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One patient with everything as it should be, p1."""
    save_ct(tmp_path / "src" / "p1", 1)
    save_label(tmp_path / "src" / "p1", 1)
    return tmp_path / "src"


def flags(flag: str, *values: str) -> list[str]:
    return [word for value in values for word in (flag, value)]


def code_of(dataset: Path) -> str:
    """The code of the second patient, of whom each test makes something else; the first is right."""
    found = refusals(dataset)
    assert set(found) <= {"CoronaryCTA_002"}
    return found.get("CoronaryCTA_002", "")


def convert_all(source: Path, *more: str) -> Path:
    out = source.parent / "raw"
    assert convert(NAME, source, out, *more) in (0, 1)
    return dataset_of(NAME, out)


def test_label_volumes_lie_where_they_were_drawn(source: Path) -> None:
    for number in range(2, 6):
        save_ct(source / f"p{number}", number)
    save_label(source / "p2", 2, TREE * 255)
    save_label(source / "p3", 3, TREE.astype(np.float32), name="deep/down/x.nii.gz")
    save_label(source / "p4", 4, name="label.mha")
    save_label(source / "p5", 5)
    dataset = convert_all(source)
    for number in range(1, 6):
        check_case(dataset, f"CoronaryCTA_{number:03d}", ct(number), TREE)
        assert note_codes(dataset, f"CoronaryCTA_{number:03d}") == []
    check_description(dataset, channels={"0": "CT"}, labels=LABELS, training=5)
    assert description_of(dataset)["laterality"] == {"pairs": [], "axis": 2}


@pytest.mark.parametrize("name", ["A_Coronary", "coronary arteries"])
def test_the_tree_of_an_rtstruct_is_the_phantoms_voxel_for_voxel(name: str, tmp_path: Path) -> None:
    """Arteries thinner than two voxels, too: contours run along the voxels' borders."""
    case = anatomy_of(NAME, size_vox=SIZES[NAME], spacing_mm=None).make(number=1, seed=3)
    folder = tmp_path / "src" / "p1"
    save_slices(ct_slices(case.reference, description="CTA 75 %"), folder / "CTA 75 %")
    tree = case.numbers
    save_structures(folder, {"Heart": np.ones_like(tree), name: tree})
    dataset = convert_all(tmp_path / "src")
    check_case(dataset, "CoronaryCTA_001", case.reference, tree)


def test_branches_become_one_label(source: Path) -> None:
    branches = {"LAD": LAD, "left circumflex": CX | LAD, "RCA": RCA, "Aorta": 1 - TREE}
    save_ct(source / "p2", 2)
    (source / "p1" / "Segmentation.nrrd").unlink()
    save_structures(source / "p1", branches)
    save_structures(source / "p2", branches | {"Ramus": np.zeros_like(LAD)})
    asked = flags("--structure", "A_LAD", "lcx", "RCA")
    dataset = convert_all(source, *asked)
    assert refusals(dataset) == {}
    for number in (1, 2):
        check_case(dataset, f"CoronaryCTA_{number:03d}", ct(number), TREE)
        assert note_codes(dataset, f"CoronaryCTA_{number:03d}") == ["unknown-name"]  # Aorta
    assert description_of(dataset)["colors"] == {"coronary_artery": [255, 0, 0]}
    # A branch that is not there may have another name, until every name is known.
    table = source.parent / "names.json"
    table.write_text('{"Aorta": []}')
    asked += flags("--structure", "Ramus:may_be_absent")
    assert refusals(convert_all(source, *asked)) == {"CoronaryCTA_001": "unknown-name"}
    assert refusals(convert_all(source, *asked, "--aliases", str(table))) == {}


def test_branches_that_are_missing_are_refused(source: Path) -> None:
    drawings = {
        "p1": {"LAD": LAD, "LCX": CX, "A_Coronary_R": RCA},
        "p2": {"LAD": LAD, "A_Coronary_R": RCA},
        "p3": {"LAD": LAD, "LCX": np.zeros_like(CX), "A_Coronary_R": RCA},
        "p4": {"LAD": LAD, "some vessel": CX, "A_Coronary_R": RCA},
    }
    (source / "p1" / "Segmentation.nrrd").unlink()
    for number, (patient, masks) in enumerate(drawings.items(), start=1):
        save_ct(source / patient, number)
        save_structures(source / patient, masks)
    dataset = convert_all(source, *flags("--structure", "LAD", "LCX", "right coronary artery"))
    assert refusals(dataset) == {
        "CoronaryCTA_002": "empty-label",
        "CoronaryCTA_003": "empty-roi",
        "CoronaryCTA_004": "unknown-name",
    }
    assert cases_of(dataset)["CoronaryCTA_002"]["reason"] == "the RTSTRUCT has no A_Cflx"
    assert "--structure" in cases_of(dataset)["CoronaryCTA_004"]["remedy"]
    # By itself none of them is the tree.
    assert set(refusals(convert_all(source)).values()) == {"empty-label", "unknown-name"}


def test_names_that_mean_one_thing_twice_are_refused(source: Path) -> None:
    (source / "p1" / "Segmentation.nrrd").unlink()
    save_structures(source / "p1", {"coronary": LAD, "Coronary Artery": CX})
    dataset = convert_all(source)
    assert refusals(dataset) == {"CoronaryCTA_001": "ambiguous-name"}
    assert "--structure" in cases_of(dataset)["CoronaryCTA_001"]["remedy"]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        (TREE * 2, "label-value"),
        (TREE * np.uint16(255) + LAD, "label-value"),
        (np.where(LAD, 127, TREE * np.uint8(255)), "label-value"),
        (TREE * np.float32(0.5), "label-value"),
        (TREE * 0, "empty-label"),
        (TREE[1:], "label-grid"),
        (TREE[:, ::-1], "flipped-label"),
    ],
    ids=["2", "256", "gray", "share", "empty", "cropped", "flipped"],
)
def test_labels_that_mean_nothing_are_refused(source: Path, label: np.ndarray, code: str) -> None:
    save_ct(source / "p2", 2)
    cut = scan(2)[:, :, : label.shape[0]]
    save(on(cut, label), source / "p2" / "label.nrrd")
    assert code_of(convert_all(source)) == code


def test_values_of_branches_are_what_the_user_says(source: Path) -> None:
    save_label(source / "p1", 1, LAD + 2 * CX + 4 * RCA)
    save_ct(source / "p2", 2)
    save_label(source / "p2", 2, LAD + 3 * CX)
    dataset = convert_all(source, *flags("--value", "1", "2", "4"))
    assert code_of(dataset) == "label-value"
    assert "--value" in cases_of(dataset)["CoronaryCTA_002"]["remedy"]
    check_case(dataset, "CoronaryCTA_001", ct(1), TREE)
    assert set(refusals(convert_all(source)).values()) == {"label-value"}


def test_faint_vessels_are_told(source: Path) -> None:
    save_ct(source / "p1", 1, hu=140)
    assert note_codes(convert_all(source), "CoronaryCTA_001") == ["faint-vessel"]


def test_what_is_meant_is_said_where_there_is_more_than_one_label(source: Path) -> None:
    save_ct(source / "p2", 2)
    save_label(source / "p2", 2)
    save_structures(source / "p2", {"coronary": LAD})
    dataset = convert_all(source)
    assert code_of(dataset) == "ambiguous-file"
    assert code_of(convert_all(source, "--label-file", "Seg*.nrrd", "--structure", "LAD")) == "ambiguous-file"
    assert code_of(convert_all(source, "--label-file", "Seg*.nrrd")) == ""
    check_case(dataset, "CoronaryCTA_002", ct(2), TREE)
    assert code_of(convert_all(source, "--structure", "coronary")) == ""
    check_case(dataset, "CoronaryCTA_002", ct(2), LAD)
    (source / "p2" / "RS.dcm").unlink()
    save_label(source / "p2", 2, CX, name="aorta.nrrd")
    assert code_of(convert_all(source)) == "ambiguous-file"
    assert code_of(convert_all(source, "--label-file", "Seg*.nrrd")) == ""


def test_a_case_without_a_label_and_one_with_a_dicom_seg_are_refused(source: Path) -> None:
    save_ct(source / "p2", 2)
    assert code_of(convert_all(source)) == "empty-label"
    item = pydicom.dcmread(source / "p2" / "CTA 75 %" / "0001.dcm")
    item.Modality = "SEG"
    item.save_as(source / "p2" / "SEG.dcm", enforce_file_format=True)
    dataset = convert_all(source)
    assert code_of(dataset) == "dicom-seg"
    assert "NRRD" in cases_of(dataset)["CoronaryCTA_002"]["remedy"]


def test_of_several_series_the_label_tells_which(source: Path) -> None:
    save_ct(source / "p2", 2)
    save_ct(source / "p2", 60, phase="calcium score")  # elsewhere in the world, by the same patient
    for file in (source / "p2" / "calcium score").glob("*"):
        item = pydicom.dcmread(file)
        item.PatientID = "patient-2"
        item.save_as(file, enforce_file_format=True)
    save_label(source / "p2", 2)
    dataset = convert_all(source)
    assert code_of(dataset) == ""
    check_case(dataset, "CoronaryCTA_002", ct(2), TREE)
    assert note_codes(dataset, "CoronaryCTA_002") == ["mixed-series"]
    save_label(source / "p2", 7)
    assert code_of(convert_all(source)) == "label-grid"


def test_of_several_phases_the_structures_tell_which_or_the_user(source: Path) -> None:
    save_ct(source / "p2", 2)
    save_ct(source / "p2", 2, hu=300, phase="CTA 40 %")
    save_structures(source / "p2", {"coronary": TREE}, phase="CTA 40 %")
    dataset = convert_all(source)
    assert code_of(dataset) == ""
    check_case(dataset, "CoronaryCTA_002", ct(2, hu=300), TREE)
    (source / "p2" / "RS.dcm").unlink()
    save_label(source / "p2", 2)
    assert code_of(convert_all(source)) == "mixed-series"
    assert "--series" in cases_of(dataset)["CoronaryCTA_002"]["remedy"]
    assert code_of(convert_all(source, "--series", "75 %")) == ""
    check_case(dataset, "CoronaryCTA_002", ct(2), TREE)
    assert refusals(convert_all(source, "--series", "40 %")) == {"CoronaryCTA_001": "missing-channel"}


def test_new_patients_need_the_ct_alone_and_one_series_of_it(source: Path) -> None:
    dataset = convert_all(source, "--series", "75 %")
    new = source.parent / "new"
    save_ct(new / "a", 21)
    save_ct(new / "b", 22)
    save_ct(new / "b", 22, phase="CTA 40 %", hu=200)
    (new / "b" / "notes.nrrd").write_bytes(b"no volume")
    for phase in ("CTA 75 %, first", "CTA 75 %, again"):
        save_ct(new / "c", 23, phase=phase)
    assert convert(NAME, new, source.parent / "raw", "--like", "7") == 1
    check_case(dataset, "CoronaryCTA_002", ct(21), None)
    check_case(dataset, "CoronaryCTA_003", ct(22), None)
    report = json.loads((dataset / "conversion_report_imagesTs.json").read_text())["cases"]
    assert report["CoronaryCTA_004"]["code"] == "mixed-series"
    assert "--series" in report["CoronaryCTA_004"]["remedy"]
    # Another word than the dataset's, where new patients need one.
    assert convert(NAME, new, source.parent / "raw", "--like", "7", "--series", "40 %") == 1
    check_case(dataset, "CoronaryCTA_003", ct(22, hu=200), None)


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A dataset that was made of ImageCAS, with values from -1 to 1, and a hospital's patient, new/a."""
    steps, window = tmp_path / "steps.json", Window(channel="CT", low=-100, high=300)
    write_preparation(Preparation(("CT",), "CT", (window,)), steps)
    for number in range(1, 6):
        folder = tmp_path / "ImageCAS" / "1-200"
        save(ct(number), folder / f"{number}.img.nii.gz")
        save(on(scan(number), TREE), folder / f"{number}.label.nii.gz")
    save_ct(tmp_path / "new" / "a", 21)
    assert convert("imagecas", tmp_path / "ImageCAS", tmp_path / "raw", "--preparation", str(steps)) == 0
    return dataset_of("imagecas", tmp_path / "raw")


def convert_hospital(name: str, dataset: Path, *more: str) -> int:
    """New patients of a hospital for the dataset that was made of ImageCAS."""
    key = ["--key", str(dataset.parents[1] / "keys" / "imagecas.json")]
    source = dataset.parents[1] / "new"
    return main(["convert", name, str(source), "--like", str(dataset), *key, "--no-pbar", *more])


def test_a_model_of_a_public_dataset_takes_patients_of_a_hospital(public: Path) -> None:
    assert convert_hospital(NAME, public, "--series", "75 %") == 0
    expected = (np.clip(SimpleITK.GetArrayFromImage(ct(21)), -100, 300) - 100) / np.float32(200)
    check_case(public, "CoronaryCTA_001", on(scan(21), expected), None)
    report = json.loads((public / "conversion_report_imagesTs.json").read_text())
    assert report["dataset_made_by"] == "imagecas"
    assert report["converter"]["name"] == NAME
    assert report["converter"]["options"]["series"] == "75 %"
    # Volumes of a hospital, of which nobody can say labels.
    save(ct(22), public.parents[1] / "new" / "b" / "CT.nii.gz")
    assert convert_hospital("volumes", public, "--channel", "CT=CT.nii.gz") == 1
    written = {file.name for file in (public / "imagesTs").iterdir()}
    assert written == {"CoronaryCTA_001_0000.nii.gz", "Volumes_002_0000.nii.gz"}
    cases = json.loads((public / "conversion_report_imagesTs.json").read_text())["cases"]
    assert cases["Volumes_001"]["code"] == "missing-channel"  # the folder a


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mmwhs-mr", (), "expected CT, .nii.gz, LPS (channels, file ending, orientation), got MR, .nii"),
        ("brain-oar", (), "got CT, T1w, T2w, .nii.gz, LPS"),
        (NAME, ("--structure", "LAD"), "--structure is about labels"),
        ("volumes", (), "expected --channel NAME=PATTERN, got none"),
    ],
)
def test_a_model_of_a_public_dataset_takes_nothing_else(
    public: Path, name: str, options: tuple[str, ...], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert convert_hospital(name, public, *options) == 2
    assert message in caplog.text
    assert not (public / "imagesTs").exists()


def test_images_in_another_orientation_are_not_taken_for_the_datasets(
    public: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 6):
        save(ct(number), public / "imagesTr" / f"ImageCAS_{number:04d}_0000.nii.gz", axes="RAS")
    assert convert_hospital(NAME, public) == 2
    assert "expected CT, .nii.gz, RAS" in caplog.text


def test_a_ct_in_a_file_is_read_as_well(tmp_path: Path) -> None:
    source = tmp_path / "src"
    save(ct(1), source / "p1" / "CT.nii.gz", axes="RAS")
    save_label(source / "p1", 1, name="CT_artery.nrrd")
    save(ct(2), source / "p2" / "CT.nii.gz")
    assert code_of(convert_all(source, "--ct-file", "CT.nii.gz")) == "empty-label"
    save_label(source / "p2", 2)
    (source / "p2" / "CT.nii.gz").rename(source / "p2" / "CT_2.nii.gz")
    assert code_of(convert_all(source, "--ct-file", "CT.nii.gz")) == "missing-channel"
    save(ct(2), source / "p2" / "CT_3.nii.gz")
    patterns = ["--ct-file", "CT*.nii.gz", "--label-file", "*.nrrd"]
    dataset = convert_all(source, *patterns)
    assert code_of(dataset) == "ambiguous-file"
    check_case(dataset, "CoronaryCTA_001", ct(1), TREE)
    save(ct(31), tmp_path / "new" / "p1" / "CT.nii.gz")  # called as another patient is
    assert convert(NAME, tmp_path / "new", tmp_path / "raw", "--like", "7") == 0
    check_case(dataset, "CoronaryCTA_003", ct(31), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--structure", "LAD", "--structure", "A_LAD"], "expected each structure once, got A_LAD again"),
        (["--structure", "??"], "letters or digits"),
        (["--value", "0"], "--value: expected whole numbers above 0, got 0"),
        (["--ct-file", "{case}.nii", "--label-file", "label.nii"], "expected {case} in every pattern"),
    ],
)
def test_options_that_make_no_sense_end_the_run(
    source: Path, arguments: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert convert(NAME, source, source.parent / "raw", *arguments) == 2
    assert message in caplog.text
    assert not (source.parent / "raw").exists()
