"""What a paper asks of nnU-Net's plans, and how a plan differs from it. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

CT = "CTNormalization"
INTENSITY = "foreground_intensity_properties_per_channel"


@dataclass(frozen=True)
class Preset:
    """The fields that a paper decides; None where it says nothing and nnU-Net's planner decides.

    Attributes:
        configuration: nnU-Net's configuration that the paper's network is trained in.
        spacing_mm: (z, y, x).
        patch_size: voxels, (z, y, x) or (y, x).
        batch_size: patches a step.
        window: HU that become ``window_becomes``, in channels of CT.
        window_becomes: values of the two ends.
        order: of the interpolation of images.
        separate_z: False interpolates thick slices like thin ones; nnU-Net takes the nearest slice there.
        base_features: channels of the first level.
    """

    configuration: Literal["2d", "3d_fullres"] = "3d_fullres"
    spacing_mm: tuple[float, float, float] | None = None
    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = None
    window: tuple[float, float] | None = None
    window_becomes: tuple[float, float] = (-1.0, 1.0)
    order: int | None = None
    separate_z: bool | None = None
    base_features: int | None = None


def window_properties(window: tuple[float, float], becomes: tuple[float, float]) -> dict[str, float]:
    """A fixed window in the fields that nnU-Net's CTNormalization reads.

    Args:
        window: HU, low and high; what lies outside is clipped.
        becomes: values of low and high.

    Raises:
        ValueError: one of the two does not go from low to high.

    Example:
        >>> window_properties((-150, 150), (-1, 1))
        {'percentile_00_5': -150, 'percentile_99_5': 150, 'mean': 0.0, 'std': 150.0}
        >>> window_properties((-200, 1300), (0, 1))["mean"]
        -200.0
    """
    for low, high in (window, becomes):
        if not low < high:
            raise ValueError(f"a window must go from low to high, got {low} {high}")
    (low, high), (first, last) = window, becomes
    std = (high - low) / (last - first)
    return {"percentile_00_5": low, "percentile_99_5": high, "mean": low - first * std, "std": std}


def differences(preset: Preset, plans: Mapping[str, Any], configuration: str) -> tuple[str, ...]:
    """Where a configuration of nnU-Net's plans is not what the preset asks for.

    Args:
        preset: of a paper.
        plans: as in nnU-Net's plans file.
        configuration: name of the configuration that is trained; one that inherits has those fields alone
            that it changes, so the resolved configuration belongs in ``plans``.

    Returns:
        One line for each field that differs; empty where plan and preset agree.

    Example:
        >>> plan = {"configurations": {"2d": {"batch_size": 12, "patch_size": [64, 64]}}}
        >>> differences(Preset(configuration="2d", batch_size=64), plan, "2d")
        ('batch size 12, in the paper 64',)
    """
    if configuration != preset.configuration:
        return (f"configuration {configuration}, in the paper {preset.configuration}",)
    found = plans["configurations"][configuration]
    resampling = found.get("resampling_fn_data_kwargs", {})
    rows: list[tuple[str, Any, Any]] = [
        ("spacing in mm", found.get("spacing"), preset.spacing_mm),
        ("patch", found.get("patch_size"), preset.patch_size),
        ("batch size", found.get("batch_size"), preset.batch_size),
        ("interpolation order", resampling.get("order"), preset.order),
        ("force_separate_z", resampling.get("force_separate_z"), preset.separate_z),
    ]
    if preset.base_features is not None:
        features = found["architecture"]["arch_kwargs"]["features_per_stage"][0]
        rows.append(("channels of the first level", features, preset.base_features))
    if preset.window is not None:
        wanted = window_properties(preset.window, preset.window_becomes)
        for channel in ct_channels(found["normalization_schemes"]):
            own = plans[INTENSITY][channel]
            rows += [(f"{key} of channel {channel}", own[key], wanted[key]) for key in wanted]
    return tuple(
        f"{name} {spelled(own)}, in the paper {spelled(asked)}"
        for name, own, asked in rows
        if asked is not None and spelled(own) != spelled(asked)
    )


def ct_channels(schemes: Sequence[str]) -> list[str]:
    """Channels that nnU-Net normalizes as CT, as the keys of its intensity properties.

    Example:
        >>> ct_channels(["CTNormalization", "ZScoreNormalization"])
        ['0']
    """
    return [str(i) for i, scheme in enumerate(schemes) if scheme == CT]


def spelled(value: Any) -> str:
    """One spelling for lists, tuples, whole numbers and what JSON makes of them.

    Example:
        >>> spelled((3.0, 1.0, 0.5)), spelled([64]), spelled(None)
        ('3 x 1 x 0.5', '64', 'None')
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " x ".join(spelled(v) for v in value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if is_number else str(value)
