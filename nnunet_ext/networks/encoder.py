"""The encoder of the U-Net: stages from the full resolution down to the bottleneck."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nnunet_ext.blocks import LayerSettings
from nnunet_ext.networks.geometry import PlannedGeometry, feature_map_sizes
from nnunet_ext.networks.recompute import can_be_computed_twice, draws_random_numbers, economical
from nnunet_ext.networks.sockets import Sockets, StagePlace, conv_feature_map_size


class EncoderStage(nn.Module):
    """Pooling, the network's block, dropout."""

    def __init__(
        self,
        *,
        pool: nn.Module,
        pool_stride: tuple[int, ...],
        block: nn.Module,
        dropout: nn.Module,
        recompute: bool,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.draws_random_numbers = draws_random_numbers([block])
        self.pool_stride = pool_stride
        self.pool = pool
        self.block = block
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C_above, *spatial_above) -> (B, C_s, *spatial_s)."""
        pooled = self.pool(x)
        if self.recompute:
            features = economical(self.block, pooled, draws_random_numbers=self.draws_random_numbers)
        else:
            features = self.block(pooled)
        output: torch.Tensor = self.dropout(features)
        return output

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; ``input_size`` is the size before pooling and strides."""
        pooled = tuple(n // s for n, s in zip(input_size, self.pool_stride, strict=True))
        return conv_feature_map_size(self.block, pooled)


class UNetEncoder(nn.Module):
    """Stages from the full resolution down to the bottleneck; returns the feature map of each.

    Args:
        input_channels: channels of the image.
        geometry: stages, features, kernels, strides and convolutions of the plan.
        settings: layers of the plan.
        sockets: the network's plugs.
    """

    def __init__(
        self, *, input_channels: int, geometry: PlannedGeometry, settings: LayerSettings, sockets: Sockets
    ) -> None:
        super().__init__()
        self.strides = geometry.strides
        self.output_channels = geometry.features
        self.kernel_sizes = geometry.kernel_sizes
        self.conv_op = settings.conv_op
        no_stride = (1,) * settings.dim
        pools = sockets.downsampling == "max_pool"
        stages = []
        for level, (stride, features, kernel_size, convolutions) in enumerate(geometry.encoder_stages()):
            pool_stride = stride if pools else no_stride
            place = StagePlace(
                input_channels=input_channels,
                output_channels=features,
                kernel_size=kernel_size,
                stride=no_stride if pools else stride,
                convolutions=convolutions,
                level=level,
            )
            block = sockets.stage_block(place, settings)
            stage = EncoderStage(
                pool=settings.max_pooling(pool_stride),
                pool_stride=pool_stride,
                block=block,
                dropout=nn.Dropout(sockets.encoder_dropout) if sockets.encoder_dropout else nn.Identity(),
                recompute=sockets.recompute == "stages" and can_be_computed_twice([block], settings),
            )
            stages.append(stage)
            input_channels = features
        self.stages = nn.ModuleList(stages)
        self.bottleneck: nn.Module | None = None
        if sockets.bottleneck is not None:
            deepest = StagePlace(
                input_channels=input_channels,
                output_channels=input_channels,
                kernel_size=geometry.kernel_sizes[-1],
                stride=no_stride,
                convolutions=1,
                level=len(stages) - 1,
            )
            self.bottleneck = sockets.bottleneck(deepest, settings)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """(B, C, *spatial) -> feature maps (B, C_s, *spatial_s), full resolution first."""
        skips = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        if self.bottleneck is not None:
            skips[-1] = self.bottleneck(skips[-1])
        return skips

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        sizes = feature_map_sizes(input_size, self.strides)
        places = zip(self.stages, [tuple(input_size), *sizes[:-1]], strict=True)
        total = sum(conv_feature_map_size(stage, size) for stage, size in places)
        if self.bottleneck is not None:
            total += conv_feature_map_size(self.bottleneck, sizes[-1])
        return total
