"""Which loss a trainer has, where it is not nnU-Net's Dice + cross-entropy."""

from __future__ import annotations

from typing import ClassVar

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_ext.losses import GAMMA, with_focal, without_cross_entropy


class ChosenLoss(nnUNetTrainer):
    """Base of the losses that a trainer or its name chooses."""

    @property
    def chooses_loss(self) -> bool:
        """False where the choice does not concern this training: the coarse stage of a cascade."""
        return True


class DiceFocalLoss(ChosenLoss):
    """Dice + ``focal_weight`` times focal loss.

    Attributes:
        focal_weight: 1 unless the trainer's paper has another.
    """

    focal_weight: ClassVar[float] = 1.0

    def _build_loss(self) -> nn.Module:
        loss: nn.Module = super()._build_loss()
        if not self.chooses_loss:
            return loss
        self.print_to_log_file(f"Loss: Dice + {self.focal_weight:g} x focal loss (gamma {GAMMA:g})")
        return with_focal(loss, weight=self.focal_weight)


class DiceLoss(ChosenLoss):
    """Dice alone."""

    def _build_loss(self) -> nn.Module:
        loss: nn.Module = super()._build_loss()
        if not self.chooses_loss:
            return loss
        self.print_to_log_file("Loss: Dice")
        return without_cross_entropy(loss)
