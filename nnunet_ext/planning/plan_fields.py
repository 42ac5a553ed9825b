"""Fields of nnU-Net's plans: windows, and the file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2.utilities.json_export import recursive_fix_for_json_export

from nnunet_ext.files import write_text
from nnunet_ext.presets import INTENSITY, ct_channels, window_properties

logger = logging.getLogger(__name__)


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


def plain(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with numbers and lists as they will be read back."""
    fixed = dict(plan)
    recursive_fix_for_json_export(fixed)
    reread: dict[str, Any] = json.loads(json.dumps(fixed))
    return reread


def write(plans: dict[str, Any], file: Path) -> None:
    """Write the plans by rename."""
    write_text(file, json.dumps(plans, indent=4))
