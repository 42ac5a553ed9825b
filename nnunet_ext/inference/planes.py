"""Planes of a network's output: resampled to the image's grid, and turned into labels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.inference.cases import PreparedCase
from nnunet_ext.inference.model import Model, OutputFormat
from nnunet_ext.inference.resampling import axis_maps, resampled_planes, resampled_whole

logger = logging.getLogger(__name__)

Labels = NDArray[Any]
# Gets the number of a plane along an axis and its probabilities (heads, rows, columns).
ProbabilitySink = Callable[[int, int, Tensor], None]


class Planned(Protocol):
    """What has plans and a configuration of nnU-Net."""

    @property
    def plans_manager(self) -> Any:
        """nnU-Net's."""

    @property
    def configuration_manager(self) -> Any:
        """nnU-Net's."""


def spacings_mm(case: PreparedCase, model: Planned) -> tuple[list[float], list[float]]:
    """Of the network's output and of the image, transposed, (z, y, x); as nnU-Net's export takes them."""
    image = [float(case.properties["spacing"][axis]) for axis in model.plans_manager.transpose_forward]
    network = [float(s) for s in model.configuration_manager.spacing]
    return (network if len(network) == 3 else [image[0], *network]), image


def plan_of(case: PreparedCase, model: Planned) -> Any:
    """How outputs come back to the image's grid, axis by axis; None where only the whole volume can."""
    current, new = spacings_mm(case, model)
    return axis_maps(
        model.configuration_manager.resampling_fn_probabilities,
        shape=case.data.shape[1:],
        new_shape=_image_shape(case),
        current_spacing_mm=current,
        new_spacing_mm=new,
    )


def output_planes(
    planes: Iterator[Tensor], *, case: PreparedCase, model: Planned, axis: int
) -> Iterator[Tensor]:
    """Planes of the network's output, resampled to the image's grid.

    Args:
        planes: (heads, rows, columns) in order along ``axis``: logits, or probabilities.
        case: that they belong to.
        model: its model, or what else has the plans.
        axis: 0 or 1; for 1, rows are the volume's axis 0. Must be 0 where :func:`plan_of` is None.
    """
    maps = plan_of(case, model)
    if maps is not None:
        return resampled_planes(planes, [maps[a] for a in (axis, 1 - axis, 2)])
    function = model.configuration_manager.resampling_fn_probabilities
    logger.info(
        "%s: the plan's resampling cannot be done plane by plane; nnU-Net's own function takes the whole "
        "volume, which needs memory for classes x volume",
        case.files.name,
    )
    return resampled_whole(planes, function, _image_shape(case), *spacings_mm(case, model))


def collect_labels(
    planes: Iterator[Tensor],
    *,
    case: PreparedCase,
    model: Model,
    axis: int,
    probabilities: ProbabilitySink | None = None,
    are_probabilities: bool = False,
) -> Labels:
    """Label map of resampled planes.

    Args:
        planes: (heads, rows, columns) in order along ``axis``, in the image's grid.
        case: that they belong to.
        model: its model.
        axis: 0 or 1.
        probabilities: is given the probabilities of every plane.
        are_probabilities: planes hold probabilities, not logits.
    """
    manager = model.label_manager
    labels = np.zeros(_image_shape(case), label_dtype(model))
    view = labels if axis == 0 else labels.swapaxes(0, 1)
    for number, plane in enumerate(planes):
        if probabilities is not None and not are_probabilities:
            values = manager.apply_inference_nonlin(plane)
            view[number] = _labels_of(values, manager, are_probabilities=True)
        else:
            values = plane
            view[number] = _labels_of(values, manager, are_probabilities=are_probabilities)
        if probabilities is not None:
            probabilities(axis, number, values)
    return labels


def label_dtype(model: OutputFormat) -> type[np.unsignedinteger[Any]]:
    """nnU-Net's type of label maps."""
    return np.uint8 if len(model.label_manager.foreground_labels) < 255 else np.uint16


def _labels_of(plane: Tensor, manager: Any, *, are_probabilities: bool) -> Labels:
    if type(manager) is LabelManager and not manager.has_regions:
        # What nnU-Net's own does on the CPU, without moving all classes there. A voxel's classes are laid
        # side by side: so torch compares 16 of them in a third of the time.
        return np.asarray(plane.movedim(0, -1).contiguous().argmax(-1).cpu().numpy())
    convert = (
        manager.convert_probabilities_to_segmentation
        if are_probabilities
        else manager.convert_logits_to_segmentation
    )
    return np.asarray(convert(plane.cpu()))


def _image_shape(case: PreparedCase) -> list[int]:
    return [int(n) for n in case.properties["shape_after_cropping_and_before_resampling"]]
