"""The papers' networks, each a short declaration of plugs for the U-Net."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunet_ext.blocks import (
    DASP,
    AttentionFusion,
    LayerSettings,
    PositionAttention,
    RASBlock,
    SkipFusion,
    SqueezeExcitationStage,
    VNetStage,
)
from nnunet_ext.blocks.separable import ATTENTION_REDUCTION
from nnunet_ext.networks.plugs import Gate, gated_skip, plain_skip, plain_stage, residual_stage
from nnunet_ext.networks.sockets import SkipPlace, Sockets, StagePlace
from nnunet_ext.networks.unet import UNet


class AGUNet(UNet):
    """U-Net with attention gates on every skip: the fine network of paper 000.

    Reference:
        Paper 000 (coronary arteries in two stages), figure 5 and equation 1.

    Differences from the paper:
        - Levels, features and strides are the plan's; the paper has patches of 32 voxels an axis.
        - The stages' order is convolution, normalization, nonlinearity; with
          ``activation_first`` the paper's.
        - Upsampling is nnU-Net's transposed convolution.
        - Softmax over two channels stands for the paper's sigmoid of one; it is the same function.

    Args:
        attention_gates: False leaves the gates out.
        gate: ``additive`` as in the paper, or ``grid`` as in Oktay's Attention U-Net.
        activation_first: nonlinearity before normalization in each stage.
        **plan: see ``UNet``.

    Raises:
        ValueError: see ``UNet``.

    Example:
        >>> import torch
        >>> network = AGUNet(input_channels=1, num_classes=2, n_stages=2, features_per_stage=[4, 8],
        ...                  conv_op=nn.Conv3d, kernel_sizes=3, strides=[1, 2])
        >>> network(torch.zeros(1, 1, 4, 8, 8)).shape
        torch.Size([1, 2, 4, 8, 8])
    """

    def __init__(
        self,
        *,
        attention_gates: bool = True,
        gate: Gate = "additive",
        activation_first: bool = False,
        **plan: Any,
    ) -> None:
        sockets = Sockets(
            stage_block=plain_stage(activation_first=activation_first),
            skip_fusion=gated_skip(gate) if attention_gates else plain_skip,
            recompute="skips",
        )
        super().__init__(sockets, **plan)


class MAUNet(UNet):
    """Residual encoder, position attention at the bottom, attention gates on the skips: paper 001.

    Reference:
        Paper 001 (CM-TranCaF, whole heart), section on MAUNet.

    Differences from the paper:
        - Levels, features, normalization and number of residual blocks are the plan's; the paper has four
          levels and one block each.
        - The residual blocks are nnU-Net's (see ``ResidualStage``).
        - The paper gives no formula for its gates; they are those of paper 000, or ``grid``.

    Args:
        attention_gates: False leaves the gates out.
        position_attention: False leaves the position attention out.
        gate: ``additive``, or ``grid`` as in Oktay's Attention U-Net.
        **plan: see ``UNet``.

    Raises:
        ValueError: see ``UNet``; in ``forward``, where the deepest feature map has more voxels than position
            attention takes.

    Example:
        >>> import torch
        >>> network = MAUNet(input_channels=1, num_classes=8, n_stages=2, features_per_stage=[4, 8],
        ...                  conv_op=nn.Conv3d, kernel_sizes=3, strides=[1, 2], nonlin=nn.LeakyReLU)
        >>> network(torch.zeros(1, 1, 4, 8, 8)).shape
        torch.Size([1, 8, 4, 8, 8])
    """

    def __init__(
        self,
        *,
        attention_gates: bool = True,
        position_attention: bool = True,
        gate: Gate = "additive",
        **plan: Any,
    ) -> None:
        def bottleneck(place: StagePlace, settings: LayerSettings) -> nn.Module:
            return PositionAttention(place.input_channels, settings=settings)

        sockets = Sockets(
            stage_block=residual_stage(),
            decoder_block=plain_stage(),
            bottleneck=bottleneck if position_attention else None,
            skip_fusion=gated_skip(gate) if attention_gates else plain_skip,
            downsampling="strided",
        )
        super().__init__(sockets, **plan)


class AFUNet(UNet):
    """Dense dilated pyramid at the bottom and attention fusion in the skips: AFU-Net of paper 002.

    Reference:
        Paper 002 (AFU-Net, bones of the lower limb), figures 1 to 3.

    Differences from the paper:
        - Features, kernels and strides are the plan's. Of its poolings at most three are used, as the paper
          has three: DASP wants a feature map that is large enough for its dilations.
        - 3D as well as the paper's 2D.

    Args:
        dilated_pyramid: False leaves DASP out.
        attention_fusion: False takes the plain skip.
        dense_input: see ``DASP``.
        **plan: see ``UNet``.

    Raises:
        ValueError: see ``UNet`` and ``AttentionFusion``.

    Example:
        >>> import torch
        >>> network = AFUNet(input_channels=1, num_classes=2, n_stages=2, features_per_stage=[4, 8],
        ...                  conv_op=nn.Conv2d, kernel_sizes=3, strides=[1, 2])
        >>> network(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 2, 16, 16])
    """

    def __init__(
        self,
        *,
        dilated_pyramid: bool = True,
        attention_fusion: bool = True,
        dense_input: bool = True,
        **plan: Any,
    ) -> None:
        def bottleneck(place: StagePlace, settings: LayerSettings) -> nn.Module:
            return DASP(
                place.input_channels,
                kernel_size=place.kernel_size,
                settings=settings,
                dense_input=dense_input,
            )

        def skip_fusion(place: SkipPlace, settings: LayerSettings) -> SkipFusion:
            return AttentionFusion(
                place.deep_channels, place.skip_channels, kernel_size=place.kernel_size, settings=settings
            )

        sockets = Sockets(
            stage_block=plain_stage(),
            bottleneck=bottleneck if dilated_pyramid else None,
            skip_fusion=skip_fusion if attention_fusion else plain_skip,
            recompute="stages",
            max_poolings=3,
        )
        super().__init__(sockets, **plan)


class ResUNet(UNet):
    """Residual stages with strides and dropout, in encoder and decoder: the fine network of paper 003.

    Reference:
        Paper 003 (brain organs at risk from CT and MR), section on the segmentation network.

    Differences from the paper:
        - Levels, features, kernels and number of blocks are the plan's. A decoder stage for which the plan
          asks one convolution (ResEnc plans) is plain: a residual block has two.
        - Deep supervision is nnU-Net's: smaller targets instead of upsampled outputs.
        - The dropout's kind and probability are not given: see ``ResidualStage``, 0.3.

    Args:
        dropout: probability with which a channel is dropped within each residual block, in [0, 1).
        **plan: see ``UNet``.

    Raises:
        ValueError: see ``UNet``.

    Example:
        >>> import torch
        >>> network = ResUNet(input_channels=3, num_classes=8, n_stages=2, features_per_stage=[4, 8],
        ...                   conv_op=nn.Conv3d, kernel_sizes=3, strides=[1, 2], nonlin=nn.LeakyReLU)
        >>> network(torch.zeros(1, 3, 4, 8, 8)).shape
        torch.Size([1, 8, 4, 8, 8])
    """

    def __init__(self, *, dropout: float = 0.3, **plan: Any) -> None:
        # If all blocks began as shortcuts, the network would begin by looking at single voxels: it found
        # nothing in 500 iterations (docs/benchmarks/hippocampus_all.md).
        residual, plain = residual_stage(dropout, begins_as_shortcut=False), plain_stage()

        def decoder_block(place: StagePlace, settings: LayerSettings) -> nn.Module:
            return (residual if place.convolutions > 1 else plain)(place, settings)

        sockets = Sockets(
            stage_block=residual_stage(dropout),
            decoder_block=decoder_block,
            skip_fusion=plain_skip,
            downsampling="strided",
        )
        super().__init__(sockets, **plan)


class SEUNet(UNet):
    """U-Net with squeeze-and-excitation behind each stage: a comparison network of paper 004.

    Reference:
        Zhang et al. 2025 (paper 004), table of results; Hu et al., CVPR 2018.

    Differences from the paper:
        - See ``SqueezeExcitationStage``.

    Args:
        **plan: see ``UNet``.

    Raises:
        ValueError: see ``UNet``.

    Example:
        >>> import torch
        >>> network = SEUNet(input_channels=1, num_classes=2, n_stages=2, features_per_stage=[4, 8],
        ...                  conv_op=nn.Conv2d, kernel_sizes=3, strides=[1, 2])
        >>> network(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 2, 8, 8])
    """

    def __init__(self, **plan: Any) -> None:
        def stage_block(place: StagePlace, settings: LayerSettings) -> nn.Module:
            return SqueezeExcitationStage(
                place.input_channels,
                place.output_channels,
                convolutions=place.convolutions,
                kernel_size=place.kernel_size,
                settings=settings,
            )

        super().__init__(Sockets(stage_block=stage_block, skip_fusion=plain_skip), **plan)


class VNet(UNet):
    """V-Net: stages that learn a residual, strided convolutions: a comparison network of papers 002 and 004.

    Reference:
        Milletari et al., V-Net, 3DV 2016, figure 2.

    Differences from the paper:
        - See ``VNetStage``. One, two, then three convolutions a stage from the full resolution down, as in
          V-Net, whatever the plan asks for.

    Args:
        kernel_size: kernel along each axis where the plan's is not 1; None for the plan's, 5 for V-Net's.
        **plan: see ``UNet``.

    Raises:
        ValueError: ``kernel_size`` is not odd; see ``UNet``.

    Example:
        >>> import torch
        >>> network = VNet(input_channels=1, num_classes=2, n_stages=2, features_per_stage=[4, 8],
        ...                conv_op=nn.Conv3d, kernel_sizes=3, strides=[1, 2], nonlin=nn.PReLU)
        >>> network(torch.zeros(1, 1, 4, 8, 8)).shape
        torch.Size([1, 2, 4, 8, 8])
    """

    def __init__(self, *, kernel_size: int | None = None, **plan: Any) -> None:
        if kernel_size is not None and (
            not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0
        ):
            raise ValueError(f"kernel_size must be an odd number or None, got {kernel_size!r}")

        def stage_block(place: StagePlace, settings: LayerSettings) -> nn.Module:
            planned = place.kernel_size
            return VNetStage(
                place.input_channels,
                place.output_channels,
                convolutions=min(place.level + 1, 3),
                stride=place.stride,
                kernel_size=tuple(k if k == 1 or kernel_size is None else kernel_size for k in planned),
                settings=settings,
            )

        sockets = Sockets(stage_block=stage_block, skip_fusion=plain_skip, downsampling="strided")
        super().__init__(sockets, **plan)


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
        spatial_attention: False leaves the spatial attention out.
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
        spatial_attention: bool = True,
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
                attention=spatial_attention,
            )

        sockets = Sockets(
            stage_block=stage_block,
            skip_fusion=plain_skip,
            encoder_dropout=encoder_dropout,
            recompute="stages",
        )
        super().__init__(sockets, **plan)
