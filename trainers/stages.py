"""The two stages of a cascade in one trainer: which one a configuration is, and which network it builds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from nnunet_ext.trainers.base import NetworkTrainer, builds
from nnunet_ext.trainers.deep_supervision import DeepSupervisionFollowsNetwork
from nnunet_ext.trainers.losses import ChosenLoss
from nnunet_ext.trainers.names import parse
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_ext.cascade.settings import Kind
from nnunet_ext.networks import UNet

Stage = Literal["coarse", "fine"]


class StageError(ValueError):
    """A configuration that is no stage of a cascade."""


def how_to_plan(dataset: str, *, trainer: str) -> str:
    """What to type for plans with both stages, and then.

    Example:
        >>> how_to_plan("Dataset502_ImageCAS", trainer="nnUNetTrainerSkeletonCascade_20epochs").split(";")[0]
        'Plans with both stages are made by nnunet_ext plan Dataset502_ImageCAS --network AGUNet --coarse'
    """
    parsed = parse(trainer)
    network = parsed.trainer.network.rpartition(".")[2] if parsed is not None else "NAME"
    return (
        f"Plans with both stages are made by nnunet_ext plan {dataset} --network {network} --coarse; then "
        f"type nnUNetv2_train {dataset} 3d_lowres FOLD -p PLANS -tr {trainer} for every fold, and the same "
        "with 3d_cascade_fullres"
    )


def stage_of(
    configuration: ConfigurationManager,
    *,
    trainer: str = "TRAINER",
    of: str = "this configuration",
    dataset: str = "DATASET",
) -> Stage:
    """Which stage a configuration of nnU-Net's plans is.

    Args:
        configuration: of the plans.
        trainer: for the error.
        of: the configuration's name, for the error.
        dataset: for the error.

    Raises:
        NotImplementedError: the configuration is in 2D.
        StageError: it is no stage of a cascade, or one between two others.
    """
    if len(configuration.patch_size) != 3:
        raise NotImplementedError(
            f"{trainer} is a cascade in 3D; {of} is in 2D: use a trainer without stages"
        )
    has_next = configuration.next_stage_names is not None
    has_previous = configuration.previous_stage_name is not None
    if has_next and has_previous:
        raise NotImplementedError(f"{trainer} has two stages; {of} stands between two others")
    if has_next == has_previous:
        raise StageError(
            f"{trainer} trains the two stages of a cascade, and {of} is none: it has neither next_stage nor "
            f"previous_stage in the plans. {how_to_plan(dataset, trainer=trainer)}. To train the fine "
            "network on whole images, use its own trainer (`nnunet_ext trainers` lists them)"
        )
    return "coarse" if has_next else "fine"


class FirstChannels:
    """Hands a network the first channels of its input: the image without the coarse result.

    A hook of the built network rather than a module around it, so that names of weights, deep supervision and
    what else nnU-Net reaches for stay where they are.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The input with fewer channels."""
        return (inputs[0][:, : self.channels], *inputs[1:])


def builds_fine(
    network: type[UNet], *, coarse_input: bool = True, **options: bool
) -> staticmethod[..., nn.Module]:
    """The ``build_network_architecture`` of a cascade with ``network`` as the fine one.

    The coarse stage builds what its plan says.

    Args:
        network: of the fine stage.
        coarse_input: the fine network sees the coarse result, as nnU-Net's does; False shows it the image
            alone, as in paper 000, and stock prediction may still put the coarse channels behind it.
        **options: keywords of the network.
    """
    build_fine = builds(network, **options)

    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The network of the stage that the configuration is."""
        arguments = (num_output_channels, enable_deep_supervision)
        if stage_of(configuration_manager) == "coarse":
            built: nn.Module = nnUNetTrainer.build_network_architecture(
                plans_manager, configuration_manager, num_input_channels, *arguments
            )
            return built
        image_channels = len(configuration_manager.normalization_schemes)
        channels = num_input_channels if coarse_input else image_channels
        fine: nn.Module = build_fine(plans_manager, configuration_manager, channels, *arguments)
        if not coarse_input:
            fine.register_forward_pre_hook(FirstChannels(image_channels))
        return fine

    return staticmethod(build_network_architecture)


class StagedTrainer(NetworkTrainer, ChosenLoss):
    """Base of the cascades: knows its stage; what names choose of the loss concerns the fine one alone.

    Attributes:
        kind: how it proposes patches.
        coarse_trainer: trainer whose coarse folds it uses where its own name has none.
        stage: of the configuration it was made for.

    Raises:
        StageError: the configuration is no stage of a cascade.
        NotImplementedError: it is in 2D.
    """

    kind: ClassVar[Kind]
    coarse_trainer: ClassVar[str]
    stage: Stage
    configuration_manager: ConfigurationManager

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature; it reads these names
    ) -> None:
        # Before nnU-Net makes folders.
        own = type(self).__name__
        known = list(plans["configurations"])
        if configuration not in known:
            raise StageError(
                f"the plans {plans['plans_name']} have no {configuration}, but {known}. "
                f"{how_to_plan(plans['dataset_name'], trainer=own)}"
            )
        planned = PlansManager(plans).get_configuration(configuration)
        self.stage = stage_of(planned, trainer=own, of=configuration, dataset=plans["dataset_name"])
        super().__init__(plans, configuration, fold, dataset_json, device)

    @property
    def chooses_loss(self) -> bool:
        """The coarse stage's loss is the cascade's."""
        return self.stage == "fine"

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        if self.stage == "fine":
            return super()._get_deep_supervision_scales()
        # The network of the plan follows the plan's poolings.
        scales: list[list[float]] | None = super(
            DeepSupervisionFollowsNetwork, self
        )._get_deep_supervision_scales()
        return scales

    @contextmanager
    def configured_as(self, view: ConfigurationManager) -> Iterator[None]:
        """Inside it the trainer has another view of its configuration."""
        own: ConfigurationManager = self.configuration_manager
        self.configuration_manager = view
        try:
            yield
        finally:
            self.configuration_manager = own

    def train_command(self, configuration: str, *, trainer: str | None = None, fold: str = "FOLD") -> str:
        """What to type to train a stage."""
        plans = self.plans_manager
        name = trainer or type(self).__name__
        return f"nnUNetv2_train {plans.dataset_name} {configuration} {fold} -p {plans.plans_name} -tr {name}"
