"""Plugs that more than one network uses."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from nnunet_ext.blocks import (
    GatedConcat,
    LayerSettings,
    PlainStage,
    ResidualStage,
    SkipFusion,
    UpsampleConcat,
)
from nnunet_ext.networks.sockets import SkipPlace, SkipPlug, StagePlace, StagePlug

Gate = Literal["additive", "grid"]


def plain_stage(*, activation_first: bool = False) -> StagePlug:
    """The plan's convolutions one after the other."""

    def stage_block(place: StagePlace, settings: LayerSettings) -> nn.Module:
        return PlainStage(
            place.input_channels,
            place.output_channels,
            convolutions=place.convolutions,
            kernel_size=place.kernel_size,
            settings=settings,
            activation_first=activation_first,
        )

    return stage_block


def residual_stage(dropout: float = 0.0, *, begins_as_shortcut: bool = True) -> StagePlug:
    """Residual blocks with as many convolutions as the plan asks for, at least one block."""

    def stage_block(place: StagePlace, settings: LayerSettings) -> nn.Module:
        return ResidualStage(
            place.input_channels,
            place.output_channels,
            blocks=max(1, place.convolutions // 2),
            stride=place.stride,
            kernel_size=place.kernel_size,
            settings=settings,
            dropout=dropout,
            begins_as_shortcut=begins_as_shortcut,
        )

    return stage_block


def gated_skip(gate: Gate) -> SkipPlug:
    """The plain skip with an attention gate.

    Raises:
        ValueError: there is no such gate.
    """
    if gate not in get_args(Gate):
        raise ValueError(f"gate must be one of {get_args(Gate)}, got {gate!r}")

    def skip_fusion(place: SkipPlace, settings: LayerSettings) -> SkipFusion:
        return GatedConcat(
            place.deep_channels,
            place.skip_channels,
            stride=place.stride,
            settings=settings,
            grid=gate == "grid",
        )

    return skip_fusion


def plain_skip(place: SkipPlace, settings: LayerSettings) -> SkipFusion:
    """The skip of nnU-Net's own networks."""
    return UpsampleConcat(place.deep_channels, place.skip_channels, stride=place.stride, settings=settings)
