"""Skip fusions: how upsampled deep features meet the encoder's features of the same level."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from nnunet_ext.blocks.attention import SqueezeExcitation
from nnunet_ext.blocks.gates import AttentionGate, GridAttentionGate
from nnunet_ext.blocks.settings import LayerSettings

PERMUTATION_SEED = 20231  # part of nothing but new networks: the permutation itself is in the checkpoint


class SkipFusion(nn.Module):
    """Base of the skip fusions: ``forward(deep, skip)``.

    Attributes:
        output_channels: channels of the fused feature map, which the decoder's stage block reads.
    """

    output_channels: int


class UpsampleConcat(SkipFusion):
    """The plain skip: upsample the deep features by transposed convolution and concatenate the skip.

    Reference:
        Ronneberger et al., U-Net, 2015; transposed convolution with kernel = stride as in nnU-Net.

    Differences from the paper:
        none known.

    Args:
        deep_channels: channels of the feature map from below.
        skip_channels: channels of the encoder's feature map.
        stride: factor between the two grids along each axis.
        settings: layers of the plan.

    Example:
        >>> import torch
        >>> fuse = UpsampleConcat(8, 4, stride=(2, 2), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> fuse(torch.zeros(1, 8, 3, 3), torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    def __init__(
        self, deep_channels: int, skip_channels: int, *, stride: Sequence[int], settings: LayerSettings
    ) -> None:
        super().__init__()
        self.output_channels = 2 * skip_channels
        self.skip_channels = skip_channels
        self.upsample = settings.upsampling(deep_channels, skip_channels, stride)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(B, deep, *small), (B, skip, *large) -> (B, 2 * skip, *large)."""
        return torch.cat((self.upsample(deep), skip), dim=1)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; ``input_size`` is the size of the skip."""
        return self.skip_channels * prod(input_size)


class GatedConcat(UpsampleConcat):
    """The plain skip with an attention gate on the encoder's features.

    Reference:
        Paper 000 (coronary arteries), figures 4 and 5 and equation 1: gates on every skip; paper 001.

    Differences from the paper:
        - See the gate that is used.

    Args:
        deep_channels: channels of the feature map from below.
        skip_channels: channels of the encoder's feature map.
        stride: factor between the two grids along each axis.
        settings: layers of the plan.
        grid: gate by the deep features on their own grid (``GridAttentionGate``) instead of by the upsampled
            ones (``AttentionGate``).

    Example:
        >>> import torch
        >>> fuse = GatedConcat(8, 4, stride=(2, 2), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> fuse(torch.zeros(1, 8, 3, 3), torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    def __init__(
        self,
        deep_channels: int,
        skip_channels: int,
        *,
        stride: Sequence[int],
        settings: LayerSettings,
        grid: bool = False,
    ) -> None:
        super().__init__(deep_channels, skip_channels, stride=stride, settings=settings)
        self.stride = tuple(stride)
        self.grid = grid
        self.gate: AttentionGate | GridAttentionGate
        if grid:
            self.gate = GridAttentionGate(skip_channels, deep_channels, stride=stride, settings=settings)
        else:
            self.gate = AttentionGate(skip_channels, skip_channels, settings=settings)

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(B, deep, *small), (B, skip, *large) -> (B, 2 * skip, *large)."""
        upsampled = self.upsample(deep)
        gated = self.gate(skip, deep if self.grid else upsampled)
        return torch.cat((upsampled, gated), dim=1)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; ``input_size`` is the size of the skip."""
        gate = self.gate.compute_conv_feature_map_size(input_size, self.stride)
        return super().compute_conv_feature_map_size(input_size) + gate


class AttentionFusion(SkipFusion):
    """Channel attention over one half of the deep channels, spatial attention over the other (called AF).

    The deep features are upsampled by interpolation and split into two halves of channels. The first half
    and the encoder's features, side by side, are weighted by channel; the second half plus the encoder's
    features is weighted by voxel; both are mixed by a convolution.

    Reference:
        Paper 002 (AFU-Net), section on attention fusion, equations 3 to 7 and figure 3.

    Differences from the paper:
        - Steps that its equations leave out and its text and figure have (the ReLU, the two pointwise
          convolutions behind the attentions) are there.
        - The random halving of channels is drawn once, from a fixed seed, and kept in the checkpoint. Drawing
          it at every call would make prediction random, and no decoder could learn what a channel means.
        - An odd number of deep channels gives the first half one more.
        - The 7x7 kernel of the spatial attention is 3 along axes where the plan's kernel is 1.

    Args:
        deep_channels: channels of the feature map from below; at least 2.
        skip_channels: channels of the encoder's feature map, and of the output.
        kernel_size: the plan's kernel at this level.
        settings: layers of the plan.

    Raises:
        ValueError: ``deep_channels`` is below 2.

    Example:
        >>> import torch
        >>> fuse = AttentionFusion(8, 4, kernel_size=(3, 3), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> fuse(torch.zeros(1, 8, 3, 3), torch.zeros(1, 4, 6, 6)).shape
        torch.Size([1, 4, 6, 6])
    """

    permutation: torch.Tensor

    def __init__(
        self, deep_channels: int, skip_channels: int, *, kernel_size: Sequence[int], settings: LayerSettings
    ) -> None:
        super().__init__()
        if deep_channels < 2:
            raise ValueError(
                f"attention fusion halves the deep channels and needs at least 2, got {deep_channels}: plan "
                "with more features"
            )
        self.output_channels = skip_channels
        self.deep_channels = deep_channels
        self.settings = settings
        self.halves = (deep_channels - deep_channels // 2, deep_channels // 2)
        generator = torch.Generator().manual_seed(PERMUTATION_SEED)
        self.register_buffer("permutation", torch.randperm(deep_channels, generator=generator))
        spatial_kernel = tuple(3 if k == 1 else 7 for k in kernel_size)
        self.lateral = settings.pointwise(skip_channels, self.halves[1])
        self.channel_gate = SqueezeExcitation(deep_channels, settings=settings)
        self.channel_mix = settings.pointwise(deep_channels, deep_channels)
        self.spatial_gate = settings.conv(2, 1, kernel_size=spatial_kernel, bias=True)
        self.spatial_mix = settings.pointwise(self.halves[1], self.halves[1])
        self.mix = nn.Sequential(
            settings.conv(deep_channels + self.halves[1], skip_channels, kernel_size=kernel_size),
            settings.norm_and_activation(skip_channels),
        )

    def forward(self, deep: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """(B, deep, *small), (B, skip, *large) -> (B, skip, *large)."""
        # Interpolation treats each channel alone, so the smaller tensor is the one to permute.
        upsampled = self.settings.resize(deep.index_select(1, self.permutation), skip.shape[2:])
        first, second = upsampled.split(self.halves, dim=1)
        lateral = self.lateral(skip)
        by_channel = self.channel_mix(self.channel_gate(torch.cat((first, lateral), dim=1)))
        summed = second + lateral
        by_voxel = self.spatial_mix(summed * self.spatial_weights(summed))
        output: torch.Tensor = self.mix(torch.cat((by_voxel, by_channel), dim=1))
        return output

    def spatial_weights(self, summed: torch.Tensor) -> torch.Tensor:
        """The spatial attention, in (0, 1): (B, C, *spatial) -> (B, 1, *spatial)."""
        pooled = torch.cat((summed.mean(dim=1, keepdim=True), summed.amax(dim=1, keepdim=True)), dim=1)
        return torch.sigmoid(self.spatial_gate(pooled))

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; ``input_size`` is the size of the skip."""
        channels = 2 * self.halves[1] + self.deep_channels + 1 + self.output_channels
        return channels * prod(input_size) + self.channel_gate.compute_conv_feature_map_size(input_size)
