"""Attention gates of the skips: papers 000 and 001."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from nnunet_ext.blocks.settings import LayerSettings


class AttentionGate(nn.Module):
    """Additive gate: X . sigmoid(psi(relu(Wx X + Wg G + b))), one weight a voxel for all channels.

    Reference:
        Paper 000 (coronary arteries), equation 1; after Oktay et al., Attention U-Net, 2018.

    Differences from the paper:
        - The number of inner channels is not given; it is half of the skip's, at least 1.
        - No normalization inside, as in the paper's equation (MONAI's block has some).

    Args:
        channels: channels of X, the skip.
        gating_channels: channels of G, the upsampled deep features.
        settings: layers of the plan.
        inner_channels: channels between; None for half of ``channels``.

    Example:
        >>> import torch
        >>> gate = AttentionGate(4, 8, settings=LayerSettings(conv_op=nn.Conv2d))
        >>> gate(torch.ones(1, 4, 6, 6), torch.ones(1, 8, 6, 6)).shape
        torch.Size([1, 4, 6, 6])
    """

    def __init__(
        self,
        channels: int,
        gating_channels: int,
        *,
        settings: LayerSettings,
        inner_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.inner_channels = max(1, channels // 2) if inner_channels is None else inner_channels
        # One bias for the sum of the two.
        self.skip = settings.pointwise(channels, self.inner_channels, bias=False)
        self.gating = settings.pointwise(gating_channels, self.inner_channels, bias=True)
        self.psi = settings.pointwise(self.inner_channels, 1, bias=True)

    def weights(self, x: torch.Tensor, gating: torch.Tensor) -> torch.Tensor:
        """The gate itself, in (0, 1): (B, channels, *size), (B, gating_channels, *size) -> (B, 1, *size)."""
        return torch.sigmoid(self.psi(torch.relu(self.skip(x) + self.gating(gating))))

    def forward(self, x: torch.Tensor, gating: torch.Tensor) -> torch.Tensor:
        """(B, channels, *size), (B, gating_channels, *size) -> (B, channels, *size)."""
        return x * self.weights(x, gating)

    def compute_conv_feature_map_size(self, input_size: Sequence[int], stride: Sequence[int]) -> int:
        """Values that the convolutions produce for a skip of ``input_size`` voxels."""
        return (2 * self.inner_channels + 1) * prod(input_size)


class GridAttentionGate(nn.Module):
    """Additive gate whose weights are computed on the coarser grid of the deep features.

    Reference:
        Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, arXiv:1804.03999, 2018. Paper
        001 (whole heart) says "attention gate" and gives no formula; readers may expect this one.

    Differences from the paper:
        - The factor between the grids is the plan's stride instead of 2 along every axis.
        - The projection behind the gate has the plan's normalization instead of batch normalization.
        - Oktay's network leaves the finest skip ungated; here the network decides.

    Args:
        channels: channels of X, the skip.
        gating_channels: channels of G, the deep features before upsampling.
        stride: factor between the two grids along each axis.
        settings: layers of the plan.
        inner_channels: channels between; None for half of ``channels``.
        use_output_projection: a pointwise convolution with normalization behind the gate, as in Oktay's code.
            With it a gate that is wide open is no identity.

    Example:
        >>> import torch
        >>> gate = GridAttentionGate(4, 8, stride=(2, 2), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> gate(torch.ones(1, 4, 6, 6), torch.ones(1, 8, 3, 3)).shape
        torch.Size([1, 4, 6, 6])
    """

    def __init__(
        self,
        channels: int,
        gating_channels: int,
        *,
        stride: Sequence[int],
        settings: LayerSettings,
        inner_channels: int | None = None,
        use_output_projection: bool = True,
    ) -> None:
        super().__init__()
        self.inner_channels = max(1, channels // 2) if inner_channels is None else inner_channels
        self.channels = channels
        self.settings = settings
        self.skip = settings.patchwise(channels, self.inner_channels, stride, bias=False)
        self.gating = settings.pointwise(gating_channels, self.inner_channels, bias=True)
        self.psi = settings.pointwise(self.inner_channels, 1, bias=True)
        self.projection: nn.Module | None = None
        if use_output_projection:
            self.projection = nn.Sequential(settings.pointwise(channels, channels), settings.norm(channels))

    def weights(self, x: torch.Tensor, gating: torch.Tensor) -> torch.Tensor:
        """The gate, in (0, 1): (B, channels, *size), (B, gating_channels, *coarse) -> (B, 1, *size)."""
        coarse = self.skip(x)
        phi = self.settings.resize(self.gating(gating), coarse.shape[2:])
        return self.settings.resize(torch.sigmoid(self.psi(torch.relu(coarse + phi))), x.shape[2:])

    def forward(self, x: torch.Tensor, gating: torch.Tensor) -> torch.Tensor:
        """(B, channels, *size), (B, gating_channels, *coarse) -> (B, channels, *size)."""
        gated = x * self.weights(x, gating)
        return gated if self.projection is None else self.projection(gated)

    def compute_conv_feature_map_size(self, input_size: Sequence[int], stride: Sequence[int]) -> int:
        """Values that the convolutions produce for a skip of ``input_size`` voxels."""
        coarse = prod(n // s for n, s in zip(input_size, stride, strict=True))
        projected = 0 if self.projection is None else self.channels * prod(input_size)
        return (2 * self.inner_channels + 1) * coarse + projected
