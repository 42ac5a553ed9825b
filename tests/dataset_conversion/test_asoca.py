"""ASOCA: NRRD in the challenge's folders, padding far below air, and a test set without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
from public_datasets import (
    brightened,
    cases_of,
    check_case,
    check_description,
    convert,
    dataset_of,
    drawn,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

TRUTH = drawn(1, 0, 1)
LABELS = {"background": 0, "coronary_artery": 1}


def write(source: Path, group: str, number: int, *, axes: str = "LPS") -> SimpleITK.Image:
    image = brightened(scan(number), TRUTH, 400)
    save(image, source / group / "CTCA" / f"{group}_{number}.nrrd", axes=axes)
    save(on(image, TRUTH), source / group / "Annotations" / f"{group}_{number}.nrrd", axes=axes)
    return image


def test_training_and_test_cases_keep_their_numbers(tmp_path: Path) -> None:
    source, out = tmp_path / "ASOCA", tmp_path / "raw"
    images = {("Normal", n): write(source, "Normal", n, axes="RAS") for n in (1, 2, 20)}
    images |= {("Diseased", n): write(source, "Diseased", n) for n in (1, 11)}
    (source / "Normal" / "Centerlines").mkdir()
    (source / "Normal" / "Centerlines" / "Normal_1.vtp").write_bytes(b"x")
    unseen = {}
    for group, number in (("Normal", 0), ("Diseased", 10)):
        unseen[number] = scan(100 + number)
        save(unseen[number], source / group / f"Testset_{group}" / f"{number}.nrrd")
    assert convert("asoca", source, out) == 0
    dataset = dataset_of("asoca", out)
    for (group, number), image in images.items():
        check_case(dataset, f"ASOCA_{group}_{number:02d}", image, TRUTH)
    for number, image in unseen.items():
        check_case(dataset, f"ASOCA_Test_{number:02d}", image, None)
    check_description(dataset, channels={"0": "CT"}, labels=LABELS, training=5)
    assert len(cases_of(dataset)) == 7


def test_padding_is_clipped_and_told(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 6):
        write(source, "Normal", number)
    padded = SimpleITK.GetArrayFromImage(brightened(scan(1), TRUTH, 400))
    padded[:, 0, :5] = -3000
    save(on(scan(1), padded), source / "Normal" / "CTCA" / "Normal_1.nrrd")
    for number, lowest in ((2, -9000), (4, -3001), (5, -3100), (6, -3101)):
        lower = padded.copy()
        lower[0, 0, 0] = lowest
        write(source, "Normal", number)
        save(on(scan(number), lower), source / "Normal" / "CTCA" / f"Normal_{number}.nrrd")
    assert convert("asoca", source, out) == 1
    dataset = dataset_of("asoca", out)
    check_case(dataset, "ASOCA_Normal_01", on(scan(1), np.maximum(padded, -1024)), TRUTH)
    assert note_codes(dataset, "ASOCA_Normal_01") == ["clipped-hu"]
    assert "60 voxels from -3000 HU" in cases_of(dataset)["ASOCA_Normal_01"]["notes"][0]
    assert note_codes(dataset, "ASOCA_Normal_03") == []
    # What is lower than the checks take is refused, and whatever they take was clipped.
    assert refusals(dataset) == {"ASOCA_Normal_02": "hu-offset", "ASOCA_Normal_06": "hu-offset"}
    for number in (4, 5):
        check_case(dataset, f"ASOCA_Normal_{number:02d}", on(scan(number), np.maximum(padded, -1024)), TRUTH)


def test_labels_that_lie_on_vessels_only_when_flipped_are_refused(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 7):
        write(source, "Normal", number)
    image = brightened(scan(6), np.flip(TRUTH, 1), 400)
    save(image, source / "Normal" / "CTCA" / "Normal_6.nrrd")
    assert convert("asoca", source, out) == 1
    assert refusals(dataset_of("asoca", out)) == {"ASOCA_Normal_06": "flipped-label"}


def test_what_is_missing_or_broken_is_refused_alone(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    for number in range(1, 9):
        write(source, "Diseased", number)
    folder = source / "Diseased"
    (folder / "Annotations" / "Diseased_6.nrrd").unlink()
    (folder / "CTCA" / "Diseased_7.nrrd").unlink()
    cut = folder / "CTCA" / "Diseased_8.nrrd"
    cut.write_bytes(cut.read_bytes()[:-500])
    assert convert("asoca", source, out) == 1
    dataset = dataset_of("asoca", out)
    assert refusals(dataset) == {
        "ASOCA_Diseased_06": "empty-label",
        "ASOCA_Diseased_07": "missing-channel",
        "ASOCA_Diseased_08": "truncated-file",
    }
    check_description(dataset, channels={"0": "CT"}, labels=LABELS, training=5)


def test_new_patients_follow_the_dataset(tmp_path: Path) -> None:
    for number in range(1, 6):
        write(tmp_path / "src", "Normal", number)
    assert convert("asoca", tmp_path / "src", tmp_path / "raw") == 0
    image = write(tmp_path / "new", "Normal", 1)
    assert convert("asoca", tmp_path / "new", tmp_path / "raw", "--like", "7") == 0
    dataset = dataset_of("asoca", tmp_path / "raw")
    (written,) = (dataset / "imagesTs").iterdir()
    check_case(dataset, written.name.removesuffix("_0000.nii.gz"), image, None)
