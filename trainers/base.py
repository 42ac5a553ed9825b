"""What all our trainers share, and how one says which network it trains."""

from __future__ import annotations

import pydoc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

# Keywords whose values are names of classes in the plans.
_CLASSES = ("conv_op", "norm_op", "dropout_op", "nonlin")
_DEPTH = ("n_conv_per_stage", "n_blocks_per_stage")


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
        classes = configuration_manager.network_arch_init_kwargs_req_import
        planned = f"{plans_manager.plans_name} ({configuration_manager.network_arch_class_name})"
        with _telling_of_plans(network, planned):
            _check_arch_kwargs(network, arch_kwargs, classes=classes)
            built: nn.Module = get_network_from_plans(
                f"{network.__module__}.{network.__qualname__}",
                arch_kwargs,
                classes,
                num_input_channels,
                num_output_channels,
                allow_init=True,
                deep_supervision=enable_deep_supervision,
            )
        return built

    return staticmethod(build_network_architecture)


@contextmanager
def _telling_of_plans(network: type[UNet], planned: str) -> Iterator[None]:
    """Inside it, an error names the plans, and what to do."""
    try:
        yield
    except (TypeError, ValueError) as error:  # also of a layer that does not take what the plans say
        raise ValueError(
            f"{network.__name__} cannot be built from the plans {planned}: {error}. Use plans of nnU-Net's "
            f"default or ResEnc planners, or plans made for {network.__name__}."
        ) from error


def _check_arch_kwargs(network: type[UNet], arch_kwargs: dict[str, Any], *, classes: Sequence[str]) -> None:
    """Raise ValueError for what cannot be built, or would be built otherwise than the plans say."""
    known, required = network.plan_keywords()
    unknown, missing = set(arch_kwargs) - known, (required | set(classes)) - set(arch_kwargs)
    if unknown or missing:
        raise ValueError(f"missing {sorted(missing)}, unknown {sorted(unknown)} in arch_kwargs")
    depth = [key for key in _DEPTH if arch_kwargs.get(key) is not None]
    if len(depth) != 1:
        raise ValueError(f"expected one of {' and '.join(_DEPTH)} in arch_kwargs, got {depth}")
    # nnU-Net takes a class that it does not find for none, and would train without normalization.
    named = {key: arch_kwargs[key] for key in _CLASSES if isinstance(arch_kwargs.get(key), str)}
    lost = {key: name for key, name in named.items() if key not in classes or pydoc.locate(name) is None}
    if lost:
        raise ValueError(f"expected classes that exist, listed in _kw_requires_import, got {lost}")
