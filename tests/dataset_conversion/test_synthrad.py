"""SynthRAD: pairs of CT and MR that find each other by their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from public_datasets import (
    SIZE,
    check_case,
    check_description,
    convert,
    dataset_of,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

BODY = np.zeros(SIZE, np.uint8)
BODY[1:11, 2:14, 2:18] = 1
BRAIN, PELVIS = ("1BA001", "1BB014", "1BC003"), ("1PA002", "1PC090")
RELEASE_2023 = dict.fromkeys(BRAIN, "brain") | dict.fromkeys(PELVIS, "pelvis")
RELEASE_2025 = {"1ABA005": "AB", "1HNC120": "HN", "1THB020": "TH"}


def write(task: Path, case: str, region: str, ending: str) -> dict[str, SimpleITK.Image]:
    images = {"ct": scan(int(case[-3:])), "mr": scan(int(case[-3:]), air=0, tissue=500)}
    for name, image in (*images.items(), ("mask", on(images["ct"], BODY))):
        save(image, task / region / case / f"{name}{ending}")
    return images


def write_both(source: Path) -> dict[str, dict[str, SimpleITK.Image]]:
    pairs = {case: write(source / "Task1", case, region, ".nii.gz") for case, region in RELEASE_2023.items()}
    pairs |= {case: write(source / "Task1", case, region, ".mha") for case, region in RELEASE_2025.items()}
    (source / "Task1" / "brain" / "overview").mkdir()
    save(scan(1), source / "Task1" / "brain" / "overview" / "ct.nii.gz")
    write(source / "Task2", "2BA001", "brain", ".nii.gz")
    return pairs


@pytest.mark.parametrize("modality", ["ct", "mr"])
def test_both_releases_become_two_datasets_with_the_same_names(modality: str, tmp_path: Path) -> None:
    source, out = tmp_path / "SynthRAD", tmp_path / "raw"
    pairs = write_both(source)
    name = f"synthrad-{modality}"
    assert convert(name, source, out) == 0
    dataset = dataset_of(name, out)
    for case, images in pairs.items():
        check_case(dataset, case, images[modality], BODY)
        assert note_codes(dataset, case) == []
    check_description(
        dataset, channels={"0": modality.upper()}, labels={"background": 0, "body": 1}, training=8
    )


def test_one_region_alone(tmp_path: Path) -> None:
    source = tmp_path / "SynthRAD"
    write_both(source)
    regions = {
        "brain": set(BRAIN),
        "pelvis": set(PELVIS),
        "abdomen": {"1ABA005"},
        "head-neck": {"1HNC120"},
        "thorax": {"1THB020"},
    }
    for region, expected in regions.items():
        out = tmp_path / region / "raw"
        assert convert("synthrad-mr", source, out, "--region", region) == 1  # too few for five splits
        images = {file.name for file in (dataset_of("synthrad-mr", out) / "imagesTr").iterdir()}
        assert images == {f"{case}_0000.nii.gz" for case in expected}


def test_what_is_no_pair_is_refused_in_both(tmp_path: Path) -> None:
    source, out = tmp_path / "SynthRAD", tmp_path / "raw"
    write_both(source)
    (source / "Task1" / "brain" / "1BA001" / "ct.nii.gz").unlink()
    (source / "Task1" / "pelvis" / "1PA002" / "mr.nii.gz").unlink()
    (source / "Task1" / "pelvis" / "1PC090" / "mask.nii.gz").unlink()
    wrong = placed(BODY, spacing=(1, 1, 1))
    save(wrong, source / "Task1" / "brain" / "1BB014" / "mask.nii.gz")
    for name in ("synthrad-ct", "synthrad-mr"):
        assert convert(name, source, out) == 1
        assert refusals(dataset_of(name, out)) == {
            "1BA001": "missing-channel",
            "1PA002": "missing-channel",
            "1PC090": "empty-label",
            "1BB014": "label-grid",
        }


def test_a_new_patient_needs_no_partner(tmp_path: Path) -> None:
    write_both(tmp_path / "src")
    assert convert("synthrad-mr", tmp_path / "src", tmp_path / "raw") == 0
    image = scan(77, air=0, tissue=500)
    save(image, tmp_path / "new" / "1BA077" / "mr.nii.gz")
    assert convert("synthrad-mr", tmp_path / "new", tmp_path / "raw", "--like", "7") == 0
    dataset = dataset_of("synthrad-mr", tmp_path / "raw")
    (written,) = (dataset / "imagesTs").iterdir()
    check_case(dataset, written.name.removesuffix("_0000.nii.gz"), image, None)
