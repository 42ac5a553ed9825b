"""The papers' segmentation networks: each one declares its plugs and nothing else."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunet_ext.blocks import LayerSettings, RASBlock
from nnunet_ext.blocks.separable import ATTENTION_REDUCTION
from nnunet_ext.networks.sockets import Sockets, StagePlace
from nnunet_ext.networks.unet import UNet


class RASUNet(UNet):
    """RAS U-Net: residual attention separable convolutions, max-pooling, dropout in the encoder.

    Reference:
        Zhang et al., Chinese Journal of Medical Physics 42(7), 2025, section 1.3 and figure 3 (paper 004).

    Differences from the paper:
        - Levels, features, kernels and pooling are the plan's; the paper has five levels (nine RAS blocks,
          four poolings by 2 along every axis) whatever the spacing.
        - One RAS block a level, as in the paper, whatever number of convolutions the plan asks for.
        - Upsampling, which the paper leaves open, is nnU-Net's transposed convolution.
        - Softmax (or sigmoid for regions) is applied by nnU-Net, not by the network.

    Args:
        attention_reduction: the spatial attention has ``channels // attention_reduction`` inner channels.
        encoder_dropout: probability of the dropout after each encoder block, in [0, 1).
        **plan: see ``UNet``.

    Raises:
        ValueError: see ``UNet``.

    Example:
        >>> import torch
        >>> network = RASUNet(input_channels=1, num_classes=3, n_stages=2, features_per_stage=[4, 8],
        ...                   conv_op=nn.Conv3d, kernel_sizes=[[1, 3, 3], 3], strides=[1, [1, 2, 2]])
        >>> network(torch.zeros(1, 1, 4, 8, 8)).shape
        torch.Size([1, 3, 4, 8, 8])
    """

    def __init__(
        self,
        *,
        attention_reduction: int = ATTENTION_REDUCTION,
        encoder_dropout: float = 0.5,
        **plan: Any,
    ) -> None:
        def stage_block(place: StagePlace, settings: LayerSettings) -> nn.Module:
            return RASBlock(
                place.input_channels,
                place.output_channels,
                kernel_size=place.kernel_size,
                settings=settings,
                attention_reduction=attention_reduction,
            )

        super().__init__(Sockets(stage_block=stage_block, encoder_dropout=encoder_dropout), **plan)
