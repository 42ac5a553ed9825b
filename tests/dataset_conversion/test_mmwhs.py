"""MM-WHS: seven values of 16 bits, a stray one, and every orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from public_datasets import (
    ORIENTATIONS,
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

VALUES = {1: 205, 2: 420, 3: 500, 4: 550, 5: 600, 6: 820, 7: 850}
NUMBERS = {"background": 0, "Myo": 1, "LA": 2, "LV": 3, "RA": 4, "RV": 5, "AA": 6, "PA": 7}
TRUTH = drawn(1, 2, 3, 4, 5, 6, 7)


def published(numbers: np.ndarray, kind: Any = np.uint16) -> np.ndarray:
    table = np.array([0, *VALUES.values()], kind)
    return table[numbers]


def write(
    folder: Path,
    modality: str,
    number: int,
    *,
    label: np.ndarray | None = None,
    axes: str = "LPS",
    ending: str = ".nii.gz",
) -> SimpleITK.Image:
    """One case as the challenge hands it out; 1001 to 1020 are for training, 2001 to 2040 for test."""
    image = scan(number)
    group = f"{modality}_train" if number < 2000 else f"{modality}_test"
    stem = f"{group}_{number}"
    save(image, folder / group / f"{stem}_image{ending}", axes=axes)
    if number < 2000:
        save(
            on(image, published(TRUTH) if label is None else label),
            folder / group / f"{stem}_label{ending}",
            axes=axes,
        )
    return image


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_values_become_numbers_in_one_orientation(modality: str, tmp_path: Path) -> None:
    source, out = tmp_path / "MM-WHS 2017", tmp_path / "raw"
    name, dataset = f"mmwhs-{modality}", dataset_of(f"mmwhs-{modality}", out)
    other = "mr" if modality == "ct" else "ct"
    write(source, other, 1001)
    images = {n: write(source, modality, n, axes=axes) for n, axes in enumerate(ORIENTATIONS, start=1001)}
    unseen = write(source, modality, 2003, axes="RAI")
    assert convert(name, source, out) == 0
    for number, image in images.items():
        check_case(dataset, f"{modality}_train_{number}", image, TRUTH)
    check_case(dataset, f"{modality}_test_2003", unseen, None)
    check_description(dataset, channels={"0": modality.upper()}, labels=NUMBERS, training=6)
    assert description_of(dataset)["laterality"] == {"pairs": [], "axis": 2}
    assert not list(dataset.rglob(f"{other}_*"))


def test_a_voxel_is_where_the_affine_of_nifti_says(tmp_path: Path) -> None:
    """The same without our own geometry: RAS as nibabel has it, x and y turned round for LPS."""
    source, out = tmp_path / "src", tmp_path / "raw"
    affine = np.array([[0, 0.5, 0, 10], [0, 0, -2, 80], [1.5, 0, 0, -30], [0, 0, 0, 1]])
    values = np.arange(6 * 7 * 8, dtype=np.int16).reshape(6, 7, 8)
    label = np.zeros(values.shape, np.uint16)
    label[1, :, 0] = list(VALUES.values())
    for kind, array in (("image", values), ("label", label)):
        file = source / "mr_train" / f"mr_train_1001_{kind}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(array, affine), file)
    assert convert("mmwhs-mr", source, out) == 1  # one patient gives no five splits
    dataset = dataset_of("mmwhs-mr", out)
    image = SimpleITK.ReadImage(str(dataset / "imagesTr" / "mr_train_1001_0000.nii.gz"))
    numbers = SimpleITK.ReadImage(str(dataset / "labelsTr" / "mr_train_1001.nii.gz"))
    for index in np.ndindex(values.shape):
        right, front, up, _ = affine @ [*index, 1]
        place = image.TransformPhysicalPointToIndex((-right, -front, up))
        back = image.TransformIndexToPhysicalPoint(place)
        np.testing.assert_allclose(back, (-right, -front, up), atol=1e-3)
        assert image[place] == values[index]
        assert numbers[place] == (0 if label[index] == 0 else list(VALUES.values()).index(label[index]) + 1)


def test_421_is_left_atrium_and_told(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1001, 1005):
        write(source, "mr", number)
    stray = published(TRUTH)
    stray[2, 3, 13:16] = 421
    image = write(source, "mr", 1010, label=stray)
    assert convert("mmwhs-mr", source, out) == 0
    dataset = dataset_of("mmwhs-mr", out)
    check_case(dataset, "mr_train_1010", image, TRUTH)
    assert cases_of(dataset)["mr_train_1010"]["notes"] == [
        "stray-421: 3 voxels of the value 421 were taken as LA (420)"
    ]
    assert note_codes(dataset, "mr_train_1001") == []


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.int32])
def test_the_type_of_the_label_makes_no_difference(kind: Any, tmp_path: Path) -> None:
    image = write(tmp_path / "src", "ct", 1001, label=published(TRUTH, kind), ending=".nii")
    convert("mmwhs-ct", tmp_path / "src", tmp_path / "raw")
    check_case(dataset_of("mmwhs-ct", tmp_path / "raw"), "ct_train_1001", image, TRUTH)


def test_what_is_not_in_the_table_is_refused_and_the_others_are_written(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1001, 1006):
        write(source, "ct", number)
    strange = published(TRUTH)
    strange[strange == 850] = 851
    write(source, "ct", 1006, label=strange)
    write(source, "ct", 1007, label=published(TRUTH).astype(np.uint8))  # 420 has become 164
    half = published(TRUTH, np.float32)
    half[0, 0, 0] = 0.5
    write(source, "ct", 1008, label=half)
    write(source, "ct", 1009, label=published(drawn(1, 2, 3, 4, 5, 6)))
    write(source, "ct", 1010)
    (source / "ct_train" / "ct_train_1010_label.nii.gz").unlink()
    write(source, "ct", 1011)
    (source / "ct_train" / "ct_train_1011_image.nii.gz").unlink()
    write(source, "ct", 1012)
    write(source, "ct", 1012, ending=".nii")
    assert convert("mmwhs-ct", source, out) == 1
    dataset = dataset_of("mmwhs-ct", out)
    assert refusals(dataset) == {
        "ct_train_1006": "label-value",
        "ct_train_1007": "label-value",
        "ct_train_1008": "label-value",
        "ct_train_1009": "empty-label",
        "ct_train_1010": "empty-label",
        "ct_train_1011": "missing-channel",
        "ct_train_1012": "ambiguous-file",
    }
    assert "851" in cases_of(dataset)["ct_train_1006"]["reason"]
    check_description(dataset, channels={"0": "CT"}, labels=NUMBERS, training=5)


def test_a_label_beside_a_test_image_is_not_taken(tmp_path: Path) -> None:
    image = write(tmp_path / "src", "ct", 2001)
    save(on(image, published(TRUTH)), tmp_path / "src" / "ct_test" / "ct_test_2001_label.nii.gz")
    convert("mmwhs-ct", tmp_path / "src", tmp_path / "raw")
    check_case(dataset_of("mmwhs-ct", tmp_path / "raw"), "ct_test_2001", image, None)


def test_new_patients_follow_the_dataset(tmp_path: Path) -> None:
    for number in range(1001, 1006):
        write(tmp_path / "src", "ct", number)
    assert convert("mmwhs-ct", tmp_path / "src", tmp_path / "raw") == 0
    image = write(tmp_path / "new", "ct", 1001, axes="RAS")
    (tmp_path / "new" / "ct_train" / "ct_train_1001_label.nii.gz").unlink()
    assert convert("mmwhs-ct", tmp_path / "new", tmp_path / "raw", "--like", "7") == 0
    dataset = dataset_of("mmwhs-ct", tmp_path / "raw")
    (written,) = (dataset / "imagesTs").iterdir()
    check_case(dataset, written.name.removesuffix("_0000.nii.gz"), image, None)
