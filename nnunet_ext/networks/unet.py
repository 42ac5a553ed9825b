"""The one U-Net: an encoder, a bottleneck and a decoder with three sockets, built from nnU-Net's plans."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from dynamic_network_architectures.architectures.abstract_arch import AbstractDynamicNetworkArchitectures
from dynamic_network_architectures.building_blocks.residual import BasicBlockD
from dynamic_network_architectures.initialization.weight_init import (
    InitWeights_He,
    init_last_bn_before_add_to_0,
)
from torch import nn

from nnunet_ext.blocks import LayerSettings
from nnunet_ext.blocks.stages import last_norm_weights
from nnunet_ext.networks.decoder import UNetDecoder
from nnunet_ext.networks.encoder import UNetEncoder
from nnunet_ext.networks.geometry import PlannedGeometry
from nnunet_ext.networks.sockets import Sockets


class UNet(AbstractDynamicNetworkArchitectures):
    """U-Net skeleton that reads nnU-Net's plans; the sockets make it one of the papers' networks.

    Everything after ``sockets`` is what nnU-Net passes: the ``arch_kwargs`` of a PlainConvUNet or
    ResidualEncoderUNet plan, and the keywords of ``get_network_from_plans``.

    Args:
        sockets: the network's plugs.
        input_channels: channels of the image.
        num_classes: channels of the output.
        n_stages: resolution levels, 1 or more.
        features_per_stage: channels of each level, or one number for all.
        conv_op: ``nn.Conv2d`` or ``nn.Conv3d``.
        kernel_sizes: kernel of each level, or one number for all.
        strides: downsampling before each level; the first must be 1.
        n_conv_per_stage: convolutions of each encoder level (PlainConvUNet plans).
        n_blocks_per_stage: residual blocks of each encoder level (ResEnc plans).
        n_conv_per_stage_decoder: convolutions of each decoder level, lowest resolution first.
        conv_bias: bias of the convolutions.
        norm_op: normalization class.
        norm_op_kwargs: its keywords.
        dropout_op: dropout class inside the blocks; None in nnU-Net's plans.
        dropout_op_kwargs: its keywords.
        nonlin: nonlinearity class.
        nonlin_kwargs: its keywords.
        deep_supervision: return all outputs, full resolution first, instead of one tensor.

    Raises:
        ValueError: lengths that do not agree with ``n_stages``, or a stride before the first level.
    """

    def __init__(
        self,
        sockets: Sockets,
        *,
        input_channels: int,
        num_classes: int,
        n_stages: int,
        features_per_stage: int | Sequence[int],
        conv_op: type[nn.Conv2d | nn.Conv3d],
        kernel_sizes: int | Sequence[int | Sequence[int]],
        strides: int | Sequence[int | Sequence[int]],
        n_conv_per_stage: int | Sequence[int] | None = None,
        n_blocks_per_stage: int | Sequence[int] | None = None,
        n_conv_per_stage_decoder: int | Sequence[int] = 2,
        conv_bias: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: Mapping[str, Any] | None = None,
        dropout_op: type[nn.Module] | None = None,
        dropout_op_kwargs: Mapping[str, Any] | None = None,
        nonlin: type[nn.Module] | None = None,
        nonlin_kwargs: Mapping[str, Any] | None = None,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        settings = LayerSettings(
            conv_op=conv_op,
            conv_bias=conv_bias,
            norm_op=norm_op,
            norm_op_kwargs=norm_op_kwargs or {},
            dropout_op=dropout_op,
            dropout_op_kwargs=dropout_op_kwargs or {},
            nonlin=nonlin,
            nonlin_kwargs=nonlin_kwargs or {},
        )
        geometry = PlannedGeometry.from_plan(
            dim=settings.dim,
            n_stages=n_stages,
            features=features_per_stage,
            kernel_sizes=kernel_sizes,
            strides=strides,
            encoder_convolutions=_encoder_convolutions(n_conv_per_stage, n_blocks_per_stage),
            decoder_convolutions=n_conv_per_stage_decoder,
        )
        if sockets.max_poolings is not None:
            geometry = geometry.with_poolings_at_most(sockets.max_poolings)
        self.geometry = geometry
        self.encoder = UNetEncoder(
            input_channels=input_channels, geometry=self.geometry, settings=settings, sockets=sockets
        )
        self.decoder = UNetDecoder(
            num_classes=num_classes,
            geometry=self.geometry,
            settings=settings,
            sockets=sockets,
            deep_supervision=deep_supervision,
        )
        self.key_to_encoder = "encoder.stages"
        self.key_to_stem = "encoder.stages.0"
        self.keys_to_in_proj = tuple(
            f"encoder.stages.0.block.{name}"
            for name in _input_projections(self.get_submodule("encoder.stages.0.block"))
        )

    @classmethod
    def plan_keywords(cls) -> tuple[set[str], set[str]]:
        """Keywords that a plan's ``arch_kwargs`` may have for this network, and those that it must have."""
        parameters = [
            parameter
            for ancestor in cls.__mro__
            if issubclass(ancestor, UNet)
            for parameter in inspect.signature(ancestor).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        from_nnunet = {"input_channels", "num_classes", "deep_supervision"}
        known = {parameter.name for parameter in parameters} - from_nnunet
        required = {p.name for p in parameters if p.default is inspect.Parameter.empty} - from_nnunet
        return known, required

    @property
    def deep_supervision_scales(self) -> list[list[float]]:
        """Size of each output relative to the input, per axis, in the order of the outputs."""
        return self.geometry.output_scales()

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """(B, input_channels, *spatial) -> logits (B, num_classes, *spatial), or a list, largest first.

        Raises:
            ValueError: the size is not a multiple of the network's total stride.
        """
        self.geometry.check_input_size(x.shape[2:])
        outputs: torch.Tensor | list[torch.Tensor] = self.decoder(self.encoder(x))
        return outputs

    def compute_conv_feature_map_size(self, input_size: Sequence[int]) -> int:
        """Values that the convolutions produce for one image, as nnU-Net's planner asks for them.

        Args:
            input_size: spatial size in voxels, without batch and channels.

        Raises:
            ValueError: ``input_size`` does not fit the network.
        """
        self.geometry.check_input_size(input_size)
        encoder = self.encoder.compute_conv_feature_map_size(input_size)
        return encoder + self.decoder.compute_conv_feature_map_size(input_size)

    @staticmethod
    def initialize(module: nn.Module) -> None:
        """nnU-Net's initialization (He, zero biases), then what a block asks for itself.

        nnU-Net calls ``network.apply(network.initialize)``: children come before their parents, so a block
        that defines ``initialize_after_he`` has the last word on its own convolutions.
        """
        InitWeights_He(1e-2)(module)
        if not isinstance(module, BasicBlockD) or last_norm_weights(module) is not None:
            init_last_bn_before_add_to_0(module)
        initialize_after_he = getattr(module, "initialize_after_he", None)
        if initialize_after_he is not None:
            initialize_after_he()


def _encoder_convolutions(
    n_conv_per_stage: int | Sequence[int] | None, n_blocks_per_stage: int | Sequence[int] | None
) -> int | Sequence[int]:
    """Convolutions of each encoder level; a residual block of a ResEnc plan has two."""
    if n_blocks_per_stage is None:
        return 2 if n_conv_per_stage is None else n_conv_per_stage
    if isinstance(n_blocks_per_stage, int):
        return 2 * n_blocks_per_stage
    return [2 * blocks for blocks in n_blocks_per_stage]


def _input_projections(block: nn.Module) -> tuple[str, ...]:
    """Names of the convolutions in a stage block that read its input.

    A block with more than one says so in ``input_projections``. Of others it is the first convolution, under
    each of its names: blocks of dynamic_network_architectures register theirs twice.
    """
    declared: tuple[str, ...] = getattr(block, "input_projections", ())
    modules = list(block.named_modules(remove_duplicate=False))
    first = next((module for _, module in modules if isinstance(module, nn.Conv2d | nn.Conv3d)), None)
    return declared or tuple(name for name, module in modules if module is first)
