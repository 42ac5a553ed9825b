"""Stages of plain convolutions and of residual blocks, the latter two from dynamic_network_architectures."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from dynamic_network_architectures.building_blocks.residual import StackedResidualBlocks
from dynamic_network_architectures.building_blocks.simple_conv_blocks import StackedConvBlocks
from torch import nn

from nnunet_ext.blocks.attention import SqueezeExcitation
from nnunet_ext.blocks.settings import LayerSettings


class PlainStage(StackedConvBlocks):
    """Convolution, normalization, nonlinearity, several times: nnU-Net's plain stage.

    Reference:
        Isensee et al., nnU-Net, 2021; the papers' U-Nets have two a stage.

    Differences from the paper:
        - ``activation_first`` gives paper 000's order: convolution, nonlinearity, normalization.

    Args:
        input_channels: channels of the input.
        output_channels: channels of the output and of each convolution.
        convolutions: how many.
        kernel_size: the plan's kernel.
        settings: layers of the plan.
        activation_first: nonlinearity before normalization.

    Example:
        >>> import torch
        >>> stage = PlainStage(
        ...     1, 8, convolutions=2, kernel_size=(3, 3), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> stage(torch.zeros(1, 1, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        *,
        convolutions: int,
        kernel_size: Sequence[int],
        settings: LayerSettings,
        activation_first: bool = False,
    ) -> None:
        super().__init__(
            num_convs=convolutions,
            input_channels=input_channels,
            output_channels=output_channels,
            kernel_size=list(kernel_size),
            initial_stride=1,
            nonlin_first=activation_first,
            **settings.keywords(),
        )


class SqueezeExcitationStage(nn.Module):
    """A plain stage with squeeze-and-excitation behind it: SE U-Net's stage.

    Reference:
        Comparison network of paper 004; Hu et al., CVPR 2018.

    Differences from the paper:
        - Paper 004 does not say where its SE blocks are; they follow the convolutions of each stage.

    Args:
        input_channels: channels of the input.
        output_channels: channels of the output.
        convolutions: how many.
        kernel_size: the plan's kernel.
        settings: layers of the plan.

    Example:
        >>> import torch
        >>> stage = SqueezeExcitationStage(
        ...     1, 8, convolutions=2, kernel_size=(3, 3), settings=LayerSettings(conv_op=nn.Conv2d))
        >>> stage(torch.zeros(1, 1, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        *,
        convolutions: int,
        kernel_size: Sequence[int],
        settings: LayerSettings,
    ) -> None:
        super().__init__()
        self.plain = PlainStage(
            input_channels,
            output_channels,
            convolutions=convolutions,
            kernel_size=kernel_size,
            settings=settings,
        )
        self.gate = SqueezeExcitation(output_channels, settings=settings)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_channels, *spatial) -> (B, output_channels, *spatial)."""
        output: torch.Tensor = self.gate(self.plain(x))
        return output

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image of ``input_size`` voxels."""
        plain = int(self.plain.compute_conv_feature_map_size(input_size))
        return plain + self.gate.compute_conv_feature_map_size(input_size)


class ResidualStage(nn.Module):
    """Residual blocks as in nnU-Net's residual encoder, the first with the stride, with dropout in them.

    Reference:
        He et al., Deep Residual Learning, CVPR 2016; papers 001 and 003.

    Differences from the paper:
        - The blocks are those of nnU-Net's ResidualEncoderUNet (ResNet-D): where the block strides, the
          shortcut averages before its pointwise convolution.
        - Paper 003 has dropout in its blocks and does not say which; whole channels are dropped, between the
          convolutions of each block, so that the shortcut keeps them.

    Args:
        input_channels: channels of the input.
        output_channels: channels of the output.
        blocks: how many.
        stride: by how much the stage reduces each axis.
        kernel_size: the plan's kernel.
        settings: layers of the plan.
        dropout: probability with which a channel is dropped, in [0, 1).
        begins_as_shortcut: nnU-Net's initialization leaves the blocks' convolutions out at first (their last
            normalization multiplies with 0), as in its residual encoder.

    Example:
        >>> import torch
        >>> settings = LayerSettings(conv_op=nn.Conv2d, nonlin=nn.LeakyReLU)
        >>> stage = ResidualStage(4, 8, blocks=2, stride=(2, 2), kernel_size=(3, 3), settings=settings)
        >>> stage(torch.zeros(1, 4, 4, 4)).shape
        torch.Size([1, 8, 2, 2])
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        *,
        blocks: int,
        stride: Sequence[int],
        kernel_size: Sequence[int],
        settings: LayerSettings,
        dropout: float = 0.0,
        begins_as_shortcut: bool = True,
    ) -> None:
        super().__init__()
        self.output_channels = output_channels
        self.begins_as_shortcut = begins_as_shortcut
        self.stride = tuple(stride)
        self.stack = StackedResidualBlocks(
            n_blocks=blocks,
            input_channels=input_channels,
            output_channels=output_channels,
            kernel_size=list(kernel_size),
            initial_stride=list(stride),
            **settings.keywords(),
        )
        for block in self.stack.blocks:
            # The library's shortcut without layers is a lambda, which does not pickle.
            if not isinstance(block.skip, nn.Module):
                block.skip = nn.Identity()
            if dropout:
                block.conv1.all_modules.append(settings.channel_dropout(dropout))
        self.projects = input_channels != output_channels

    @property
    def input_projections(self) -> tuple[str, ...]:
        """Names of the convolutions that read the stage's input, for nnU-Net's pretraining keys."""
        readers = ["stack.blocks.0.conv1"]
        if self.projects and all(s == 1 for s in self.stride):
            readers.append("stack.blocks.0.skip.0")
        # The library registers each convolution under two names.
        return tuple(f"{reader}.{name}" for reader in readers for name in ("conv", "all_modules.0"))

    def initialize_after_he(self) -> None:
        """Let the convolutions take part from the beginning, where that was asked for."""
        if self.begins_as_shortcut:
            return
        for block in self.stack.blocks:
            weights = last_norm_weights(block)
            if weights is not None:
                nn.init.ones_(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_channels, *spatial) -> (B, output_channels, *spatial / stride)."""
        output: torch.Tensor = self.stack(x)
        return output

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; ``input_size`` is the size before the stride."""
        voxels = prod(n // s for n, s in zip(input_size, self.stride, strict=True))
        return (2 * len(self.stack.blocks) + self.projects) * self.output_channels * voxels


def last_norm_weights(block: nn.Module) -> torch.Tensor | None:
    """What the normalization before a residual block's sum multiplies with; None where a plan has none."""
    found: torch.Tensor | None = getattr(getattr(block.conv2, "norm", None), "weight", None)
    return found


class VNetStage(nn.Module):
    """Convolutions whose sum with the stage's input goes through the nonlinearity: V-Net's stage.

    Reference:
        Milletari et al., V-Net, 3DV 2016; comparison network of papers 002 and 004.

    Differences from the paper:
        - Normalization and nonlinearity are the plan's; V-Net has none and PReLU.
        - The kernel is the plan's; V-Net's is 5 along each axis (``VNet(kernel_size=5)``).
        - Where the number of channels changes without a stride (the first stage and the decoder), a pointwise
          convolution with normalization is the shortcut.

    Args:
        input_channels: channels of the input.
        output_channels: channels of the output.
        convolutions: how many.
        stride: by how much the stage reduces each axis.
        kernel_size: kernel of the convolutions.
        settings: layers of the plan.

    Example:
        >>> import torch
        >>> settings = LayerSettings(conv_op=nn.Conv2d, nonlin=nn.PReLU)
        >>> stage = VNetStage(4, 8, convolutions=3, stride=(2, 2), kernel_size=(5, 5), settings=settings)
        >>> stage(torch.zeros(1, 4, 4, 4)).shape
        torch.Size([1, 8, 2, 2])
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        *,
        convolutions: int,
        stride: Sequence[int],
        kernel_size: Sequence[int],
        settings: LayerSettings,
    ) -> None:
        super().__init__()
        self.output_channels = output_channels
        self.stride = tuple(stride)
        self.strides = any(s != 1 for s in stride)
        self.down: nn.Module = nn.Identity()
        if self.strides:
            self.down = nn.Sequential(
                settings.patchwise(input_channels, output_channels, self.stride),
                settings.norm_and_activation(output_channels),
            )
            input_channels = output_channels
        self.projects = input_channels != output_channels
        self.shortcut: nn.Module = nn.Identity()
        if self.projects:
            self.shortcut = nn.Sequential(
                settings.pointwise(input_channels, output_channels), settings.norm(output_channels)
            )
        layers: list[nn.Module] = []
        for number in range(convolutions):
            last = number == convolutions - 1
            layers += [
                settings.conv(
                    output_channels if number else input_channels, output_channels, kernel_size=kernel_size
                ),
                settings.norm(output_channels) if last else settings.norm_and_activation(output_channels),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.act = settings.activation()

    @property
    def input_projections(self) -> tuple[str, ...]:
        """Names of the convolutions that read the stage's input, for nnU-Net's pretraining keys."""
        if self.strides:
            return ("down.0",)
        return ("convolutions.0", "shortcut.0") if self.projects else ("convolutions.0",)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_channels, *spatial) -> (B, output_channels, *spatial / stride)."""
        x = self.down(x)
        output: torch.Tensor = self.act(self.convolutions(x) + self.shortcut(x))
        return output

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce; ``input_size`` is the size before the stride."""
        voxels = prod(n // s for n, s in zip(input_size, self.stride, strict=True))
        maps = len(self.convolutions) // 2 + self.strides + self.projects
        return maps * self.output_channels * voxels
