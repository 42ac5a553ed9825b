"""A structure that nobody drew teaches nothing where it may be, and background everywhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from array_cases import CONVERTER, SIZE, SPACING
from clinical_images import placed
from nnunet_ext.dataset_conversion.convert import convert
from nnunet_ext.dataset_conversion.declaration import Conversion
from nnunet_ext.dataset_conversion.description import REPORT
from nnunet_ext.dataset_conversion.undrawn import MARGIN_MM, Box, boxes_of, ignored, joined
from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

from nnunet_ext.clinical_io import CaseError


def head(*, chiasm: bool, moved: int = 0) -> np.ndarray:
    numbers = np.zeros(SIZE, np.uint8)
    numbers[10:20, 25:35, 25 + moved : 35 + moved] = 1
    if chiasm:
        numbers[22:24, 20:22, 28 + moved : 32 + moved] = 2
    return numbers


def run(source: Path, dataset: Path, *, workers: int = 1) -> dict[str, dict[str, object]]:
    convert(
        Conversion(CONVERTER, source, dataset), key_file=source / "key.json", workers=workers, progress=False
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


@pytest.mark.parametrize("workers", [1, 2])
def test_only_where_it_may_be_is_ignored(source: Path, tmp_path: Path, workers: int) -> None:
    dataset = tmp_path / "Dataset001_Test"
    report = run(source, dataset, workers=workers)
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


def test_the_same_again_changes_nothing_and_a_new_case_widens_the_place(source: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "Dataset001_Test"
    run(source, dataset)
    label = dataset / "labelsTr" / "case_7.nii.gz"
    before = label.stat().st_ino, (label_of(dataset, "case_7") == 3).sum()
    run(source, dataset)
    assert label.stat().st_ino == before[0]
    wide = head(chiasm=True)
    wide[30:32, 40:42, 40:44] = 2
    np.save(source / "case_8.npy", wide)
    run(source, dataset)
    assert (label_of(dataset, "case_7") == 3).sum() > 2 * before[1]


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
    (box,) = boxes_of(placed(numbers, spacing=SPACING, origin=(100, 200, 300)), CONVERTER).values()
    # Brainstem: indices 25 to 34 in x and y, 10 to 19 in z, so its middle is 29.5, 29.5, 14.5.
    assert box == Box((-3, -19, 15), (3, -17, 17))
    flipped = placed(
        numbers[:, ::-1, ::-1],
        spacing=SPACING,
        origin=(218, 318, 300),
        direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1),
    )
    assert boxes_of(flipped, CONVERTER)["Chiasm"] == box
    assert joined([{"Chiasm": box}, {}])["Chiasm"] == box


def test_too_little_is_refused_by_name() -> None:
    label = placed(head(chiasm=False), spacing=SPACING)
    with pytest.raises(CaseError, match="too-little-drawn"):
        ignored(label, ["Chiasm"], CONVERTER, boxes={})
