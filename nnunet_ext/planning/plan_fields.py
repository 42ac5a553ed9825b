"""Fields of nnU-Net's plans: windows, shared preprocessed data, and the file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_ext.files import write_text
from nnunet_ext.presets import INTENSITY, ct_channels, window_properties

logger = logging.getLogger(__name__)

# Preprocessed data depend on these fields of a configuration and of the plans, and on nothing else in them.
DATA_FIELDS = (
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)
PLANS_DATA_FIELDS = (
    "transpose_forward",
    "image_reader_writer",
    INTENSITY,
)


def set_window(
    plans: dict[str, Any], window: tuple[float, float], *, becomes: tuple[float, float], is_optional: bool
) -> None:
    """Write a fixed window into the fields that nnU-Net's CTNormalization reads.

    Args:
        plans: changed in place.
        window: HU, (low, high).
        becomes: values of the window's ends.
        is_optional: warn where no channel is CT, instead of raising.

    Raises:
        ValueError: no channel is CT, or the window does not go from low to high.
    """
    properties = window_properties(window, becomes)
    schemes = next(
        c["normalization_schemes"] for c in plans["configurations"].values() if "normalization_schemes" in c
    )
    channels = ct_channels(schemes)
    if not channels:
        message = f"a window is for CT, and no channel of this dataset is called CT (schemes {schemes})"
        if not is_optional:
            raise ValueError(message)
        logger.warning("%s: planned without it", message)
    for channel in channels:
        plans[INTENSITY][channel].update(properties)


def share_data(plans: dict[str, Any], name: str, file: Path) -> None:
    """Point a configuration at the preprocessed data of other plans where they would be the same."""
    own = plans["configurations"][name]
    for other_file in sorted(file.parent.glob("*.json")):
        other = load_json(str(other_file))
        if not isinstance(other, dict) or "configurations" not in other:
            continue
        if any(other.get(field) != plans[field] for field in PLANS_DATA_FIELDS):
            continue
        for configuration in other["configurations"].values():
            if all(configuration.get(field) == own[field] for field in DATA_FIELDS):
                own["data_identifier"] = configuration["data_identifier"]
                return


def plain(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with numbers and lists as they will be read back."""
    fixed = dict(plan)
    recursive_fix_for_json_export(fixed)
    reread: dict[str, Any] = json.loads(json.dumps(fixed))
    return reread


def write(plans: dict[str, Any], file: Path) -> None:
    """Write the plans by rename."""
    write_text(file, json.dumps(plans, indent=4))
