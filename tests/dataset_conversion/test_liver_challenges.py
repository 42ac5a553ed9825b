"""LiTS and the Decathlon's Task03: the same patients, once with lost voxel sizes and once with a list."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from public_datasets import (
    ORIENTATIONS,
    cases_of,
    check_case,
    check_description,
    convert,
    dataset_of,
    drawn,
    label_manager,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

TRUTH = drawn(1, 0, 2)
BOTH = {"background": 0, "liver": 1, "tumor": 2}


def write_lits(source: Path, number: int, *, label: np.ndarray = TRUTH, axes: str = "LPS") -> SimpleITK.Image:
    image = scan(number)
    save(image, source / f"volume-{number}.nii", axes=axes)
    save(on(image, label), source / f"segmentation-{number}.nii", axes=axes)
    return image


def write_without_affine(source: Path, number: int) -> np.ndarray:
    """Voxels (z, y, x) of a pair with the affine of cases 28 to 47."""
    values = SimpleITK.GetArrayFromImage(scan(number))
    for name, array in (("volume", values), ("segmentation", TRUTH)):
        file = source / f"{name}-{number}.nii"
        nibabel.save(nibabel.Nifti1Image(array.T, np.eye(4)), file)
    return values


def test_lits_keeps_its_numbers_and_gets_one_orientation(tmp_path: Path) -> None:
    source, out = tmp_path / "LiTS", tmp_path / "raw"
    images = {n: write_lits(source / "batch 1", n, axes=a) for n, a in enumerate(ORIENTATIONS[:4])}
    images[130] = scan(130)  # volumes and segmentations apart, as on Kaggle
    save(images[130], source / "volume_pt5" / "volume-130.nii")
    save(on(images[130], TRUTH), source / "segmentations" / "segmentation-130.nii")
    (source / "batch 1" / "._volume-0.nii").write_bytes(b"x")
    (source / "batch 1" / "._segmentation-0.nii").write_bytes(b"x")
    unseen = scan(900)
    save(unseen, source / "test" / "test-volume-3.nii")
    assert convert("lits", source, out) == 0
    dataset = dataset_of("lits", out)
    for number, image in images.items():
        check_case(dataset, f"LiTS_{number:03d}", image, TRUTH)
    check_case(dataset, "LiTS_test_003", unseen, None)
    check_description(dataset, channels={"0": "CT"}, labels=BOTH, training=5)
    assert "laterality" not in json.loads((dataset / "dataset.json").read_text())


def test_a_lost_voxel_size_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "LiTS", tmp_path / "raw"
    for number in range(5):
        write_lits(source, number)
    write_without_affine(source, 28)
    write_without_affine(source, 47)
    assert convert("lits", source, out) == 1
    dataset = dataset_of("lits", out)
    assert refusals(dataset) == {"LiTS_028": "identity-affine", "LiTS_047": "identity-affine"}
    assert "--spacing-mm" in cases_of(dataset)["LiTS_028"]["remedy"]
    check_description(dataset, channels={"0": "CT"}, labels=BOTH, training=5)


def test_a_given_voxel_size_is_that_of_those_cases_alone(tmp_path: Path) -> None:
    source, out = tmp_path / "LiTS", tmp_path / "raw"
    images = {number: write_lits(source, number) for number in range(4)}
    images[4] = write_lits(source, 4)
    values = write_without_affine(source, 28)
    write_without_affine(source, 29)
    kept = nibabel.Nifti1Image(
        TRUTH.T, np.diag([2, 2, 2, 1])
    )  # the label has its size, the image has lost it
    nibabel.save(kept, source / "segmentation-29.nii")
    assert convert("lits", source, out, "--spacing-mm", "2.5", "0.7", "0.6") == 1
    dataset = dataset_of("lits", out)
    assert refusals(dataset) == {"LiTS_029": "label-grid"}
    for number, image in images.items():
        check_case(dataset, f"LiTS_{number:03d}", image, TRUTH)
        assert note_codes(dataset, f"LiTS_{number:03d}") == []
    # NIfTI's identity runs to the right and to the front.
    turned = placed(values, spacing=(0.6, 0.7, 2.5), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1))
    expected = SimpleITK.DICOMOrient(turned, "LPS")
    check_case(dataset, "LiTS_028", expected, TRUTH[:, ::-1, ::-1])
    assert note_codes(dataset, "LiTS_028") == ["given-spacing"]
    check_description(dataset, channels={"0": "CT"}, labels=BOTH, training=6)


@pytest.mark.parametrize("spacing", [("0", "1", "1"), ("-1", "1", "1"), ("nan", "1", "1"), ("inf", "1", "1")])
def test_a_voxel_size_that_is_none_is_wrong_usage(
    tmp_path: Path, spacing: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    write_lits(tmp_path / "LiTS", 0)
    assert convert("lits", tmp_path / "LiTS", tmp_path / "raw", "--spacing-mm", *spacing) == 2
    assert "--spacing-mm must be three lengths above 0" in caplog.text
    assert not (tmp_path / "raw").exists()


def test_the_tumor_alone_and_patients_without_one(tmp_path: Path) -> None:
    source, out = tmp_path / "LiTS", tmp_path / "raw"
    images = {n: write_lits(source, n, label=drawn(1) if n == 2 else TRUTH) for n in range(5)}
    assert convert("lits", source, out, "--target", "tumor") == 0
    dataset = dataset_of("lits", out)
    for number, image in images.items():
        expected = np.zeros_like(TRUTH) if number == 2 else (TRUTH == 2).astype(np.uint8)
        check_case(dataset, f"LiTS_{number:03d}", image, expected)
    check_description(dataset, channels={"0": "CT"}, labels={"background": 0, "tumor": 1}, training=5)


def test_the_whole_liver_and_the_tumor_in_it_as_regions(tmp_path: Path) -> None:
    source, out = tmp_path / "LiTS", tmp_path / "raw"
    images = {n: write_lits(source, n, label=drawn(1) if n == 2 else TRUTH) for n in range(5)}
    assert convert("lits", source, out, "--target", "regions") == 0
    dataset = dataset_of("lits", out)
    for number, image in images.items():
        check_case(dataset, f"LiTS_{number:03d}", image, drawn(1) if number == 2 else TRUTH)
    regions = {"background": 0, "whole liver": [1, 2], "tumor": [2]}
    check_description(dataset, channels={"0": "CT"}, labels=regions, training=5)
    labels = label_manager(dataset)
    assert labels.foreground_regions == [(1, 2), (2,)]
    # A voxel that is predicted in both is tumor, one in the outer alone is liver.
    predicted = np.array([[0, 1, 1], [0, 0, 1]])[:, None, None]
    assert labels.convert_probabilities_to_segmentation(predicted).tolist() == [[[0, 1, 2]]]


def test_no_liver_or_another_value_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "LiTS", tmp_path / "raw"
    for number, label in enumerate([TRUTH] * 5 + [drawn(0, 0, 2), drawn(1, 0, 3), drawn(1)]):
        write_lits(source, number, label=label)
    assert convert("lits", source, out) == 1
    assert refusals(dataset_of("lits", out)) == {"LiTS_005": "empty-label", "LiTS_006": "label-value"}


def write_decathlon(source: Path, *, training: int, test: int = 1) -> dict[str, SimpleITK.Image]:
    """Task03_Liver, with the copies of macOS that its archive holds."""
    images = {f"liver_{n}": scan(n) for n in range(training)}
    unseen = {f"liver_{n}": scan(n) for n in range(131, 131 + test)}
    for name, image in images.items():
        save(image, source / "imagesTr" / f"{name}.nii.gz", axes="RAS")
        save(on(image, TRUTH), source / "labelsTr" / f"{name}.nii.gz", axes="RAS")
        (source / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"x")
    for name, image in unseen.items():
        save(image, source / "imagesTs" / f"{name}.nii.gz", axes="RAS")
    description = {
        "name": "Liver",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in images],
        "test": [f"./imagesTs/{name}.nii.gz" for name in unseen],
    }
    (source / "dataset.json").write_text(json.dumps(description))
    return {**images, **unseen}


def test_the_decathlon_keeps_its_names(tmp_path: Path) -> None:
    source, out = tmp_path / "Task03_Liver", tmp_path / "raw"
    images = write_decathlon(source, training=5)
    assert convert("msd-liver", source, out) == 0
    dataset = dataset_of("msd-liver", out)
    for name, image in images.items():
        check_case(dataset, name, image, None if name == "liver_131" else TRUTH)
    check_description(dataset, channels={"0": "CT"}, labels=BOTH, training=5)
    assert len(cases_of(dataset)) == 6


def test_cases_that_the_decathlon_calls_otherwise_get_numbers(tmp_path: Path) -> None:
    source, out = tmp_path / "Task03_Liver", tmp_path / "raw"
    images = write_decathlon(source, training=5)
    for folder in ("imagesTr", "labelsTr"):
        (source / folder / "liver_0.nii.gz").rename(source / folder / "Doe_Jane.nii.gz")
    listed = (source / "dataset.json").read_text().replace("liver_0.", "Doe_Jane.")
    (source / "dataset.json").write_text(listed)
    assert convert("msd-liver", source, out) == 0
    check_case(dataset_of("msd-liver", out), "MSDLiver_001", images["liver_0"], TRUTH)
    assert "Doe" not in (dataset_of("msd-liver", out) / "conversion_report.json").read_text()


def test_what_the_list_of_the_decathlon_names_must_be_there(tmp_path: Path) -> None:
    source, out = tmp_path / "Task03_Liver", tmp_path / "raw"
    write_decathlon(source, training=7)
    (source / "imagesTr" / "liver_2.nii.gz").unlink()
    (source / "labelsTr" / "liver_3.nii.gz").unlink()
    (source / "imagesTs" / "liver_131.nii.gz").unlink()
    assert convert("msd-liver", source, out, "--target", "tumor") == 1
    dataset = dataset_of("msd-liver", out)
    assert refusals(dataset) == {
        "liver_2": "missing-channel",
        "liver_3": "empty-label",
        "liver_131": "missing-channel",
    }
    check_description(dataset, channels={"0": "CT"}, labels={"background": 0, "tumor": 1}, training=5)


def test_new_patients_of_the_decathlon_need_no_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, out = tmp_path / "Task03_Liver", tmp_path / "raw"
    write_decathlon(source, training=5)
    assert convert("msd-liver", source, out, "--target", "tumor") == 0
    new = scan(77)
    save(new, tmp_path / "new" / "imagesTs" / "tomorrow.nii.gz", axes="RAS")
    (tmp_path / "new" / "imagesTs" / "._tomorrow.nii.gz").write_bytes(b"x")
    dataset = dataset_of("msd-liver", out)
    before = set((dataset / "imagesTs").iterdir())
    assert convert("msd-liver", tmp_path / "new", out, "--like", "7", "--target", "regions") == 2
    assert "--target: new patients are read as the dataset was, with tumor, and got regions" in caplog.text
    assert convert("msd-liver", tmp_path / "new", out, "--like", "7", "--target", "tumor") == 0
    (written,) = set((dataset / "imagesTs").iterdir()) - before
    check_case(dataset, written.name.removesuffix("_0000.nii.gz"), new, None)


@pytest.mark.parametrize(
    "content",
    [None, "{", "[]", '{"labels": {"0": "background", "1": "spleen"}, "training": []}'],
)
def test_another_task_is_wrong_usage(
    tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "Task09_Spleen"
    source.mkdir()
    if content is not None:
        (source / "dataset.json").write_text(content)
    assert convert("msd-liver", source, tmp_path / "raw") == 2
    assert "expected dataset.json of Task03_Liver" in caplog.text
