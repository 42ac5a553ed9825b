"""Which loss a trainer has, where it is not nnU-Net's Dice + cross-entropy."""

from __future__ import annotations

from typing import ClassVar

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_ext.losses import GAMMA, with_focal, without_cross_entropy


class DiceFocalLoss(nnUNetTrainer):
    """Dice + ``focal_weight`` times focal loss.

    Attributes:
        focal_weight: 1 unless the trainer's paper has another.
    """

    focal_weight: ClassVar[float] = 1.0

    def _build_loss(self) -> nn.Module:
        self.print_to_log_file(f"Loss: Dice + {self.focal_weight:g} x focal loss (gamma {GAMMA:g})")
        return with_focal(super()._build_loss(), weight=self.focal_weight)


class DiceLoss(nnUNetTrainer):
    """Dice alone."""

    def _build_loss(self) -> nn.Module:
        self.print_to_log_file("Loss: Dice")
        return without_cross_entropy(super()._build_loss())
