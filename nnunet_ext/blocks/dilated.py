"""Dense dilated spatial pyramid of paper 002 (AFU-Net)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from nnunet_ext.blocks.settings import LayerSettings

# With the last, undilated convolution the rates are 1, 3, 5, 7. Without it the chain's receptive field would
# have holes at 6, 11, 13 and 14 voxels from its center.
DILATIONS = (3, 5, 7)


class DASP(nn.Module):
    """Dense atrous spatial pyramid: dilations 3, 5 and 7, each seeing all before it, and a last convolution.

    Reference:
        Paper 002 (AFU-Net), equations 1 and 2 and figure 2; after DenseASPP (Yang et al., CVPR 2018).

    Differences from the paper:
        - Its equation 1 gives each convolution the outputs of those before it, its text and figure also the
          block's input. ``dense_input`` chooses; the text is the default.
        - Normalization and nonlinearity follow each convolution, as everywhere in the backbone.
        - The dilation along an axis of n voxels is at most (n - 1) // 2, at least 1: beyond that the outer
          taps of the kernel would see nothing but padding.

    Args:
        channels: channels of the input, of the output and of each convolution.
        kernel_size: the plan's kernel at the bottleneck; odd numbers.
        settings: layers of the plan.
        dense_input: every convolution sees the block's input.

    Example:
        >>> import torch
        >>> block = DASP(4, kernel_size=(3, 3), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> block(torch.zeros(1, 4, 16, 16)).shape
        torch.Size([1, 4, 16, 16])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: Sequence[int],
        settings: LayerSettings,
        dense_input: bool = True,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.dense_input = dense_input
        stages = []
        for number, dilation in enumerate(DILATIONS):
            seen = (number + 1 if dense_input else max(1, number)) * channels
            stages.append(
                nn.Sequential(
                    dilated_conv(seen, channels, dilation, kernel_size=kernel_size, settings=settings),
                    settings.norm_and_activation(channels),
                )
            )
        self.dilated = nn.ModuleList(stages)
        self.fuse = nn.Sequential(
            settings.conv((len(DILATIONS) + 1) * channels, channels, kernel_size=kernel_size),
            settings.norm_and_activation(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, *spatial) -> the same shape."""
        outputs: list[torch.Tensor] = []
        for stage in self.dilated:
            inputs = [*reversed(outputs), x] if self.dense_input or not outputs else outputs[::-1]
            outputs.append(stage(torch.cat(inputs, dim=1)))
        fused: torch.Tensor = self.fuse(torch.cat([*reversed(outputs), x], dim=1))
        return fused

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        return (len(DILATIONS) + 1) * self.channels * prod(input_size)


def capped_dilation(dilation: int, size: Sequence[int]) -> tuple[int, ...]:
    """The dilation along each axis of a feature map of ``size`` voxels.

    Example:
        >>> capped_dilation(7, (16, 9, 1))
        (7, 4, 1)
    """
    return tuple(min(dilation, max(1, (n - 1) // 2)) for n in size)


class _CappedDilation:
    """A convolution whose dilation is ``rate``, capped by the feature map that it sees.

    The sizes are known when the network runs, and under torch.compile when it is traced; plans that name the
    network tell its constructor nothing of the patch.
    """

    rate = 1
    kernel_size: tuple[int, ...]
    weight: torch.Tensor
    bias: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C_in, *spatial) -> (B, C_out, *spatial)."""
        rates = capped_dilation(self.rate, x.shape[2:])
        padding = tuple(r * (k // 2) for r, k in zip(rates, self.kernel_size, strict=True))
        convolve = nn.functional.conv2d if len(rates) == 2 else nn.functional.conv3d
        return convolve(x, self.weight, self.bias, padding=padding, dilation=rates)


class DilatedConv2d(_CappedDilation, nn.Conv2d):
    """See ``_CappedDilation``."""


class DilatedConv3d(_CappedDilation, nn.Conv3d):
    """See ``_CappedDilation``."""


def dilated_conv(
    input_channels: int,
    output_channels: int,
    dilation: int,
    *,
    kernel_size: Sequence[int],
    settings: LayerSettings,
) -> nn.Module:
    """Convolution of the plan with a dilation that the size of its input caps."""
    op = DilatedConv2d if settings.dim == 2 else DilatedConv3d
    layer = op(input_channels, output_channels, tuple(kernel_size), bias=settings.conv_bias)  # type: ignore[arg-type]
    layer.rate = dilation
    return layer
