"""From labels in the cropped, transposed grid to nnU-Net's files, which appear whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, insert_crop_into_image
from batchgenerators.utilities.file_and_folder_operations import save_pickle
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.files import whole_file
from nnunet_ext.inference.model import OutputFormat
from nnunet_ext.inference.planes import label_dtype


def restored_labels(labels: NDArray[Any], *, model: OutputFormat, properties: dict[str, Any]) -> NDArray[Any]:
    """The label map of the whole image, with its axes as the reader had them.

    Args:
        labels: (z, y, x), transposed and cropped as nnU-Net's preprocessing left the image.
        model: that predicted them.
        properties: nnU-Net's, of the case.
    """
    values = labels.astype(label_dtype(model), copy=False)
    return restored(values, fill=0, plans_manager=model.plans_manager, properties=properties)


def restored(
    values: NDArray[Any], *, fill: int, plans_manager: Any, properties: dict[str, Any]
) -> NDArray[Any]:
    """Values of the whole image, with its axes as the reader had them.

    Args:
        values: (z, y, x), transposed and cropped as nnU-Net's preprocessing left the image.
        fill: what stands outside of nnU-Net's crop.
        plans_manager: nnU-Net's.
        properties: nnU-Net's, of the case.
    """
    whole = np.full(properties["shape_before_cropping"], fill, values.dtype)
    whole = insert_crop_into_image(whole, values, properties["bbox_used_for_cropping"])
    return np.asarray(whole.transpose(plans_manager.transpose_backward))


def write_labels(
    labels: NDArray[Any], file: Path, *, model: OutputFormat, properties: dict[str, Any]
) -> None:
    """Write a label map with the plans' own reader and writer, in the geometry of the image.

    Args:
        labels: as :func:`restored_labels` takes them.
        file: with the model's ending.
        model: that predicted them.
        properties: nnU-Net's, of the case.

    Raises:
        OSError: it could not be written.
    """
    whole = restored_labels(labels, model=model, properties=properties)
    writer = model.plans_manager.image_reader_writer_class()
    with whole_file(file) as temporary:
        writer.write_seg(whole, str(temporary), properties)


def put_plane(volume: NDArray[Any], axis: int, number: int, plane: Tensor) -> None:
    """Write a plane (heads, rows, columns) into a volume (heads, z, y, x), along axis 0 or 1.

    Example:
        >>> import torch
        >>> volume = np.zeros((1, 2, 3, 1))
        >>> put_plane(volume, 1, 2, torch.ones(1, 2, 1))
        >>> volume[0, :, :, 0].tolist()
        [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    """
    values = plane.cpu().numpy()
    if axis == 0:
        volume[:, number] = values
    else:
        volume[:, :, number] = values


class ProbabilityVolume:
    """Probabilities of a case in a file on disk, filled plane by plane, in the axes of the image.

    Use it as the ``probabilities`` of a predictor, then :meth:`save` it. Outside of nnU-Net's crop everything
    is background.

    Args:
        file: ``.npy`` for the while; on a disk with room for heads x image in float32.
        model: that predicts.
        properties: nnU-Net's, of the case.
    """

    def __init__(self, file: Path, *, model: OutputFormat, properties: dict[str, Any]) -> None:
        self._file = file
        self._properties = properties
        plans = model.plans_manager
        transposed = properties["shape_before_cropping"]
        shape = (model.heads, *(int(transposed[axis]) for axis in plans.transpose_backward))
        self._whole = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        box: tuple[slice, ...] = bounding_box_to_slice(properties["bbox_used_for_cropping"])
        transposed_whole = self._whole.transpose([0, *(axis + 1 for axis in plans.transpose_forward)])
        self._crop = transposed_whole[(slice(None), *box)]
        if not model.label_manager.has_regions and self._crop.size < self._whole.size:
            self._whole[0] = 1

    def __call__(self, axis: int, number: int, plane: Tensor) -> None:
        """Take in a plane (heads, rows, columns), number ``number`` along ``axis`` 0 or 1."""
        put_plane(self._crop, axis, number, plane)

    def save(self, file: Path) -> None:
        """Write ``file`` (``.npz``) and its ``.pkl`` as nnU-Net does, for its ensembling; frees the disk.

        Raises:
            OSError: they could not be written.
        """
        with whole_file(file.with_name(file.name.removesuffix(".npz") + ".pkl")) as temporary:
            save_pickle(self._properties, str(temporary))
        with whole_file(file) as temporary:
            np.savez_compressed(temporary, probabilities=self._whole)
        del self._crop, self._whole
        self._file.unlink()
