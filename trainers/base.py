"""What all our trainers share, and how one says which network it trains."""

from __future__ import annotations

from typing import Any

from nnunet_ext.trainers.checkpoints import SafeCheckpoints
from nnunet_ext.trainers.deep_supervision import DeepSupervisionFollowsNetwork
from nnunet_ext.trainers.folds import KnownFolds
from nnunet_ext.trainers.mirroring import KeepsLeftAndRight
from nnunet_ext.trainers.precision import Bfloat16Forward
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_ext.networks import UNet


class NetworkTrainer(
    DeepSupervisionFollowsNetwork, KeepsLeftAndRight, KnownFolds, SafeCheckpoints, Bfloat16Forward
):
    """nnU-Net's trainer with another network; a subclass says which with ``builds``."""


def builds(network: type[UNet], **options: bool) -> staticmethod[..., nn.Module]:
    """The ``build_network_architecture`` of a trainer for ``network``.

    nnU-Net calls it on the class, in training and in prediction alike, with plans and nothing else.

    Args:
        network: a network that reads the plans' ``arch_kwargs``; found again by its module and name.
        **options: keywords of the network that come before what the plans say.

    Returns:
        A static method with nnU-Net's signature.
    """

    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network with the shape that the plans give it, initialized.

        Raises:
            ValueError: the plans do not describe a U-Net, or have options that the network does not know.
        """
        arch_kwargs: dict[str, Any] = {**configuration_manager.network_arch_init_kwargs, **options}
        _check_arch_kwargs(
            network,
            arch_kwargs,
            source=f"{plans_manager.plans_name} ({configuration_manager.network_arch_class_name})",
        )
        built: nn.Module = get_network_from_plans(
            f"{network.__module__}.{network.__qualname__}",
            arch_kwargs,
            configuration_manager.network_arch_init_kwargs_req_import,
            num_input_channels,
            num_output_channels,
            allow_init=True,
            deep_supervision=enable_deep_supervision,
        )
        return built

    return staticmethod(build_network_architecture)


def _check_arch_kwargs(network: type[UNet], arch_kwargs: dict[str, Any], *, source: str) -> None:
    known, required = network.plan_keywords()
    unknown, missing = set(arch_kwargs) - known, required - set(arch_kwargs)
    if unknown or missing:
        raise ValueError(
            f"{network.__name__} cannot be built from the plans {source}: missing {sorted(missing)}, unknown "
            f"{sorted(unknown)} in arch_kwargs. Use plans of nnU-Net's default or ResEnc planners, or plans "
            f"made for {network.__name__}."
        )
