"""What every block needs to know of the plans: which layers to build, and of which dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from dynamic_network_architectures.building_blocks.helper import (
    convert_conv_op_to_dim,
    get_matching_convtransp,
)
from torch import nn

from nnunet_ext.blocks.pooling import MaxPool3d

Conv = nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class LayerSettings:
    """Layer classes of a plan and their keywords, handed unchanged from the network to every block.

    The names are those of the plans' ``arch_kwargs`` (nnU-Net v2.8, ``PlainConvUNet``).

    Attributes:
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``; decides the dimension of everything else.
        conv_bias: bias of convolutions that a block does not decide on itself.
        norm_op: normalization class or None.
        norm_op_kwargs: keywords of ``norm_op``.
        dropout_op: dropout class between convolution and normalization, or None (nnU-Net's default).
        dropout_op_kwargs: keywords of ``dropout_op``.
        nonlin: nonlinearity class or None.
        nonlin_kwargs: keywords of ``nonlin``.

    Raises:
        ValueError: ``conv_op`` is neither two- nor three-dimensional.

    Example:
        >>> from torch import nn
        >>> settings = LayerSettings(conv_op=nn.Conv3d, norm_op=nn.InstanceNorm3d, nonlin=nn.LeakyReLU)
        >>> settings.conv(1, 8, kernel_size=(1, 3, 3)).padding
        (0, 1, 1)
    """

    conv_op: type[Conv]
    conv_bias: bool = False
    norm_op: type[nn.Module] | None = None
    norm_op_kwargs: Mapping[str, Any] = field(default_factory=dict)
    dropout_op: type[nn.Module] | None = None
    dropout_op_kwargs: Mapping[str, Any] = field(default_factory=dict)
    nonlin: type[nn.Module] | None = None
    nonlin_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dim not in (2, 3):
            raise ValueError(f"conv_op must be nn.Conv2d or nn.Conv3d, got {self.conv_op}")

    @property
    def dim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return int(convert_conv_op_to_dim(self.conv_op))

    def conv(
        self,
        input_channels: int,
        output_channels: int,
        *,
        kernel_size: Sequence[int],
        stride: Sequence[int] | int = 1,
        bias: bool | None = None,
    ) -> Conv:
        """Convolution with an odd kernel that keeps the size at stride 1; ``bias`` None takes the plan's."""
        op: Any = self.conv_op  # its arguments have one type in 2D and another in 3D
        layer: Conv = op(
            input_channels,
            output_channels,
            tuple(kernel_size),
            stride if isinstance(stride, int) else tuple(stride),
            padding=tuple((k - 1) // 2 for k in kernel_size),
            bias=self.conv_bias if bias is None else bias,
        )
        return layer

    def pointwise(self, input_channels: int, output_channels: int, *, bias: bool | None = None) -> Conv:
        """Convolution with a kernel of one voxel."""
        return self.conv(input_channels, output_channels, kernel_size=(1,) * self.dim, bias=bias)

    def patchwise(
        self, input_channels: int, output_channels: int, stride: Sequence[int], *, bias: bool | None = None
    ) -> Conv:
        """Convolution whose kernel is its stride: patches without overlap become voxels."""
        op: Any = self.conv_op
        kernel = tuple(stride)
        bias = self.conv_bias if bias is None else bias
        layer: Conv = op(input_channels, output_channels, kernel, kernel, bias=bias)
        return layer

    def channel_dropout(self, probability: float) -> nn.Module:
        """Dropout of whole channels; an identity for the probability 0."""
        if not probability:
            return nn.Identity()
        return nn.Dropout2d(probability) if self.dim == 2 else nn.Dropout3d(probability)

    def upsampling(self, input_channels: int, output_channels: int, stride: Sequence[int]) -> nn.Module:
        """Transposed convolution that multiplies each axis by ``stride``, as in nnU-Net's decoder."""
        op: type[nn.Module] = get_matching_convtransp(conv_op=self.conv_op)
        return op(input_channels, output_channels, tuple(stride), tuple(stride), bias=self.conv_bias)

    def max_pooling(self, stride: Sequence[int]) -> nn.Module:
        """Max-pooling without overlap; an identity where the stride is 1 along every axis."""
        if all(s == 1 for s in stride):
            return nn.Identity()
        op = nn.MaxPool2d if self.dim == 2 else MaxPool3d
        return op(kernel_size=tuple(stride), stride=tuple(stride))

    def resize(self, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Bi- or trilinear interpolation of (B, C, *spatial) to ``size``; nothing where it has that size."""
        if tuple(x.shape[2:]) == tuple(size):
            return x
        mode = "bilinear" if self.dim == 2 else "trilinear"
        return nn.functional.interpolate(x, size=tuple(size), mode=mode, align_corners=False)

    def norm(self, channels: int) -> nn.Module:
        """The plan's normalization, or an identity where it has none."""
        return nn.Identity() if self.norm_op is None else self.norm_op(channels, **self.norm_op_kwargs)

    def activation(self) -> nn.Module:
        """The plan's nonlinearity, or an identity where it has none."""
        return nn.Identity() if self.nonlin is None else self.nonlin(**self.nonlin_kwargs)

    def norm_and_activation(self, channels: int) -> nn.Sequential:
        """What follows a convolution in nnU-Net: dropout (if planned), normalization, nonlinearity."""
        layers: list[nn.Module] = []
        if self.dropout_op is not None:
            layers.append(self.dropout_op(**self.dropout_op_kwargs))
        if self.norm_op is not None:
            layers.append(self.norm(channels))
        if self.nonlin is not None:
            layers.append(self.nonlin(**self.nonlin_kwargs))
        return nn.Sequential(*layers)

    def keywords(self) -> dict[str, Any]:
        """The same for a block of dynamic_network_architectures."""
        return {
            "conv_op": self.conv_op,
            "conv_bias": self.conv_bias,
            "norm_op": self.norm_op,
            "norm_op_kwargs": dict(self.norm_op_kwargs),
            "dropout_op": self.dropout_op,
            "dropout_op_kwargs": dict(self.dropout_op_kwargs),
            "nonlin": self.nonlin,
            "nonlin_kwargs": dict(self.nonlin_kwargs),
        }
