"""Where an organ lies in the training patients: where to look when a coarse network finds nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.configuration import default_num_processes
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from numpy.typing import NDArray

from nnunet_ext.cascade.body import body_box
from nnunet_ext.cascade.roi import group_mask, relative_center
from nnunet_ext.cascade.settings import foreground_values
from nnunet_ext.presets import INTENSITY, ct_channels
from nnunet_ext.processes import for_each_case

logger = logging.getLogger(__name__)

Position = tuple[float, ...]


def fallback_positions(
    raw_folder: str | Path,
    dataset_json: Mapping[str, Any],
    plans: Mapping[str, Any],
    groups: Mapping[str, Sequence[int]],
    *,
    processes: int = default_num_processes,
) -> dict[str, Position]:
    """The mean position of each group in the body, over the training cases that have it.

    A case that cannot be read is left out and named in the log.

    Args:
        raw_folder: of the dataset.
        dataset_json: its description.
        plans: nnU-Net's, for reading and transposing.
        groups: values of labels by name; no values are all of the foreground.
        processes: that read, at most.

    Returns:
        Centers relative to the box of the body (``relative_center``), transposed as the plans say; none for a
        group that no case has.
    """
    cases = get_filenames_of_train_images_and_targets(str(raw_folder), dict(dataset_json))
    work = partial(
        _positions_in,
        plans=dict(plans),
        groups={name: tuple(labels or foreground_values(dataset_json)) for name, labels in groups.items()},
    )
    files = [(name, case["images"][0], case["label"]) for name, case in sorted(cases.items())]
    found = for_each_case(work, files, processes=processes, description="Where organs lie")
    for _, error in found:
        if error:
            logger.warning("left out where organs lie: %s", error)
    positions = {name: [p[name] for p, _ in found if name in p] for name in groups}
    return {
        name: tuple(round(float(v), 4) for v in np.mean(values, axis=0))
        for name, values in positions.items()
        if values
    }


def _positions_in(
    files: tuple[str, str, str], *, plans: dict[str, Any], groups: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Position], str]:
    """Positions by group, and what is wrong with the case."""
    name, image_file, label_file = files
    try:
        manager = PlansManager(plans)
        reader = manager.image_reader_writer_class()
        order = manager.transpose_forward
        image = reader.read_images([image_file])[0][0].transpose(order)
        labels = reader.read_seg(label_file)[0][0].transpose(order)
        body = body_box(_clipped(image, plans))
        found = {}
        for group, values in groups.items():
            position = relative_center(group_mask(labels, values), body, largest=False)
            if position is not None:
                found[group] = tuple(min(max(p, 0.0), 1.0) for p in position)
        return found, ""
    except Exception as error:
        return {}, f"{name}: {error}"


def _clipped(image: NDArray[Any], plans: Mapping[str, Any]) -> NDArray[Any]:
    """Of CT what nnU-Net's normalization leaves: in prediction the body is sought in that."""
    schemes = next(
        c["normalization_schemes"] for c in plans["configurations"].values() if "normalization_schemes" in c
    )
    if "0" not in ct_channels(schemes):
        return image
    window = plans[INTENSITY]["0"]
    clipped: NDArray[Any] = np.clip(image, window["percentile_00_5"], window["percentile_99_5"])
    return clipped
