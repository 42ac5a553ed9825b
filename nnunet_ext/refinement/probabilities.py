"""nnU-Net's probabilities of a case: read in bounded memory, checked, in the grid that the refiner sees."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.inference.cases import CaseError
from nnunet_ext.inference.resampling import AxisMap, Kind, resampled_planes
from nnunet_ext.refinement.outputs import Outputs

MEMBER = "probabilities"
# Of a sum of probabilities from 1. nnU-Net writes float32; half precision, summed over 100 classes, is
# within it.
SUM_TOLERANCE = 0.02
_NEEDED = (
    "spacing",
    "shape_before_cropping",
    "bbox_used_for_cropping",
    "shape_after_cropping_and_before_resampling",
)
_AGAIN = "write it again (nnUNetv2_train --val --npz, nnUNetv2_predict --save_probabilities)"


def read_properties(file: Path) -> dict[str, Any]:
    """nnU-Net's properties of a case.

    Raises:
        CaseError: there are none, or they lack what is needed.
    """
    if not file.is_file():
        raise CaseError(f"expected nnU-Net's {file.name} beside the probabilities, found none", _AGAIN)
    try:
        properties: dict[str, Any] = load_pickle(str(file))
        lacking = [name for name in _NEEDED if name not in properties]
    except Exception as error:  # a damaged pickle raises anything
        raise CaseError(f"{file} cannot be read ({type(error).__name__}: {error})", _AGAIN) from error
    if lacking:
        raise CaseError(f"expected {', '.join(lacking)} in {file}, found none", _AGAIN)
    return properties


def open_probabilities(
    file: Path, *, outputs: Outputs, properties: Mapping[str, Any], scratch: Path
) -> NDArray[Any]:
    """Probabilities of a case as nnU-Net's preprocessing left the image: transposed and cropped.

    They are unpacked to disk: a volume of 512 x 512 x 275 voxels with 8 classes has 2.3 GB.

    Args:
        file: nnU-Net's ``.npz``.
        outputs: of the network.
        properties: of the case.
        scratch: where to unpack; a file of the case's name with the ending ``.npy`` is left there.

    Returns:
        (L, z, y, x), a view of that file.

    Raises:
        CaseError: the file is damaged, or is of other classes or of another image.
    """
    unpacked = scratch / f"{file.stem}.npy"
    try:
        with (
            zipfile.ZipFile(file) as archive,
            archive.open(f"{MEMBER}.npy") as source,
            unpacked.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 22)
        whole = np.load(unpacked, mmap_mode="r")
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, FileNotFoundError) as error:
        raise CaseError(f"{file} cannot be read ({type(error).__name__}: {error})", _AGAIN) from error
    before = [int(n) for n in properties["shape_before_cropping"]]
    expected = (outputs.heads, *(before[axis] for axis in outputs.plans_manager.transpose_backward))
    if whole.shape != expected:
        raise CaseError(
            f"expected probabilities of shape {expected} (classes or regions, image), got {whole.shape} in "
            f"{file.name}",
            "they are of another model or image: predict with the model that the refiner belongs to",
        )
    transposed = whole.transpose([0, *(axis + 1 for axis in outputs.transpose_forward)])
    box: tuple[slice, ...] = bounding_box_to_slice(properties["bbox_used_for_cropping"])
    view: NDArray[Any] = transposed[(slice(None), *box)]
    return view


def planes_of(volume: NDArray[Any]) -> Iterator[Tensor]:
    """Planes (L, y, x) of a volume (L, z, y, x), in float32, one at a time in memory."""
    for number in range(volume.shape[1]):
        yield torch.from_numpy(np.ascontiguousarray(volume[:, number], np.float32))


def checked(planes: Iterator[Tensor], *, has_regions: bool) -> Iterator[Tensor]:
    """The same planes.

    Raises:
        CaseError: they hold no probabilities.

    Example:
        >>> next(checked(iter([torch.full((2, 1, 1), 0.7)]), has_regions=False))
        Traceback (most recent call last):
        nnunet_ext.inference.cases.CaseError: expected probabilities that sum to 1 over the classes, got ...
    """
    for plane in planes:
        low, high = float(plane.min()), float(plane.max())
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # nan fails every comparison
            raise CaseError(f"expected probabilities from 0 to 1, got {low:g} to {high:g}", _AGAIN)
        if not has_regions and (off := float((plane.sum(0) - 1).abs().max())) > SUM_TOLERANCE:
            raise CaseError(
                f"expected probabilities that sum to 1 over the classes, got {off:g} more or less",
                "they are of regions, or of another model",
            )
        yield plane


def resampled(
    planes: Iterator[Tensor], shape: Sequence[int], new_shape: Sequence[int], kind: Kind = "linear"
) -> Iterator[Tensor]:
    """Planes (L, y, x) of a volume, resampled to another shape, as nnU-Net places voxels.

    Args:
        planes: all of the volume, in order.
        shape: (z, y, x) of the volume.
        new_shape: of the result.
        kind: linear, or nearest for label maps.
    """
    return resampled_planes(planes, [AxisMap(a, b, kind) for a, b in zip(shape, new_shape, strict=True)])


def to_grid(
    probabilities: NDArray[Any], *, shape: Sequence[int], has_regions: bool, file: Path
) -> NDArray[np.float16]:
    """Probabilities in the refiner's grid, in half precision, in a file.

    Args:
        probabilities: (L, z, y, x) in the image's grid.
        shape: of the refiner's grid.
        has_regions: they are of regions.
        file: ``.npy`` to write.

    Raises:
        CaseError: they are no probabilities.
    """
    grid = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(len(probabilities), *shape))
    planes = checked(planes_of(probabilities), has_regions=has_regions)
    for number, plane in enumerate(resampled(planes, probabilities.shape[1:], shape)):
        grid[:, number] = plane.numpy()
    return grid


def labels_to_grid(labels: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """A label map in the refiner's grid: the label of the nearest voxel.

    Example:
        >>> labels_to_grid(np.array([[[0, 1, 7, 7]]], np.uint8), (1, 1, 2)).tolist()
        [[[1, 7]]]
    """
    axes = (AxisMap(a, b, "nearest").sources()[0] for a, b in zip(labels.shape, shape, strict=True))
    return np.asarray(labels[np.ix_(*axes)])
