"""From a predicted label map to an RTSTRUCT on the patient's own DICOM series."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.description import COLORS
from nnunet_ext.dataset_conversion.key_file import KeyFile, default_key_file
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, read_volume
from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import DicomVolume, read_series
from nnunet_ext.clinical_io.grids import (
    GRID_TOLERANCE_MM,
    corner_distance_mm,
    in_one_orientation,
    orientation,
)
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set

BACKGROUND, IGNORE = "background", "ignore"
# Distinct on gray, for structures whose dataset gives no color (after Tableau 10).
PALETTE = (
    (214, 39, 40),
    (44, 160, 44),
    (31, 119, 180),
    (255, 127, 14),
    (148, 103, 189),
    (23, 190, 207),
    (227, 119, 194),
    (188, 189, 34),
    (140, 86, 75),
    (127, 127, 127),
)
LABEL = "nnU-Net"
_OTHER_PATIENT = "give the folder of the patient that was predicted"


@dataclass(frozen=True)
class Exported:
    """What was written of one prediction.

    Attributes:
        file: the RTSTRUCT.
        voxels: number of voxels of each structure; 0 for one that was not found.
    """

    file: Path
    voxels: dict[str, int]


def export(
    prediction: Path,
    series: Path,
    *,
    description: Mapping[str, Any],
    file: Path,
    modality: str = "CT",
    key: KeyFile | None = None,
    image: Path | None = None,
) -> Exported:
    """Write one prediction as an RTSTRUCT on the series that it was made from.

    That it is the patient's own series is checked twice: by the grid, and by the key file of the dataset,
    which knows the series again, or by the voxels of the image that was predicted.

    Args:
        prediction: label map as nnU-Net writes it.
        series: folder with the DICOM series.
        description: content of the model's ``dataset.json``: names, and colors where it has some.
        file: where to write.
        modality: of the series.
        key: key file of the dataset that the case was converted into.
        image: the nnU-Net image that was predicted, as it was before any preparation.

    Raises:
        CaseError: ``wrong-series``, ``label-value``, or as ``read_series``.
        ValueError: neither ``key`` nor ``image`` is given, or the key does not know the case.
        OSError: a file cannot be read or written.
    """
    volume = _series(series, modality)
    labels = read_volume(prediction).image
    _require_grid_of(labels, volume)
    if image is not None:
        _require_voxels_of(read_volume(image).image, volume)
    elif key is not None:
        _require_series_of_case(key, prediction, volume)
    else:
        raise ValueError("give --key or --image: nothing else tells whose series this is")
    numbers = _in_the_order_of(labels, volume)
    masks = named_masks(numbers, description)
    write_structure_set(masks, volume, path=file, label=LABEL)
    return Exported(file, {named.name: int(named.mask.sum()) for named in masks})


def named_masks(numbers: NDArray[np.generic], description: Mapping[str, Any]) -> list[NamedMask]:
    """The structures of a label map, in the order of ``dataset.json``; a region has all its labels.

    Args:
        numbers: label map, (Z, Y, X).
        description: content of ``dataset.json``.

    Raises:
        CaseError: ``label-value``: the map holds a number that no structure has.

    Example:
        >>> labels = {"background": 0, "Liver": [1, 2], "GTV": 2}
        >>> masks = named_masks(np.array([[[0, 1, 2]]]), {"labels": labels})
        >>> [(named.name, int(named.mask.sum())) for named in masks]
        [('Liver', 2), ('GTV', 1)]
    """
    colors = description.get(COLORS, {})
    masks: list[NamedMask] = []
    known = {0}
    for name, value in description["labels"].items():
        values = list(value) if isinstance(value, Sequence) else [value]
        known.update(values)
        if name in (BACKGROUND, IGNORE):
            continue
        color = colors.get(name, PALETTE[len(masks) % len(PALETTE)])
        masks.append(NamedMask(name, np.isin(numbers, values), (color[0], color[1], color[2])))
    strange = sorted(set(np.unique(numbers).tolist()) - known)
    if strange:
        raise CaseError(
            "label-value",
            reason=f"the prediction holds {strange[:5]}, which dataset.json does not name",
            remedy="give the dataset.json of the model that predicted",
        )
    return masks


def description_of(predictions: Path, given: Path | None = None) -> dict[str, Any]:
    """Content of the model's ``dataset.json``, which lies beside the predictions where no other is given.

    Raises:
        ValueError: it is not there, or is no JSON.
    """
    file = given or predictions / "dataset.json"
    if not file.is_file():
        raise ValueError(f"expected the names of the labels in {file}, got none; give --dataset-json FILE")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def key_of(predictions: Path, given: Path | None = None) -> KeyFile:
    """The key that was given, else that of the dataset that a folder of predictions was trained on.

    Raises:
        ValueError: there is none, or nnU-Net's ``plans.json``, which names the dataset, is not there.
    """
    plans = predictions / "plans.json"
    instead = "give it with --key FILE, or the image that was predicted with --image FILE"
    if given is None and not plans.is_file():
        raise ValueError(f"expected {plans}, which says whose key to take, got none; {instead}")
    if given is None:
        given = default_key_file(str(json.loads(plans.read_text(encoding="utf-8"))["dataset_name"]))
    if not given.is_file():
        raise ValueError(f"expected the key of the dataset in {given}, got none; {instead}")
    return KeyFile.read(given)


def _series(folder: Path, modality: str) -> DicomVolume:
    fitting = [series for series in find_dicom(folder).series if series.modality == modality]
    if len(fitting) != 1:
        raise CaseError(
            "wrong-series",
            reason=f"expected one {modality} series in the folder, got {len(fitting)}",
            remedy="give the folder that holds this series alone",
        )
    return read_series(fitting[0])


def _require_grid_of(labels: SimpleITK.Image, volume: DicomVolume) -> None:
    """The prediction has the dataset's orientation, the series its own: turned alike they are one grid."""
    apart = corner_distance_mm(in_one_orientation(labels), in_one_orientation(volume.image))
    if apart > GRID_TOLERANCE_MM:
        raise CaseError(
            "wrong-series",
            reason="the prediction does not lie on the grid of this series"
            + (f": corners are {apart:.3g} mm apart" if np.isfinite(apart) else ": their sizes differ"),
            remedy=_OTHER_PATIENT,
        )


def _require_series_of_case(key: KeyFile, prediction: Path, volume: DicomVolume) -> None:
    case = prediction.name.partition(".")[0]
    known = key.cases.get(case, {}).get("series")
    if known is None:
        raise ValueError(f"{key.file} knows no series of {case}; give the key of its dataset, or --image")
    if key.hashed(volume.headers.uid) != known:
        raise CaseError(
            "wrong-series",
            reason="the prediction was made from another series than this",
            remedy=_OTHER_PATIENT,
        )


def _require_voxels_of(image: SimpleITK.Image, volume: DicomVolume) -> None:
    # Copies: a view of an image that nobody holds is a view of whatever comes to lie there.
    converted, original = (SimpleITK.GetArrayFromImage(in_one_orientation(i)) for i in (image, volume.image))
    if converted.shape != original.shape or not np.array_equal(converted, original):
        raise CaseError(
            "wrong-series",
            reason="the series has other voxels than the image that was predicted",
            remedy=_OTHER_PATIENT,
        )


def _in_the_order_of(labels: SimpleITK.Image, volume: DicomVolume) -> NDArray[np.generic]:
    """The label map as an array on the series' own grid."""
    turned = SimpleITK.DICOMOrient(labels, orientation(volume.image))
    array: NDArray[np.generic] = SimpleITK.GetArrayFromImage(turned)
    return array
