"""Separable convolution, spatial attention and the RAS block of paper 004 (RAS U-Net)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from nnunet_ext.blocks.settings import LayerSettings

# Inner channels of the spatial attention are channels // ATTENTION_REDUCTION. Part of the checkpoint
# format: never change it. Chosen by docs/benchmarks/ras_attention_reduction.md.
ATTENTION_REDUCTION = 4


class SeparableConv(nn.Module):
    """A convolution split into an in-plane and a through-plane one: (1, k, k), then (k, 1, 1).

    Reference:
        Zhang et al., Chinese Journal of Medical Physics 42(7), 2025, section 1.1 and figure 1 (paper 004).

    Differences from the paper:
        - The paper's axes are (x, y, z) and its kernels 3x3x1 and 1x1x3; arrays here are (z, y, x).
        - The paper does not say whether the two are depthwise. Two depthwise convolutions would never mix
          channels, so both are dense.
        - Kernel sizes come from the plan. Where its kernel is 1 along the first axis, and in 2D, there is no
          through-plane convolution.
        - Only the last convolution may have a bias: with a bias on the first one the pair would not equal
          any single convolution at the border, where the second one pads with zeros.

    Args:
        input_channels: channels of the input.
        output_channels: channels of the output, also between the two convolutions.
        kernel_size: the plan's kernel, (z, y, x) or (y, x); odd numbers.
        settings: layers of the plan.
        bias: bias of the last convolution; None takes the plan's.

    Raises:
        ValueError: ``kernel_size`` does not fit the dimension or has an even number.

    Example:
        >>> import torch
        >>> layer = SeparableConv(2, 4, kernel_size=(3, 3, 3), settings=LayerSettings(conv_op=nn.Conv3d))
        >>> layer(torch.zeros(1, 2, 5, 6, 7)).shape
        torch.Size([1, 4, 5, 6, 7])
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        *,
        kernel_size: Sequence[int],
        settings: LayerSettings,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        if len(kernel_size) != settings.dim or any(k < 1 or k % 2 == 0 for k in kernel_size):
            raise ValueError(
                f"kernel_size must be {settings.dim} odd numbers for {settings.conv_op.__name__}, "
                f"got {tuple(kernel_size)}"
            )
        self.output_channels = output_channels
        through_plane, in_plane = _split_kernel(kernel_size)
        bias = settings.conv_bias if bias is None else bias
        self.in_plane = settings.conv(
            input_channels, output_channels, kernel_size=in_plane, bias=bias and through_plane is None
        )
        self.through_plane = (
            None
            if through_plane is None
            else settings.conv(output_channels, output_channels, kernel_size=through_plane, bias=bias)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_channels, *spatial) -> (B, output_channels, *spatial)."""
        x = self.in_plane(x)
        if self.through_plane is not None:
            x = self.through_plane(x)
        return x

    def initialize_after_he(self) -> None:
        """Give the first convolution of the pair linear gain.

        nnU-Net's initialization is He's for a convolution that a LeakyReLU follows. Between the two there is
        no activation: with He's gain on both, the pair would double the variance of a single convolution.
        """
        if self.through_plane is not None:
            nn.init.kaiming_normal_(self.in_plane.weight, nonlinearity="linear")

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        convolutions = 1 if self.through_plane is None else 2
        return convolutions * self.output_channels * prod(input_size)


class SpatialAttention(nn.Module):
    """Voxel- and channel-wise gate: F . sigmoid(SC(relu(SC(F)))), called SAM in the paper.

    Reference:
        Zhang et al. 2025 (paper 004), section 1.2 and figure 2.

    Differences from the paper:
        - The number of inner channels is not given; it is ``channels // reduction``, at least 1.

    Args:
        channels: channels of the input and of the output.
        kernel_size: the plan's kernel.
        settings: layers of the plan.
        reduction: see ``ATTENTION_REDUCTION``.

    Raises:
        ValueError: ``reduction`` is below 1.

    Example:
        >>> import torch
        >>> gate = SpatialAttention(8, kernel_size=(3, 3), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> gate(torch.ones(1, 8, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: Sequence[int],
        settings: LayerSettings,
        reduction: int = ATTENTION_REDUCTION,
    ) -> None:
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, got {reduction}")
        inner = max(1, channels // reduction)
        # There is no normalization in the gate, so its convolutions have biases whatever the plan says.
        self.squeeze = SeparableConv(channels, inner, kernel_size=kernel_size, settings=settings, bias=True)
        self.excite = SeparableConv(inner, channels, kernel_size=kernel_size, settings=settings, bias=True)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The gate itself, in (0, 1): (B, channels, *spatial) -> the same shape."""
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, *spatial) -> the same shape."""
        return x * self.weights(x)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        squeeze: int = self.squeeze.compute_conv_feature_map_size(input_size)
        return squeeze + self.excite.compute_conv_feature_map_size(input_size)


class RASBlock(nn.Module):
    """Residual attention separable convolution: SAM(act norm SC act norm SC (x)) + shortcut(x).

    Reference:
        Zhang et al. 2025 (paper 004), section 1.2 and figure 2.

    Differences from the paper:
        - The shortcut is the identity where the number of channels stays; where it changes, which the paper
          passes over, a pointwise convolution with the plan's normalization.
        - Normalization and nonlinearity are the plan's (nnU-Net's default: InstanceNorm, LeakyReLU).

    Args:
        input_channels: channels of the input.
        output_channels: channels of the output.
        kernel_size: the plan's kernel.
        settings: layers of the plan.
        attention_reduction: see ``ATTENTION_REDUCTION``.
        attention: False leaves the spatial attention out (the paper's ablation).

    Raises:
        ValueError: as ``SeparableConv`` and ``SpatialAttention``.

    Example:
        >>> import torch
        >>> settings = LayerSettings(conv_op=nn.Conv2d, norm_op=nn.InstanceNorm2d, nonlin=nn.LeakyReLU)
        >>> RASBlock(1, 8, kernel_size=(3, 3), settings=settings)(torch.ones(1, 1, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        *,
        kernel_size: Sequence[int],
        settings: LayerSettings,
        attention_reduction: int = ATTENTION_REDUCTION,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.output_channels = output_channels
        self.conv1 = SeparableConv(
            input_channels, output_channels, kernel_size=kernel_size, settings=settings
        )
        self.act1 = settings.norm_and_activation(output_channels)
        self.conv2 = SeparableConv(
            output_channels, output_channels, kernel_size=kernel_size, settings=settings
        )
        self.act2 = settings.norm_and_activation(output_channels)
        self.attention: nn.Module = nn.Identity()
        if attention:
            self.attention = SpatialAttention(
                output_channels, kernel_size=kernel_size, settings=settings, reduction=attention_reduction
            )
        self.projects = input_channels != output_channels
        self.shortcut: nn.Module = nn.Identity()
        if self.projects:
            self.shortcut = nn.Sequential(
                settings.pointwise(input_channels, output_channels), settings.norm(output_channels)
            )

    @property
    def input_projections(self) -> tuple[str, ...]:
        """Names of the convolutions that read the block's input, for nnU-Net's pretraining keys."""
        return ("conv1.in_plane", "shortcut.0") if self.projects else ("conv1.in_plane",)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_channels, *spatial) -> (B, output_channels, *spatial)."""
        features = self.act1(self.conv1(x))
        features = self.act2(self.conv2(features))
        output: torch.Tensor = self.attention(features) + self.shortcut(x)
        return output

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        total: int = self.conv1.compute_conv_feature_map_size(input_size)
        total += self.conv2.compute_conv_feature_map_size(input_size)
        if isinstance(self.attention, SpatialAttention):
            total += self.attention.compute_conv_feature_map_size(input_size)
        return total + int(self.projects) * self.output_channels * prod(input_size)


def _split_kernel(kernel_size: Sequence[int]) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """The through-plane kernel (None where there is none) and the in-plane kernel of a plan's kernel."""
    if len(kernel_size) == 2:
        return None, tuple(kernel_size)
    in_plane = (1, kernel_size[1], kernel_size[2])
    return (None if kernel_size[0] == 1 else (kernel_size[0], 1, 1)), in_plane
