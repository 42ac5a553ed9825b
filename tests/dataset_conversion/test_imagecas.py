"""ImageCAS: both releases, their duplicates, and labels that lie the wrong way round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from public_datasets import (
    ORIENTATIONS,
    SIZE,
    brightened,
    cases_of,
    check_case,
    check_description,
    convert,
    dataset_of,
    description_of,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

LABELS = {"background": 0, "coronary_artery": 1}


def vessel() -> np.ndarray:
    """A tube that no mirror maps onto itself."""
    label = np.zeros(SIZE, np.uint8)
    label[2:5, 4:6, 3:9] = 1
    return label


def patient(number: int, *, hu: float = 350) -> SimpleITK.Image:
    return brightened(scan(number), vessel(), hu)


def save_kaggle(source: Path, number: int, **more: Any) -> SimpleITK.Image:
    axes = more.pop("axes", "LPS")
    label = more.pop("label", vessel())
    image = patient(number, **more)
    folder = source / ("1-200" if number <= 200 else "801-1000")
    save(image, folder / f"{number}.img.nii.gz", axes=axes)
    save(on(image, label), folder / f"{number}.label.nii.gz", axes=axes)
    return image


def save_old(folder: Path, number: int) -> SimpleITK.Image:
    image = patient(number)
    save(image, folder / "img.nii.gz")
    save(on(image, vessel()), folder / "label.nii.gz")
    return image


def test_the_release_of_kaggle(tmp_path: Path) -> None:
    source, out = tmp_path / "ImageCAS", tmp_path / "raw"
    numbers = (7, 12, 33, 34, 200, 1000)
    images = {
        number: save_kaggle(source, number, axes=axes)
        for number, axes in zip(numbers, ORIENTATIONS, strict=True)
    }
    (source / "1-200" / "._7.img.nii.gz").write_bytes(b"x")
    (source / "imageCAS_data_split.xlsx").write_bytes(b"x")
    assert convert("imagecas", source, out) == 0
    dataset = dataset_of("imagecas", out)
    for number, image in images.items():
        check_case(dataset, f"ImageCAS_{number:04d}", image, vessel())
        assert note_codes(dataset, f"ImageCAS_{number:04d}") == []
    check_description(dataset, channels={"0": "CT"}, labels=LABELS, training=6)
    assert description_of(dataset)["laterality"] == {"pairs": [], "axis": 2}


def test_the_older_release_without_its_duplicates(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, out = tmp_path / "ImageCAS", tmp_path / "raw"
    images = {number: save_old(source / str(number), number) for number in range(301, 306)}
    save_old(source / "303 (1)", 303)
    images[310] = save_old(source / "310 (1)", 310)  # the only copy that there is
    with caplog.at_level("INFO"):
        assert convert("imagecas", source, out) == 0
    assert "1 folders ending in (1) are duplicates" in caplog.text
    dataset = dataset_of("imagecas", out)
    for number, image in images.items():
        check_case(dataset, f"ImageCAS_{number:04d}", image, vessel())
    assert note_codes(dataset, "ImageCAS_0303") == ["duplicate-folder"]
    assert note_codes(dataset, "ImageCAS_0302") == []
    check_description(dataset, channels={"0": "CT"}, labels=LABELS, training=6)


def test_flipped_labels_are_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 6):
        save_kaggle(source, number)
    flips = {6: (0,), 7: (1,), 8: (2,), 9: (0, 1, 2)}
    for number, axes in flips.items():
        save_kaggle(source, number, label=np.flip(vessel(), axes))
    assert convert("imagecas", source, out) == 1
    dataset = dataset_of("imagecas", out)
    assert refusals(dataset) == {f"ImageCAS_{n:04d}": "flipped-label" for n in flips}
    assert "flipped along z;" in cases_of(dataset)["ImageCAS_0006"]["reason"]
    assert "flipped along z, y, x;" in cases_of(dataset)["ImageCAS_0009"]["reason"]
    assert len(list((dataset / "labelsTr").iterdir())) == 5


def test_faint_vessels_are_told_and_what_else_is_wrong_is_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 6):
        save_kaggle(source, number, hu=140 if number == 3 else 151)
    save_kaggle(source, 6, label=vessel() * 2)
    save_kaggle(source, 7, label=np.zeros_like(vessel()))
    other = placed(vessel()[1:])
    save(other, source / "1-200" / "8.label.nii.gz")
    save(patient(8), source / "1-200" / "8.img.nii.gz")
    assert convert("imagecas", source, out) == 1
    dataset = dataset_of("imagecas", out)
    assert refusals(dataset) == {
        "ImageCAS_0006": "label-value",
        "ImageCAS_0007": "empty-label",
        "ImageCAS_0008": "label-grid",
    }
    assert [n for n in range(1, 6) if note_codes(dataset, f"ImageCAS_000{n}") == ["faint-vessel"]] == [3]
