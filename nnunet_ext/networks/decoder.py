"""The decoder of the U-Net: stages from the bottleneck up, with a segmentation head on each."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from nnunet_ext.blocks import LayerSettings
from nnunet_ext.networks.geometry import PlannedGeometry, feature_map_sizes
from nnunet_ext.networks.recompute import (
    Recompute,
    can_be_computed_twice,
    draws_random_numbers,
    economical,
)
from nnunet_ext.networks.sockets import SkipPlace, Sockets, StagePlace, conv_feature_map_size


class UNetDecoder(nn.Module):
    """Stages from the bottleneck up; a segmentation head on each.

    Every head always exists, so that checkpoints with and without deep supervision interchange. A network of
    one stage has no decoder stage; its only head reads the encoder.

    Args:
        num_classes: channels of each output.
        geometry: stages, features, kernels, strides and convolutions of the plan.
        settings: layers of the plan.
        sockets: the network's plugs.
        deep_supervision: return the outputs of all stages, full resolution first, instead of one tensor.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        geometry: PlannedGeometry,
        settings: LayerSettings,
        sockets: Sockets,
        deep_supervision: bool,
    ) -> None:
        super().__init__()
        self.deep_supervision = deep_supervision
        self.num_classes = num_classes
        self.strides = geometry.strides
        fusions: list[nn.Module] = []
        stages: list[nn.Module] = []
        heads: list[nn.Module] = []
        for level, convolutions in geometry.decoder_stages():
            features, kernel_size = geometry.features[level], geometry.kernel_sizes[level]
            fusion = sockets.skip_fusion(
                SkipPlace(
                    deep_channels=geometry.features[level + 1],
                    skip_channels=features,
                    stride=geometry.strides[level + 1],
                    kernel_size=kernel_size,
                ),
                settings,
            )
            place = StagePlace(
                input_channels=fusion.output_channels,
                output_channels=features,
                kernel_size=kernel_size,
                stride=(1,) * settings.dim,
                convolutions=convolutions,
                level=level,
            )
            fusions.append(fusion)
            stages.append((sockets.decoder_block or sockets.stage_block)(place, settings))
            heads.append(settings.pointwise(features, num_classes, bias=True))
        if not heads:
            heads.append(settings.pointwise(geometry.features[0], num_classes, bias=True))
        twice = can_be_computed_twice([*fusions, *stages], settings)
        self.recompute: Recompute = sockets.recompute if twice else "nothing"
        self.draws_random_numbers = draws_random_numbers([*fusions, *stages])
        self.fusions = nn.ModuleList(fusions)
        self.stages = nn.ModuleList(stages)
        # nnU-Net's fine-tuning leaves out what is called seg_layers.
        self.seg_layers = nn.ModuleList(heads)

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor | list[torch.Tensor]:
        """Feature maps of the encoder -> logits (B, num_classes, *spatial), or a list of them."""
        deep = skips[-1]
        features = []
        for fusion, stage, skip in zip(self.fusions, self.stages, reversed(skips[:-1]), strict=True):
            deep = self._up(fusion, stage, deep, skip)  # (B, C_s, *spatial_s)
            features.append(deep)
        if not features:
            features.append(deep)
        if not self.deep_supervision:
            logits: torch.Tensor = self.seg_layers[-1](features[-1])
            return logits
        outputs = [head(feature) for head, feature in zip(self.seg_layers, features, strict=True)]
        return outputs[::-1]

    def _up(
        self, fusion: nn.Module, stage: nn.Module, deep: torch.Tensor, skip: torch.Tensor
    ) -> torch.Tensor:
        """One level up."""
        if self.recompute == "nothing":
            output: torch.Tensor = stage(fusion(deep, skip))
        elif self.recompute == "skips":
            output = stage(economical(fusion, deep, skip, draws_random_numbers=self.draws_random_numbers))
        else:
            output = economical(
                lambda deep, skip: stage(fusion(deep, skip)),
                deep,
                skip,
                draws_random_numbers=self.draws_random_numbers,
            )
        return output

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image; ``input_size`` is the encoder's."""
        sizes = feature_map_sizes(input_size, self.strides)
        sizes = sizes[-2::-1] if len(sizes) > 1 else sizes
        total = 0
        for fusion, stage, size in zip(self.fusions, self.stages, sizes, strict=False):
            total += conv_feature_map_size(fusion, size) + conv_feature_map_size(stage, size)
        heads = sizes if self.deep_supervision else sizes[-1:]
        return total + sum(self.num_classes * prod(size) for size in heads)
