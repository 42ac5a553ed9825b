"""What each modifier of a trainer's name does; their spelling is in ``registry``.

Ablations of a network's plug are no classes: ``composition`` hands them to the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

import torch
from nnunet_ext.trainers.losses import DiceFocalLoss, DiceLoss
from nnunet_ext.trainers.mirroring import RestrictedMirroring
from nnunet_ext.trainers.regime import PaperRegime
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class Modifier(nnUNetTrainer):
    """Base of the modifiers: applies them once the trainer itself is constructed.

    Attributes:
        numbers: the numbers in the trainer's name, by keyword; set by the composed class.
    """

    numbers: ClassVar[Mapping[str, int]] = {}
    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature; it reads these names
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.apply_modifiers()

    def apply_modifiers(self) -> None:
        """Change attributes of the constructed trainer; every modifier calls ``super()`` first."""


class Paper(Modifier, PaperRegime):
    """``Paper``: optimizer, rate, schedule, augmentation and length as in the trainer's paper."""

    def apply_modifiers(self) -> None:
        """Set what nnU-Net has as attributes; modifiers that are named change it afterwards."""
        super().apply_modifiers()
        self.initial_lr = self.regime.learning_rate
        self.weight_decay = self.regime.weight_decay
        self.enable_deep_supervision = self.regime.deep_supervision
        if self.regime.planned_crop:
            self.oversample_foreground_percent = 0.0
        if self.regime.epochs is not None:
            self.num_epochs = self.regime.epochs
        elif self.regime.iterations is not None:
            iterations = self.numbers.get("iters", self.num_iterations_per_epoch)
            self.num_epochs = ceil(self.regime.iterations / iterations)

    @property
    def iterations_are_given(self) -> bool:
        """``{N}iters`` comes before a pass over the samples."""
        return "iters" in self.numbers


class Epochs(Modifier):
    """``{N}epochs``: the length of the training."""

    def apply_modifiers(self) -> None:
        """Set the number of epochs; the learning rate's schedule follows it."""
        super().apply_modifiers()
        self.num_epochs = self.numbers["epochs"]


class Iterations(Modifier):
    """``{N}iters``: training iterations an epoch, with validation iterations in the trainer's proportion."""

    def apply_modifiers(self) -> None:
        """Set both numbers of iterations; there is always one of validation."""
        super().apply_modifiers()
        validation_share = self.num_val_iterations_per_epoch / self.num_iterations_per_epoch
        self.num_iterations_per_epoch = self.numbers["iters"]
        self.num_val_iterations_per_epoch = max(1, round(validation_share * self.num_iterations_per_epoch))


class DiceFocal(Modifier, DiceFocalLoss):
    """``DiceFocal``: Dice + focal loss, with the weight that the trainer's paper has, or 1."""


class Dice(Modifier, DiceLoss):
    """``Dice``: Dice alone."""


class NoDeepSupervision(Modifier):
    """``NoDeepSupervision``: the loss sees the full-resolution output only."""

    def apply_modifiers(self) -> None:
        """Switch deep supervision off before the network is built."""
        super().apply_modifiers()
        self.enable_deep_supervision = False


class NoMirroring(Modifier, RestrictedMirroring):
    """``NoMirroring``: neither training nor prediction mirrors the image."""

    def restrict_mirroring(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """None of them."""
        return super().restrict_mirroring(())


MODIFIER_CLASSES: Mapping[str, type[Modifier]] = {
    "Paper": Paper,
    "epochs": Epochs,
    "iters": Iterations,
    "DiceFocal": DiceFocal,
    "Dice": Dice,
    "NoDeepSupervision": NoDeepSupervision,
    "NoMirroring": NoMirroring,
}
