"""PDDCA: a file for each organ, names that vary, and organs that nobody drew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK
from public_datasets import (
    ORIENTATIONS,
    SIZE,
    cases_of,
    check_case,
    check_description,
    check_left_is_left,
    convert,
    dataset_of,
    drawn,
    note_codes,
    on,
    refusals,
    save,
    scan,
)

NUMBERS = {
    "Bone_Mandible": 1,
    "Parotid_L": 2,
    "Parotid_R": 3,
    "Brainstem": 4,
    "Glnd_Submand_L": 5,
    "Glnd_Submand_R": 6,
    "OpticNrv_L": 7,
    "OpticNrv_R": 8,
    "OpticChiasm": 9,
}
IGNORE = 10
FILES = dict(
    zip(
        NUMBERS,
        (
            *("Mandible", "Parotid_L", "Parotid_R", "BrainStem", "Submandibular_L", "Submandibular_R"),
            *("OpticNerve_L", "OpticNerve_R", "Chiasm"),
        ),
        strict=True,
    )
)
# Each left one beyond its right one; see PLACES.
TRUTH = drawn(3, 2, 9, 6, 5, 8, 7, 1, 4)


def write(
    source: Path,
    number: int,
    *,
    without: tuple[str, ...] = (),
    names: Mapping[str, str] = FILES,
    axes: str = "LPS",
    spacing: tuple[float, ...] = (0.8, 0.9, 2.5),
) -> SimpleITK.Image:
    image = scan(number, spacing=spacing)
    folder = source / f"0522c{number:04d}"
    save(image, folder / "img.nrrd", axes=axes)
    for organ, value in NUMBERS.items():
        if organ not in without:
            mask = (value == TRUTH).astype(np.uint8)
            save(on(image, mask), folder / "structures" / f"{names[organ]}.nrrd", axes=axes)
    (folder / "Landmarks_a.fcsv").write_text("")
    return image


def test_organs_become_one_label_image_and_left_is_left(tmp_path: Path) -> None:
    source, out = tmp_path / "PDDCA-1.4.1", tmp_path / "raw"
    images = {n: write(source, n, axes=axes) for n, axes in enumerate(ORIENTATIONS, start=1)}
    assert convert("pddca", source, out) == 0
    dataset = dataset_of("pddca", out)
    for number, image in images.items():
        check_case(dataset, f"0522c{number:04d}", image, TRUTH)
        assert note_codes(dataset, f"0522c{number:04d}") == []
    labels = {"background": 0, **NUMBERS, "ignore": IGNORE}
    check_description(dataset, channels={"0": "CT"}, labels=labels, training=6)
    check_left_is_left(dataset)
    pairs = json.loads((dataset / "dataset.json").read_text())["laterality"]["pairs"]
    assert {left for left, _ in pairs} == {"Parotid_L", "Glnd_Submand_L", "OpticNrv_L"}


def test_folders_that_are_not_called_as_published_get_numbers(tmp_path: Path) -> None:
    source, out = tmp_path / "own", tmp_path / "raw"
    images = [write(source, n) for n in range(1, 7)]
    (source / "0522c0001").rename(source / "Doe_Jane")
    assert convert("pddca", source, out) == 0
    dataset = dataset_of("pddca", out)
    check_case(dataset, "PDDCA_001", images[0], TRUTH)
    assert sorted(cases_of(dataset)) == [*(f"0522c000{n}" for n in range(2, 7)), "PDDCA_001"]
    assert "Doe" not in (dataset / "conversion_report.json").read_text()


def test_what_was_not_drawn_is_ignored_and_never_background(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    big = (4.0, 4.0, 5.0)  # so that the place of a gland with its margin is a part of the image
    for number in range(1, 6):
        write(source, number, spacing=big)
    write(source, 6, without=("Glnd_Submand_R", "Bone_Mandible"), spacing=big)
    image = write(source, 7, spacing=big)
    empty = np.zeros(SIZE, np.uint8)
    save(on(image, empty), source / "0522c0007" / "structures" / "Submandibular_L.nrrd")
    assert convert("pddca", source, out) == 0
    dataset = dataset_of("pddca", out)
    for case, undrawn in (("0522c0006", (6, 1)), ("0522c0007", (5,))):
        label = SimpleITK.ReadImage(str(dataset / "labelsTr" / f"{case}.nii.gz"))
        found = SimpleITK.GetArrayFromImage(label)
        for number in undrawn:
            assert (found[number == TRUTH] == IGNORE).all()
        rest = ~np.isin(TRUTH, (0, *undrawn))
        np.testing.assert_array_equal(found[rest], TRUTH[rest])
        assert (found == 0).any()
    assert note_codes(dataset, "0522c0006").count("undrawn") == 2
    assert sorted(note_codes(dataset, "0522c0007")) == ["empty-mask", "undrawn"]
    verified = {"background": 0, **NUMBERS, "ignore": IGNORE}
    check_description(dataset, channels={"0": "CT"}, labels=verified, training=7)


def test_names_vary_and_unknown_ones_are_told(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    spaced = FILES | {
        "Brainstem": "Brain Stem",
        "OpticChiasm": "Optic Chiasm",
        "OpticNrv_L": "Left Optic Nerve",
    }
    strange = FILES | {"Parotid_L": "Ohrspeichel"}
    images = {n: write(source, n, names=spaced) for n in range(1, 6)}
    images[6] = write(source, 6, names=strange)
    write(source, 7)
    double = source / "0522c0007" / "structures"
    (double / "Brain Stem.nrrd").write_bytes((double / "BrainStem.nrrd").read_bytes())
    extra = source / "0522c0005" / "structures" / "Surprise.nrrd"
    extra.write_bytes((double / "Chiasm.nrrd").read_bytes())
    assert convert("pddca", source, out) == 1
    dataset = dataset_of("pddca", out)
    assert refusals(dataset) == {"0522c0006": "empty-label", "0522c0007": "ambiguous-name"}
    for number in range(1, 6):
        check_case(dataset, f"0522c{number:04d}", images[number], TRUTH)
    assert note_codes(dataset, "0522c0005") == ["unknown-name"]
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"Parotid_L": ["Ohrspeichel"]}))
    assert convert("pddca", source, out, "--aliases", str(names)) == 1
    assert refusals(dataset) == {"0522c0007": "ambiguous-name"}
    check_case(dataset, "0522c0006", images[6], TRUTH)


def test_overlaps_go_to_the_later_and_are_told(tmp_path: Path) -> None:
    source = tmp_path / "src"
    image = write(source, 1)
    part = TRUTH == 1
    part[:, :, 6:] = False
    chiasm, mandible = (TRUTH == 9) | part, np.isin(TRUTH, (1, 4))
    save(on(image, chiasm.astype(np.uint8)), source / "0522c0001" / "structures" / "Chiasm.nrrd")
    save(on(image, mandible.astype(np.uint8)), source / "0522c0001" / "structures" / "Mandible.nrrd")
    convert("pddca", source, tmp_path / "raw")
    dataset = dataset_of("pddca", tmp_path / "raw")
    shared = int(part.sum() + (TRUTH == 4).sum())
    assert cases_of(dataset)["0522c0001"]["notes"] == [
        f"overlap: {shared} voxels lie in two structures; the later in the list has them"
    ]
    check_case(dataset, "0522c0001", image, np.where(part, 9, TRUTH).astype(np.uint8))


def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "raw"
    images = {number: write(source, number) for number in range(1, 12)}

    def chiasm(number: int) -> Path:
        return source / f"0522c{number:04d}" / "structures" / "Chiasm.nrrd"

    (source / "0522c0006" / "img.nrrd").unlink()
    for file in chiasm(7).parent.iterdir():
        file.unlink()
    chiasm(8).unlink()
    moved = on(images[9], (TRUTH == 9).astype(np.uint8))
    moved.SetOrigin([mm + 0.4 for mm in moved.GetOrigin()])
    save(moved, chiasm(9))
    save(on(images[10], TRUTH), chiasm(10))
    chiasm(11).write_bytes(chiasm(11).read_bytes()[:-40])
    assert convert("pddca", source, out) == 1
    dataset = dataset_of("pddca", out)
    assert refusals(dataset) == {
        "0522c0006": "missing-channel",
        "0522c0007": "empty-label",
        "0522c0008": "empty-label",
        "0522c0009": "label-grid",
        "0522c0010": "label-value",
        "0522c0011": "truncated-file",
    }
    assert len(list((dataset / "labelsTr").iterdir())) == 5
