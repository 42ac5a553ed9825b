"""Position attention (paper 001) and squeeze-and-excitation (papers 002 and 004)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from nnunet_ext.blocks.settings import LayerSettings

# The paper's bottleneck has 512 positions (8x8x8). nnU-Net's plans stop pooling at 4 to 7 voxels an axis, so
# that 4096 are only met where a plan leaves out poolings; time grows with the square.
MAX_POSITIONS = 4096
QUERY_REDUCTION = 8
SE_REDUCTION = 16


class PositionAttention(nn.Module):
    """Every position of the feature map sees every other: gamma * softmax(Q K^T) V + X (called PAB).

    Reference:
        Paper 001 (CM-TranCaF), section on the position attention block; Fu et al., Dual Attention Network for
        Scene Segmentation, CVPR 2019, in three dimensions.

    Differences from the paper:
        - DANet's convolutions before and after the block, which paper 001 does not mention, are left out.
        - The products are not scaled, as in DANet. They run through PyTorch's attention kernels with the
          channels of V in groups of as many as Q and K have, so that kernels without an N x N matrix apply;
          the result is the same.

    Args:
        channels: channels of the input and of the output.
        settings: layers of the plan.
        max_positions: largest number of voxels that the block accepts.

    Raises:
        ValueError: in ``forward``, where the feature map has more than ``max_positions`` voxels.

    Example:
        >>> import torch
        >>> block = PositionAttention(16, settings=LayerSettings(conv_op=nn.Conv3d))
        >>> x = torch.rand(1, 16, 2, 3, 4)
        >>> torch.equal(block(x), x)  # gamma starts at 0
        True
    """

    def __init__(self, channels: int, *, settings: LayerSettings, max_positions: int = MAX_POSITIONS) -> None:
        super().__init__()
        self.channels = channels
        self.inner_channels = max(1, channels // QUERY_REDUCTION)
        self.max_positions = max_positions
        self.query = settings.pointwise(channels, self.inner_channels, bias=True)
        self.key = settings.pointwise(channels, self.inner_channels, bias=True)
        self.value = settings.pointwise(channels, channels, bias=True)
        # Without an axis, so that it does not turn features of a lower precision into float32.
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, *spatial) -> the same shape."""
        positions = prod(x.shape[2:])
        if positions > self.max_positions:
            raise ValueError(
                f"position attention takes at most {self.max_positions} positions, got "
                f"{tuple(x.shape[2:])} = {positions}: plan with more poolings or a smaller patch"
            )
        value = self._grouped(self.value(x))  # (B, groups, N, inner)
        groups = value.shape[1]
        query = self._grouped(self.query(x)).expand(-1, groups, -1, -1)
        key = self._grouped(self.key(x)).expand(-1, groups, -1, -1)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        seen = seen.transpose(2, 3).flatten(1, 2)[:, : self.channels].reshape(x.shape)
        output: torch.Tensor = self.gamma * seen + x
        return output

    def _grouped(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, *spatial) -> (B, ceil(C / inner), N, inner); channels that are missing are zero."""
        flat = features.flatten(2)
        missing = -flat.shape[1] % self.inner_channels
        if missing:
            flat = nn.functional.pad(flat, (0, 0, 0, missing))
        # The fused kernels want the channels of one position side by side.
        grouped: torch.Tensor = flat.unflatten(1, (-1, self.inner_channels))
        return grouped.transpose(2, 3).contiguous()

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        return (2 * self.inner_channels + self.channels) * prod(input_size)


class SqueezeExcitation(nn.Module):
    """Channel gate: X . sigmoid(W2 relu(W1 mean(X))).

    Reference:
        Hu et al., Squeeze-and-Excitation Networks, CVPR 2018; its two layers are steps 3 and 4 of paper 002's
        fusion and the comparison in paper 004.

    Differences from the paper:
        none known.

    Args:
        channels: channels of the input and of the output.
        settings: layers of the plan.
        reduction: the inner layer has ``channels // reduction`` values, at least 1.

    Example:
        >>> import torch
        >>> gate = SqueezeExcitation(32, settings=LayerSettings(conv_op=nn.Conv2d))
        >>> gate(torch.ones(1, 32, 4, 4)).shape
        torch.Size([1, 32, 4, 4])
    """

    def __init__(self, channels: int, *, settings: LayerSettings, reduction: int = SE_REDUCTION) -> None:
        super().__init__()
        self.channels = channels
        self.inner_channels = max(1, channels // reduction)
        self.squeeze = settings.pointwise(channels, self.inner_channels, bias=True)
        self.excite = settings.pointwise(self.inner_channels, channels, bias=True)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """The gate itself, in (0, 1): (B, channels, *spatial) -> (B, channels, 1, ...)."""
        mean = x.mean(dim=tuple(range(2, x.dim())), keepdim=True)
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, *spatial) -> the same shape."""
        return x * self.weights(x)

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; the size does not matter, the mean has one voxel."""
        return self.inner_channels + self.channels
