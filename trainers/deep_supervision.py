"""Deep supervision that follows the network's own outputs instead of the plan's poolings."""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunet_ext.networks import UNet


def unwrapped(network: nn.Module) -> UNet:
    """Our network without the wrappers of DDP and torch.compile."""
    if isinstance(network, DistributedDataParallel):
        network = network.module
    if isinstance(network, OptimizedModule):
        network = network._orig_mod
    return cast(UNet, network)


class DeepSupervisionFollowsNetwork(nnUNetTrainer):
    """Takes scales and weights of deep supervision from the network.

    nnU-Net derives them from the plan's strides: a plan of two levels gives the weight 0/0, one of a single
    level an IndexError, and where network and plan disagree outputs are dropped without a word.
    """

    def initialize(self) -> None:
        """As nnU-Net's; without deep supervision for one level, and with the outputs checked.

        Raises:
            ValueError: the network refuses the plan's patch, or its outputs do not have the sizes that the
                targets will have.
        """
        if self.configuration_manager.network_arch_init_kwargs.get("n_stages") == 1:
            self.enable_deep_supervision = False
        super().initialize()
        self._check_output_sizes()

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        if not self.enable_deep_supervision:
            return None
        return unwrapped(self.network).deep_supervision_scales

    def _build_loss(self) -> nn.Module:
        # nnU-Net gives the smallest of several outputs the weight 0; of a single one it makes 0/0.
        with np.errstate(invalid="ignore"):
            loss: nn.Module = super()._build_loss()
        if isinstance(loss, DeepSupervisionWrapper) and len(loss.weight_factors) == 1:
            loss.weight_factors = (1.0,)
        return loss

    def _check_output_sizes(self) -> None:
        network = unwrapped(self.network)
        patch_size = list(self.configuration_manager.patch_size)
        # Shapes only: nothing is computed. A copy, since blocks of dynamic_network_architectures have two
        # names for each tensor, which torch.func.functional_call does not put back. In evaluation mode,
        # since a SyncBatchNorm that trains wants a GPU.
        shapes_only = copy.deepcopy(network).to("meta").eval()
        with torch.no_grad():
            outputs = shapes_only(torch.empty((1, self.num_input_channels, *patch_size), device="meta"))
        found = [list(o.shape[2:]) for o in (outputs if isinstance(outputs, list) else [outputs])]
        # The same rounding as batchgeneratorsv2's DownsampleSegForDSTransform.
        expected = [
            [round(n * s) for n, s in zip(patch_size, scales, strict=True)]
            for scales in self._get_deep_supervision_scales() or [[1.0] * len(patch_size)]
        ]
        if found != expected:
            raise ValueError(
                f"{type(network).__name__} returns outputs of sizes {found} for the patch {patch_size}, but "
                f"its deep_supervision_scales give targets of sizes {expected}. Correct the network's "
                "deep_supervision_scales."
            )
