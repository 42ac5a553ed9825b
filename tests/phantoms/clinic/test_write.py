"""Phantoms on disk: what a converter makes of them, the same bytes each time, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from phantom_clinics import anatomy, contents, convert, write_alike, write_small

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.grids import corner_distance_mm, orientation
from nnunet_ext.clinical_io.structure_set import read_structure_set
from nnunet_ext.phantoms.clinic import series_defects, write
from nnunet_ext.phantoms.clinic.case import Staged
from nnunet_ext.phantoms.clinic.catalog import CLINICS, clinic_of
from nnunet_ext.phantoms.clinic.write import write_clinic
from nnunet_ext.phantoms.liver_target import write_liver_target_dataset


@pytest.mark.parametrize("clinic", CLINICS)
def test_what_comes_out_is_the_phantom(clinic: str, tmp_path: Path) -> None:
    written = write_small(clinic, tmp_path, cases=2, seed=5)
    converted = convert(clinic, tmp_path, written)
    for number, case in enumerate(written, start=1):
        expected = anatomy(clinic, number=number, seed=case.seed)
        label = converted.label(case)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(label), expected.numbers)
        assert set(np.unique(expected.numbers)) == set(expected.labels.values())
        truth = SimpleITK.ReadImage(str(case.truth))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(truth), expected.numbers)
        for channel, image in enumerate(expected.images.values()):
            found = converted.image(case, channel)
            assert orientation(found) == "LPS"
            assert corner_distance_mm(found, image) < 1e-3
            assert corner_distance_mm(label, image) < 1e-3
            np.testing.assert_array_equal(
                SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(image)
            )
    description = json.loads((converted.dataset / "dataset.json").read_text())
    drawn = {n: v for n, v in description["labels"].items() if n != "ignore"}
    assert drawn == dict(expected.labels)
    assert list(description["channel_names"].values()) == list(expected.images)


def test_left_is_left(tmp_path: Path) -> None:
    (case,) = write_small("brain-oar", tmp_path, defects=["orientation"])
    converted = convert("brain-oar", tmp_path, [case])
    description = json.loads((converted.dataset / "dataset.json").read_text())
    label = converted.label(case)
    for pair in description["laterality"]["pairs"]:
        left, right = (
            np.mean(
                [
                    label.TransformIndexToPhysicalPoint(index[::-1].tolist())[0]
                    for index in np.argwhere(
                        SimpleITK.GetArrayViewFromImage(label) == description["labels"][name]
                    )
                ]
            )
            for name in pair
        )
        assert left > right + 20  # DICOM's x runs to the patient's left


def test_a_misaligned_head_lies_otherwise_in_the_mr_and_is_brought_onto_the_ct(tmp_path: Path) -> None:
    (case,) = write_small("brain-oar", tmp_path, misaligned=True, seed=2)
    series = {s.description: s for s in find_dicom(case.folder).series}
    assert series["T1w"].frame_of_reference == series["T2w"].frame_of_reference
    assert series["T1w"].frame_of_reference != series["CT"].frame_of_reference
    assert len(series["T1w"].slices) < len(series["CT"].slices)
    about = json.loads((tmp_path / "phantom.json").read_text())["written"][case.name]
    assert max(map(abs, about["motion_zyx"]["turn_deg"] + about["motion_zyx"]["shift_mm"])) > 1
    converted = convert("brain-oar", tmp_path, [case], prepared=True)
    assert converted.about(case)["status"] == "written", converted.about(case)
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(converted.label(case)),
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(case.truth))),
    )


@pytest.mark.parametrize("clinic", CLINICS)
def test_the_same_seed_gives_the_same_bytes(clinic: str, tmp_path: Path) -> None:
    asked = {"cases": 2, "seed": 4, "defects": ["orientation"]}
    for copy in ("a", "b"):
        write_alike(clinic, tmp_path / copy, **asked)
    first, again = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first == again
    before = {path: (tmp_path / "a" / path).stat().st_mtime_ns for path in first}
    write_alike(clinic, tmp_path / "a", **asked)
    assert contents(tmp_path / "a") == first
    assert before != {path: (tmp_path / "a" / path).stat().st_mtime_ns for path in first}


def test_patients_are_synthetic_distinct_and_of_their_seed(tmp_path: Path) -> None:
    seen = {}
    for seed in (1, 2):
        for case in write_alike("liver-target", tmp_path / str(seed), cases=2, seed=seed):
            files = sorted(case.folder.rglob("*.dcm"))
            headers = [pydicom.dcmread(file) for file in files]
            assert {str(h.PatientID) for h in headers} == {case.name}
            assert {str(h.PatientName) for h in headers} == {case.name.replace("PHANTOM-", "Phantom^")}
            assert {h.StudyDate for h in headers} == {"20000101"}
            for h in headers:
                assert h.SOPInstanceUID not in seen
                seen[h.SOPInstanceUID] = case
    assert "PHANTOM-0002" in {case.name for case in seen.values()}


@pytest.mark.parametrize("clinic", ["lower-limb", "whole-heart-mr"])  # a folder for each patient, one for all
def test_unseen_patients_are_the_next_ones(clinic: str, tmp_path: Path) -> None:
    together = write_alike(clinic, tmp_path / "together", cases=3)
    apart = write_alike(clinic, tmp_path / "apart", cases=1, unseen_cases=2)
    assert [case.name for case in apart] == [case.name for case in together]
    seen, unseen = (contents(tmp_path / "apart" / place) for place in ("clinic", "unseen"))
    assert seen | unseen == contents(tmp_path / "together" / "clinic")
    assert not set(seen) & set(unseen)
    assert {case.folder.is_relative_to(tmp_path / "apart" / "unseen") for case in apart[1:]} == {True}
    assert contents(tmp_path / "apart" / "truth") == contents(tmp_path / "together" / "truth")


def test_the_structure_set_of_the_liver_lists_what_planning_systems_do(tmp_path: Path) -> None:
    (case,) = write_alike("liver-target", tmp_path)
    structures = {s.name: s for s in read_structure_set(case.folder / "RS.dcm").structures}
    assert list(structures) == ["GTV", "Body", "Liver"]
    assert not any(s.is_empty for s in structures.values())
    heights = [float(contour.points_mm[0, 2]) for contour in structures["Liver"].contours]
    assert len(set(heights)) < len(heights)  # holes and parts: several contours in a slice


def test_clinic_and_raw_dataset_hold_the_same_patients(tmp_path: Path) -> None:
    size, spacing = (14, 28, 28), (14.0, 12.0, 12.0)
    (case,) = write_clinic(
        "liver-target", out=tmp_path / "clinic", cases=1, seed=3, size_vox=size, spacing_mm=spacing
    )
    raw = write_liver_target_dataset(
        out=tmp_path / "raw", cases=1, seed=3, size_vox=size, spacing_mm=spacing, progress=False
    )
    for found, expected in (
        (case.truth, raw / "labelsTr" / "liver_000.nii.gz"),
        (None, raw / "imagesTr" / "liver_000_0000.nii.gz"),
    ):
        if found is None:
            (series,) = find_dicom(case.folder).series
            image = read_series(series).image
        else:
            image = SimpleITK.ReadImage(str(found))
        np.testing.assert_array_equal(
            SimpleITK.GetArrayFromImage(image),
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(expected))),
        )


def test_a_case_that_fails_leaves_nothing_and_writing_again_finishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(staged: Staged) -> None:
        raise OSError("the disk is full")

    broken = {**series_defects.DAMAGE, "tilt": fail}
    with monkeypatch.context() as patched:
        patched.setattr(write, "DAMAGE", {"lower-limb": broken})
        with pytest.raises(OSError, match="disk is full"):
            write_alike("lower-limb", tmp_path, cases=3, defects=["missing-slice", "tilt"])
    assert sorted(p.name for p in (tmp_path / "clinic").iterdir()) == ["PHANTOM-0001"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clinic", "phantom.json", "truth"]
    assert not json.loads((tmp_path / "phantom.json").read_text())["complete"]
    (tmp_path / ".writing-1" / "PHANTOM-0002").mkdir(parents=True)  # as if it had been killed
    write_alike("lower-limb", tmp_path, cases=3, defects=["missing-slice", "tilt"])
    assert json.loads((tmp_path / "phantom.json").read_text())["complete"]
    write_alike("lower-limb", tmp_path / "other", cases=3, defects=["missing-slice", "tilt"])
    other = contents(tmp_path / "other")
    assert {
        path: content for path, content in contents(tmp_path).items() if not path.startswith("other/")
    } == (other)


@pytest.mark.parametrize("clinic", ["liver-target", "coronary"])
def test_a_folder_with_something_else_is_refused(clinic: str, tmp_path: Path) -> None:
    write_alike(clinic, tmp_path, seed=1)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="holds other phantoms"):
        write_alike(clinic, tmp_path, seed=2)
    (tmp_path / "phantom.json").write_text("{")
    with pytest.raises(ValueError, match="found something else"):
        write_alike(clinic, tmp_path, seed=1)
    (tmp_path / "phantom.json").unlink()
    with pytest.raises(ValueError, match="found none"):
        write_alike(clinic, tmp_path, seed=1)
    assert contents(tmp_path) == {p: c for p, c in before.items() if p != "phantom.json"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("spleen", {}, "expected one of liver-target"),
        ("coronary", {"modality": "MR"}, "modality is for whole-heart alone"),
        ("whole-heart", {"modality": "PET"}, "modality must be one of CT, MR"),
        ("coronary", {"misaligned": True}, "misaligned is for brain-oar alone"),
        ("coronary", {"cases": 0}, "cases must be a whole number from 1 to 1000, got 0"),
        ("whole-heart", {"cases": 1000}, "from 1 to 999, got 1000"),
        ("lower-limb", {"defects": ["tilt", "missing-png"]}, "from 2 to 9999, got 1; every defect needs"),
        ("lower-limb", {"defects": ["shared-patient"]}, "from 2 to 9999, got 1; every defect needs"),
        ("lower-limb", {"defects": ["nan"]}, "lower-limb cannot have the defect 'nan'; expected some of"),
        (
            "lower-limb",
            {"unseen_cases": 9999},
            "unseen_cases must be a whole number from 0 to 9998, got 9999",
        ),
        ("lower-limb", {"seed": -1}, "seed must be a whole number >= 0"),
        ("lower-limb", {"size_vox": (12, 48, 48)}, "size_vox must be at least"),
        ("liver-target", {"size_vox": (4, 4, 4)}, "size_vox must be three whole numbers"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(
    name: str, arguments: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_clinic(name, out=tmp_path / "out", **({"cases": 1, "seed": 0} | arguments))
    assert not (tmp_path / "out").exists()


def test_axes_cannot_be_swapped_where_it_would_not_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other numbers of voxels along z than along x"):
        write_small("whole-heart-ct", tmp_path, size_vox=(32, 32, 32), defects=["swapped-axes"])


def test_layouts_are_the_clinics(tmp_path: Path) -> None:
    expected = {
        "coronary": {
            "clinic/1-200/1.img.nii.gz",
            "clinic/1-200/1.label.nii.gz",
            "truth/ImageCAS_0001.nii.gz",
        },
        "whole-heart-mr": {
            "clinic/mr_train/mr_train_1001_image.nii.gz",
            "clinic/mr_train/mr_train_1001_label.nii.gz",
            "truth/mr_train_1001.nii.gz",
        },
        "coronary-cta": {"clinic/PHANTOM-0001/CT/0001.dcm", "clinic/PHANTOM-0001/label.nrrd"},
        "lower-limb": {"clinic/PHANTOM-0001/CT/0001.dcm", "clinic/PHANTOM-0001/mask/mask_1.png"},
        "brain-oar": {f"clinic/PHANTOM-0001/{c}/0001.dcm" for c in ("CT", "T1w", "T2w")},
    }
    for clinic, files in expected.items():
        write_alike(clinic, tmp_path / clinic)
        assert files <= set(contents(tmp_path / clinic))
    label = SimpleITK.ReadImage(str(tmp_path / "whole-heart-mr/clinic/mr_train/mr_train_1001_label.nii.gz"))
    assert label.GetPixelID() == SimpleITK.sitkUInt16
    values = np.unique(SimpleITK.GetArrayFromImage(label)).tolist()
    assert values == [0, 205, 420, 500, 550, 600, 820, 850]


def test_the_modality_of_a_clinic() -> None:
    assert clinic_of("whole-heart") == "whole-heart-ct"
