"""The three sockets of the U-Net and what a plug is told about its place.

A plug is any callable that takes a place and the plan's layers and returns a module. A module that is a stage
block or a bottleneck maps one feature map to another; a skip fusion takes ``(deep, skip)``. Each module says
what it produces through ``compute_conv_feature_map_size(input_size)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, Protocol, cast

import torch
from torch import nn

from nnunet_ext.blocks import LayerSettings


@dataclass(frozen=True)
class StagePlace:
    """Where a stage block stands.

    Attributes:
        input_channels: channels that reach the block.
        output_channels: channels that the plan gives this stage.
        kernel_size: the plan's kernel of this stage.
        stride: by how much the block itself reduces each axis; 1 where the network pools before it.
        depth: convolutions (PlainConvUNet plans) or residual blocks (ResEnc plans) that the plan asks for.
    """

    input_channels: int
    output_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    depth: int


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


class SkipFusionModule(nn.Module):
    """Base of the skip fusions: ``forward(deep, skip)``.

    Attributes:
        output_channels: channels of the fused feature map, which the decoder's stage block reads.
    """

    output_channels: int


StageBlock = Callable[[StagePlace, LayerSettings], nn.Module]
SkipFusion = Callable[[SkipPlace, LayerSettings], SkipFusionModule]


class UpsampleConcat(SkipFusionModule):
    """The plain skip: upsample the deep features by transposed convolution and concatenate the skip.

    Reference:
        Ronneberger et al., U-Net, 2015; transposed convolution with kernel = stride as in nnU-Net.

    Differences from the paper:
        none known.

    Args:
        place: where the fusion stands.
        settings: layers of the plan.

    Example:
        >>> import torch
        >>> place = SkipPlace(deep_channels=8, skip_channels=4, stride=(2, 2), kernel_size=(3, 3))
        >>> fuse = UpsampleConcat(place, LayerSettings(conv_op=nn.Conv2d))
        >>> fuse(torch.zeros(1, 8, 3, 3), torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    def __init__(self, place: SkipPlace, settings: LayerSettings) -> None:
        super().__init__()
        self.output_channels = 2 * place.skip_channels
        self.skip_channels = place.skip_channels
        self.upsample = settings.upsampling(place.deep_channels, place.skip_channels, place.stride)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(B, deep, *small), (B, skip, *large) -> (B, 2 * skip, *large)."""
        return torch.cat((self.upsample(deep), skip), dim=1)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the upsampling produces; ``input_size`` is the size of the skip."""
        return self.skip_channels * prod(input_size)


@dataclass(frozen=True)
class Sockets:
    """The plugs that make one network of the skeleton.

    Attributes:
        stage_block: block of every encoder and decoder stage.
        bottleneck: block after the deepest stage, with as many channels out as in; None for nothing.
        skip_fusion: joins the upsampled deep features with the skip.
        downsampling: ``max_pool`` pools with the plan's strides before each stage; ``strided`` hands the
            stride to the stage block.
        encoder_dropout: probability with which values are dropped after each encoder stage; the skips carry
            the dropped features. 0 for none.
    """

    stage_block: StageBlock
    bottleneck: StageBlock | None = None
    skip_fusion: SkipFusion = UpsampleConcat
    downsampling: Literal["max_pool", "strided"] = "max_pool"
    encoder_dropout: float = 0.0
