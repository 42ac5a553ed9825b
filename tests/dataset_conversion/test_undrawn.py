"""A structure that nobody drew teaches nothing where it may be, and background everywhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from array_cases import CONVERTER, SIZE, SPACING
from clinical_images import placed
from nnunet_ext.dataset_conversion.convert import convert
from nnunet_ext.dataset_conversion.declaration import Conversion, Converter, Label
from nnunet_ext.dataset_conversion.description import REPORT
from nnunet_ext.dataset_conversion.records import RECORDS
from nnunet_ext.dataset_conversion.undrawn import MARGIN_MM, REQUIRED, Box, boxes_of, ignored, joined
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunet_ext.clinical_io import CaseError

# As a user of the converter "volumes" may say of every label.
NOTHING_REQUIRED = replace(
    CONVERTER, labels=tuple(Label(name, "may_be_undrawn") for name in ("Brainstem", "Chiasm"))
)
with_and_without_required = pytest.mark.parametrize("converter", [CONVERTER, NOTHING_REQUIRED])


def head(*, chiasm: bool, moved: int = 0) -> np.ndarray:
    numbers = np.zeros(SIZE, np.uint8)
    numbers[10:20, 25:35, 25 + moved : 35 + moved] = 1
    if chiasm:
        numbers[22:24, 20:22, 28 + moved : 32 + moved] = 2
    return numbers


def run(
    source: Path, dataset: Path, *, workers: int = 1, converter: Converter = CONVERTER
) -> dict[str, dict[str, object]]:
    convert(
        Conversion(converter, source, dataset), key_file=source / "key.json", workers=workers, progress=False
    )
    content: dict[str, dict[str, object]] = json.loads((dataset / REPORT).read_text())["cases"]
    return content


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number, moved in enumerate((0, 6, -6, 3, -3)):
        np.save(folder / f"case_{number}.npy", head(chiasm=True, moved=moved))
    np.save(folder / "case_7.npy", head(chiasm=False))
    return folder


def label_of(dataset: Path, case: str) -> np.ndarray:
    image = SimpleITK.ReadImage(str(dataset / "labelsTr" / f"{case}.nii.gz"))
    array: np.ndarray = SimpleITK.GetArrayFromImage(image)
    return array


@pytest.mark.parametrize(("workers", "converter"), [(1, CONVERTER), (2, CONVERTER), (1, NOTHING_REQUIRED)])
def test_only_where_it_may_be_is_ignored(
    source: Path, tmp_path: Path, workers: int, converter: Converter
) -> None:
    dataset = tmp_path / "Dataset001_Test"
    report = run(source, dataset, workers=workers, converter=converter)
    found = label_of(dataset, "case_7")
    expected = head(chiasm=False)
    # The chiasm lies at one place from the brainstem in every case, wherever the two are in the image.
    margin = int(MARGIN_MM / SPACING[0])
    box = np.zeros(SIZE, bool)
    box[22 - margin : 24 + margin, 20 - margin : 22 + margin, 28 - margin : 32 + margin] = True
    expected[box & (expected == 0)] = 3
    np.testing.assert_array_equal(found, expected)
    assert report["case_7"]["voxels"] == {"Brainstem": 1000, "ignore": int((expected == 3).sum())}
    assert any("Chiasm was not drawn" in note for note in report["case_7"]["notes"])  # type: ignore[attr-defined]
    for number in range(5):
        assert 3 not in label_of(dataset, f"case_{number}")
    assert json.loads((dataset / "dataset.json").read_text())["labels"]["ignore"] == 3
    verify_dataset_integrity(str(dataset), num_processes=1)


@with_and_without_required
def test_the_same_again_changes_nothing_and_a_new_case_widens_the_place(
    source: Path, tmp_path: Path, converter: Converter
) -> None:
    dataset = tmp_path / "Dataset001_Test"
    run(source, dataset, converter=converter)
    label = dataset / "labelsTr" / "case_7.nii.gz"
    before = label.stat().st_ino, (label_of(dataset, "case_7") == 3).sum()
    run(source, dataset, converter=converter)
    assert label.stat().st_ino == before[0]
    wide = head(chiasm=True)
    wide[30:32, 40:42, 40:44] = 2
    np.save(source / "case_8.npy", wide)
    run(source, dataset, converter=converter)
    assert (label_of(dataset, "case_7") == 3).sum() > 2 * before[1]


@with_and_without_required
def test_what_was_interrupted_ends_in_the_same_bytes(
    source: Path, tmp_path: Path, converter: Converter
) -> None:
    dataset = tmp_path / "Dataset001_Test"
    run(source, dataset, converter=converter)
    files = [file for file in dataset.rglob("*") if file.is_file()]
    before = {file: file.read_bytes() for file in files}
    # Killed with one case written, another half removed and the undrawn one not begun.
    for name in ("case_3", "case_7"):
        (dataset / RECORDS / f"{name}.json").unlink()
        (dataset / "labelsTr" / f"{name}.nii.gz").unlink()
    run(source, dataset, converter=converter)
    assert {file: file.read_bytes() for file in dataset.rglob("*") if file.is_file()} == before


def test_where_nothing_is_required_what_was_drawn_tells() -> None:
    others = [placed(head(chiasm=True, moved=moved), spacing=SPACING) for moved in (6, -6)]
    boxes = joined(boxes_of(label, NOTHING_REQUIRED) for label in others)
    whole = head(chiasm=True)
    chiasm_alone = placed(np.where(whole == 2, whole, 0).astype(np.uint8), spacing=SPACING)
    found, _ = ignored(chiasm_alone, ["Brainstem"], NOTHING_REQUIRED, boxes=boxes)
    numbers = SimpleITK.GetArrayFromImage(found)
    # No voxel of the brainstem is background, and what is far from it teaches.
    assert (numbers[whole == 1] == 3).all()
    assert (numbers == 0).mean() > 0.9


def test_places_from_several_drawn_structures_are_united() -> None:
    converter = replace(NOTHING_REQUIRED, labels=(*NOTHING_REQUIRED.labels, Label("Eye", "may_be_undrawn")))
    numbers = head(chiasm=True)
    label = placed(numbers, spacing=SPACING)
    near, far = Box((-30, -30, -30), (-26, -26, -26)), Box((20, 20, 20), (24, 24, 24))

    def place(anchors: dict[str, Box]) -> np.ndarray:
        image, _ = ignored(label, ["Eye"], converter, boxes={"Eye": anchors})
        array: np.ndarray = SimpleITK.GetArrayFromImage(image)
        return array == 4

    one, other = place({"Brainstem": near}), place({"Chiasm": far})
    assert one.any()
    assert other.any()
    np.testing.assert_array_equal(place({"Brainstem": near, "Chiasm": far}), one | other)
    # What the case does not show tells nothing.
    np.testing.assert_array_equal(place({"Brainstem": near, "Pituitary": far}), one)
    with pytest.raises(CaseError, match="too-little-drawn"):
        place({"Pituitary": far})


def test_a_tumor_tells_no_place() -> None:
    labels = (*NOTHING_REQUIRED.labels, Label("Tumor", "may_be_absent"))
    numbers = head(chiasm=True)
    numbers[30:34, 50:54, 50:54] = 3
    boxes = boxes_of(placed(numbers, spacing=SPACING), replace(NOTHING_REQUIRED, labels=labels))
    assert {name: sorted(anchors) for name, anchors in boxes.items()} == {
        "Brainstem": ["Chiasm"],
        "Chiasm": ["Brainstem"],
    }


def test_what_no_case_has_may_be_anywhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    numbers = head(chiasm=False)
    numbers[:, :30] = 1
    np.save(source / "case_1.npy", numbers)
    np.save(source / "case_2.npy", head(chiasm=False))
    report = run(source, tmp_path / "Dataset001_Test")
    assert (label_of(tmp_path / "Dataset001_Test", "case_1") == 0).sum() == 0
    assert report["case_2"]["code"] == "too-little-drawn"
    assert not list((tmp_path / "Dataset001_Test").rglob("case_2*"))


def test_boxes_are_measured_from_the_required_structures_in_the_world() -> None:
    numbers = head(chiasm=True)
    boxes = boxes_of(placed(numbers, spacing=SPACING, origin=(100, 200, 300)), CONVERTER)
    box = boxes["Chiasm"][REQUIRED]
    # Brainstem: indices 25 to 34 in x and y, 10 to 19 in z, so its middle is 29.5, 29.5, 14.5.
    assert box == Box((-3, -19, 15), (3, -17, 17))
    flipped = placed(
        numbers[:, ::-1, ::-1],
        spacing=SPACING,
        origin=(218, 318, 300),
        direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1),
    )
    assert boxes_of(flipped, CONVERTER) == boxes == {"Chiasm": {REQUIRED: box}}
    assert joined([boxes, {}]) == boxes


def test_too_little_is_refused_by_name() -> None:
    label = placed(head(chiasm=False), spacing=SPACING)
    with pytest.raises(CaseError, match="too-little-drawn"):
        ignored(label, ["Chiasm"], CONVERTER, boxes={})
