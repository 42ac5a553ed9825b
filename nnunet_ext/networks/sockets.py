"""The three sockets of the U-Net and what a plug is told about its place.

A plug is any callable that takes a place and the plan's layers and returns a module. A module that is a stage
block or a bottleneck maps one feature map to another; a skip fusion takes ``(deep, skip)``. Each module says
what it produces through ``compute_conv_feature_map_size(input_size)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from torch import nn

from nnunet_ext.blocks import LayerSettings, SkipFusion
from nnunet_ext.networks.recompute import Recompute


@dataclass(frozen=True)
class StagePlace:
    """Where a stage block stands.

    Attributes:
        input_channels: channels that reach the block.
        output_channels: channels that the plan gives this stage.
        kernel_size: the plan's kernel of this stage.
        stride: by how much the block itself reduces each axis; 1 where the network pools before it.
        convolutions: how many the plan asks for; a residual block of a ResEnc plan counts as two.
        level: resolution level of the stage, 0 for the full resolution.
    """

    input_channels: int
    output_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    convolutions: int
    level: int


@dataclass(frozen=True)
class SkipPlace:
    """Where a skip fusion stands.

    Attributes:
        deep_channels: channels of the feature map from below, before upsampling.
        skip_channels: channels of the encoder's feature map at this level.
        stride: factor between the two grids along each axis.
        kernel_size: the plan's kernel at this level.
    """

    deep_channels: int
    skip_channels: int
    stride: tuple[int, ...]
    kernel_size: tuple[int, ...]


class CountsFeatureMaps(Protocol):
    """A module that says what its convolutions produce, as nnU-Net's planner asks for it."""

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values for one image of ``input_size`` voxels."""


def conv_feature_map_size(module: nn.Module, input_size: Sequence[int]) -> int:
    """What the convolutions of ``module`` produce for one image of ``input_size`` voxels."""
    return int(cast(CountsFeatureMaps, module).compute_conv_feature_map_size(input_size))


StagePlug = Callable[[StagePlace, LayerSettings], nn.Module]
SkipPlug = Callable[[SkipPlace, LayerSettings], SkipFusion]


@dataclass(frozen=True)
class Sockets:
    """The plugs that make one network of the skeleton.

    Attributes:
        stage_block: block of every encoder and decoder stage.
        skip_fusion: joins the deep features with the skip.
        decoder_block: block of every decoder stage where it differs.
        bottleneck: block after the deepest stage, with as many channels out as in; None for nothing.
        downsampling: ``max_pool`` pools with the plan's strides before each stage; ``strided`` hands the
            stride to the stage block.
        encoder_dropout: probability with which values are dropped after each encoder stage; the skips carry
            the dropped features. 0 for none.
        recompute: what the backward pass computes again instead of keeping it: ``nothing``; the skip fusions,
            for ``skips``; for ``stages`` also the stage blocks (see ``networks.recompute``).
        max_poolings: the network uses so many of the plan's poolings and leaves the deepest levels out.
    """

    stage_block: StagePlug
    skip_fusion: SkipPlug
    decoder_block: StagePlug | None = None
    bottleneck: StagePlug | None = None
    downsampling: Literal["max_pool", "strided"] = "max_pool"
    encoder_dropout: float = 0.0
    recompute: Recompute = "nothing"
    max_poolings: int | None = None
