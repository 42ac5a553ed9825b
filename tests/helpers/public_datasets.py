"""Tiny cases in the layouts of public datasets, and what must come out of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import SimpleITK
from clinical_images import placed
from nnunet_ext.dataset_conversion.registry import converter
from nnunetv2.experiment_planning import verify_dataset_integrity as nnunet
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from numpy.typing import NDArray

from nnunet_ext.cli.main import main
from nnunet_ext.clinical_io.grids import corner_distance_mm, orientation, with_grid_of

SIZE = (12, 16, 20)  # z, y, x
ORIENTATIONS = ("LPS", "RAS", "LAI", "SPL", "PIR", "RPI")
# Boxes (z, y, x) within the body, none of which touches another and none of which is a mirror image.
PLACES = (
    np.s_[2:5, 3:6, 3:6],
    np.s_[2:5, 3:6, 13:17],
    np.s_[6:10, 4:6, 8:10],
    np.s_[6:10, 9:12, 3:5],
    np.s_[7:9, 9:13, 14:16],
    np.s_[2:4, 10:13, 8:11],
    np.s_[2:4, 7:9, 15:17],
    np.s_[5:6, 12:14, 5:8],
    np.s_[10:11, 6:9, 11:13],
)
LEFT, RIGHT = 1, 0  # of PLACES: the patient's left has the larger x in LPS


def scan(
    seed: int, *, air: float = -1000, tissue: float = 40, spacing: tuple[float, ...] = (0.8, 0.9, 2.5)
) -> SimpleITK.Image:
    """A body in air, in LPS, whose voxels tell where they are; every seed has its own place in the world."""
    rng = np.random.default_rng(seed)
    values = np.full(SIZE, air) + rng.integers(0, 20, SIZE)
    values[1:11, 2:14, 2:18] += tissue - air
    origin = rng.uniform(-200, 200, 3).round(3)
    return placed(values.astype(np.int16), spacing=spacing, origin=origin.tolist())


def drawn(*numbers: int) -> NDArray[np.uint8]:
    """An array (Z, Y, X) with one number after the other in ``PLACES``; 0 leaves a place out."""
    label = np.zeros(SIZE, np.uint8)
    for place, number in zip(PLACES, numbers, strict=False):
        label[place] = number
    return label


def on(image: SimpleITK.Image, array: NDArray[Any]) -> SimpleITK.Image:
    """An image of an array, on the grid of another image."""
    return with_grid_of(SimpleITK.GetImageFromArray(array), image)


def brightened(image: SimpleITK.Image, inside: NDArray[Any], value: float) -> SimpleITK.Image:
    """The image with one value where an array is not 0."""
    values = SimpleITK.GetArrayFromImage(image)
    values[inside != 0] = value
    return on(image, values)


def save(image: SimpleITK.Image, file: Path, *, axes: str = "LPS") -> None:
    """Write an image with its axes in some order and direction; the world does not move."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # ITK takes 7.img.nii.gz for one half of a pair, and writes the other half alone.
    written = file.with_name(file.name.replace(".img.", ".image."))
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, axes), str(written))
    written.rename(file)


def convert(name: str, source: Path, out: Path, *more: str) -> int:
    """Run ``nnunet_ext convert`` as a user would."""
    arguments = ["--out", str(out), "--key", str(out.parent / "keys" / f"{name}.json"), "--no-pbar"]
    if "--like" not in more:
        arguments += ["--dataset-id", "7"]
    return main(["convert", name, str(source), *arguments, *more])


def dataset_of(name: str, out: Path) -> Path:
    """The folder that a converter wrote."""
    return out / f"Dataset007_{converter(name).title}"


def cases_of(dataset: Path) -> dict[str, dict[str, Any]]:
    """What the report says of each case."""
    content: dict[str, dict[str, Any]] = json.loads((dataset / "conversion_report.json").read_text())["cases"]
    return content


def refusals(dataset: Path) -> dict[str, str]:
    """The codes of the cases that were refused."""
    return {case: entry["code"] for case, entry in cases_of(dataset).items() if entry["status"] == "refused"}


def note_codes(dataset: Path, case: str) -> list[str]:
    """The codes of a case's notes."""
    return [note.partition(":")[0] for note in cases_of(dataset)[case]["notes"]]


def description_of(dataset: Path) -> dict[str, Any]:
    """``dataset.json``."""
    content: dict[str, Any] = json.loads((dataset / "dataset.json").read_text())
    return content


def check_description(
    dataset: Path, *, channels: Mapping[str, str], labels: Mapping[str, int | list[int]], training: int
) -> None:
    """Raise unless ``dataset.json`` says so, and nnU-Net finds the dataset whole."""
    content = description_of(dataset)
    assert content["channel_names"] == channels
    assert content["labels"] == labels
    assert content["numTraining"] == training
    assert len(list((dataset / "labelsTr").iterdir())) == training
    verify(dataset)


def label_manager(dataset: Path) -> LabelManager:
    """What nnU-Net makes of the labels or regions of a dataset."""
    content = description_of(dataset)
    return LabelManager(content["labels"], content.get("regions_class_order"))


def verify(dataset: Path) -> None:
    """nnU-Net's own checks of a raw dataset, in a thread: its process takes 6 s to start."""
    threads = SimpleNamespace(Pool=ThreadPool)
    with patch.object(nnunet.multiprocessing, "get_context", return_value=threads):
        nnunet.verify_dataset_integrity(str(dataset), num_processes=1)


def check_case(
    dataset: Path,
    case: str,
    image: SimpleITK.Image,
    numbers: NDArray[Any] | None,
    *,
    channel: int = 0,
) -> None:
    """Raise unless a case has these voxels, in LPS, at their place in the world.

    Args:
        dataset: the folder that was written.
        case: name.
        image: what must have come out, in LPS.
        numbers: of the labels, None for a case of the test set.
        channel: which channel the image is.
    """
    folder = "imagesTs" if numbers is None else "imagesTr"
    pairs = [(f"{folder}/{case}_{channel:04d}.nii.gz", image)]
    if numbers is None:
        assert not (dataset / "labelsTr" / f"{case}.nii.gz").exists()
    else:
        pairs.append((f"labelsTr/{case}.nii.gz", on(image, numbers)))
    for file, expected in pairs:
        found = SimpleITK.ReadImage(str(dataset / file))
        assert orientation(found) == "LPS"
        assert corner_distance_mm(found, expected) < 1e-3
        np.testing.assert_array_equal(
            SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(expected)
        )


def check_left_is_left(dataset: Path) -> None:
    """Raise unless each left structure of the record lies at larger x than its right one, in every case."""
    content = description_of(dataset)
    record = content["laterality"]
    assert record["pairs"]
    assert record["axis"] == 2
    compared = 0
    for file in sorted((dataset / "labelsTr").glob("*.nii.gz")):
        label = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
        for pair in record["pairs"]:
            left, right = (np.nonzero(label == content["labels"][name])[2] for name in pair)
            if left.size and right.size:
                assert left.mean() > right.mean()
                compared += 1
    assert compared
