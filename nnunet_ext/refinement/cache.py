"""Training cases in the refiner's grid, on disk: half precision, read by pages as patches are cut."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.overlap import confusion_matrix
from nnunet_ext.files import whole_file, write_text
from nnunet_ext.inference.cases import CaseError
from nnunet_ext.refinement.outputs import Outputs
from nnunet_ext.refinement.probabilities import (
    labels_to_grid,
    open_probabilities,
    read_properties,
    to_grid,
)
from nnunet_ext.refinement.sources import OutOfFoldCase
from nnunet_ext.refinement.unsure import BINS, certainty

POINTS = 4096  # voxels to put patches around, kept of a case


@dataclass(frozen=True)
class CachedCase:
    """A training case in the refiner's grid.

    Attributes:
        name: of the case.
        fold: whose network predicted it.
        probabilities: (L, z, y, x) in half precision, mapped from disk.
        labels: (z, y, x), the reference, mapped from disk.
        points: (n, 3), voxels of foreground, predicted or in the reference.
        error_certainty: counts of the first network's errors by its certainty, see
            :mod:`nnunet_ext.refinement.unsure`.
        confusion: (values, values): reference by prediction, without what is ignored.
        stamps: size and time of each file that it was computed from.
    """

    name: str
    fold: int
    probabilities: NDArray[np.float16]
    labels: NDArray[Any]
    points: NDArray[np.int64]
    error_certainty: NDArray[np.int64]
    confusion: NDArray[np.int64]
    stamps: list[list[int]]


def read_reference(case: OutOfFoldCase, outputs: Outputs) -> NDArray[Any]:
    """The reference as it lies in its file, (Z, Y, X), by the plans' own reader.

    Raises:
        CaseError: it cannot be read, or holds undeclared values.
    """
    try:
        read, _ = outputs.plans_manager.image_reader_writer_class().read_seg(str(case.reference))
    except Exception as error:  # readers raise whatever they like
        raise CaseError(
            f"the reference {case.reference} cannot be read ({type(error).__name__}: {error})",
            "copy it from the dataset's labelsTr",
        ) from error
    labels = np.asarray(read[0])
    table = outputs.table
    declared = {0, *table.foreground, *(() if table.ignore is None else (table.ignore,))}
    found = set(np.unique(labels).tolist())
    if not found <= declared:
        raise CaseError(
            f"expected values {sorted(declared)} in {case.reference.name}, got {sorted(found)}",
            "is it of this dataset?",
        )
    return labels.astype(np.uint8 if table.size <= 256 else np.uint16)


def transposed_and_cropped(
    labels: NDArray[Any], outputs: Outputs, properties: dict[str, Any]
) -> NDArray[Any]:
    """A label map of an image as nnU-Net's preprocessing leaves the image.

    Raises:
        CaseError: it is of another image.
    """
    moved = labels.transpose(outputs.transpose_forward)
    if list(moved.shape) != [int(n) for n in properties["shape_before_cropping"]]:
        raise CaseError(
            f"expected a reference of shape {tuple(properties['shape_before_cropping'])} (transposed), got "
            f"{moved.shape}",
            "its image has changed since the prediction",
        )
    return moved[tuple(slice(int(a), int(b)) for a, b in properties["bbox_used_for_cropping"])]


def cached(case: OutOfFoldCase, *, outputs: Outputs, folder: Path) -> CachedCase:
    """A case from the cache, computed where it is not there or its files have changed.

    Args:
        case: the case.
        outputs: of the network.
        folder: of the cache.

    Raises:
        CaseError: the case cannot be used.
    """
    record = folder / f"{case.name}.json"
    files = [case.probabilities, case.properties, case.reference]
    try:
        stamps = [[file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    except OSError as error:
        raise CaseError(f"a file is missing ({error})", "validate the fold again with --val --npz") from error
    content = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if content.get("stamps") != stamps:
        folder.mkdir(parents=True, exist_ok=True)
        content = {"stamps": stamps, **_compute(case, outputs, folder)}
        write_text(record, json.dumps(content))
    return CachedCase(
        case.name,
        case.fold,
        np.load(folder / f"{case.name}.probabilities.npy", mmap_mode="r"),
        np.load(folder / f"{case.name}.labels.npy", mmap_mode="r"),
        np.array(content["points"], np.int64).reshape(-1, 3),
        np.array(content["error_certainty"], np.int64),
        np.array(content["confusion"], np.int64),
        stamps,
    )


def _compute(case: OutOfFoldCase, outputs: Outputs, folder: Path) -> dict[str, Any]:
    properties = read_properties(case.properties)
    reference = transposed_and_cropped(read_reference(case, outputs), outputs, properties)
    shape = outputs.grid_shape(properties)
    labels = labels_to_grid(reference, shape)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as scratch:
        whole = open_probabilities(
            case.probabilities, outputs=outputs, properties=properties, scratch=Path(scratch)
        )
        with whole_file(folder / f"{case.name}.probabilities.npy") as temporary:
            grid = to_grid(whole, shape=shape, has_regions=outputs.has_regions, file=temporary)
            grid.flush()  # type: ignore[attr-defined]
    with whole_file(folder / f"{case.name}.labels.npy") as temporary:
        np.save(temporary, labels)
    return _measured(grid, labels, outputs, seed=crc32(case.name.encode()))


def _measured(
    grid: NDArray[np.float16], labels: NDArray[Any], outputs: Outputs, *, seed: int
) -> dict[str, Any]:
    """What training asks of a case, plane by plane."""
    size, ignore = outputs.table.size, outputs.table.ignore
    confusion = np.zeros((size, size), np.int64)
    errors = np.zeros(BINS, np.int64)
    foreground = np.zeros(labels.shape, bool)
    for number, reference in enumerate(labels):
        plane = grid[:, number].astype(np.float32)
        predicted = outputs.label_manager.convert_probabilities_to_segmentation(plane).astype(labels.dtype)
        counts = np.ones(reference.shape, bool) if ignore is None else reference != ignore
        confusion += confusion_matrix(predicted[counts], reference[counts], size=size)
        wrong = counts & (predicted != reference)
        sure = certainty(plane, has_regions=outputs.has_regions)[wrong]
        errors += np.histogram(sure, bins=BINS, range=(0, 1))[0]
        foreground[number] = ((predicted > 0) | (reference > 0)) & counts
    places = np.flatnonzero(foreground)
    chosen = np.random.default_rng(seed).permutation(len(places))[:POINTS]
    points = np.stack(np.unravel_index(places[chosen], labels.shape), axis=1)
    return {
        "points": points.tolist(),
        "error_certainty": errors.tolist(),
        "confusion": confusion.tolist(),
    }
