"""Coarse, where to look, fine: cascades in nnU-Net's two stages, one trainer for both.

    nnUNetv2_train D 3d_lowres F -p PLANS -tr T             # all folds
    nnUNetv2_train D 3d_cascade_fullres F -p PLANS -tr T

Plans with both stages are made by ``nnunet_ext plan D --network NAME --coarse``. Another fine network is one
more line, ``build_network_architecture = builds_fine(RASUNet)``; it shares the coarse folds of the trainer
that it derives from.
"""

from __future__ import annotations

from typing import Any, ClassVar

from nnunet_ext.trainers.case_data import DatasetWithCaseData
from nnunet_ext.trainers.coarse_stage import CoarseStage
from nnunet_ext.trainers.fine_stage import FineStage
from nnunet_ext.trainers.losses import DiceFocalLoss, DiceLoss
from nnunet_ext.trainers.regime import PaperRegime, count_samples
from nnunet_ext.trainers.stages import StagedTrainer, builds_fine
from torch import nn

from nnunet_ext.cascade.settings import Kind
from nnunet_ext.losses import without_dice
from nnunet_ext.networks import AGUNet, MAUNet, ResUNet
from nnunet_ext.regimes import REGIMES


class CascadeTrainer(FineStage, CoarseStage):
    """Both stages of a cascade; a subclass says how it proposes patches and which network is the fine one."""


class CoarseCrossEntropy(StagedTrainer):
    """Cross-entropy alone in the coarse stage."""

    def _build_loss(self) -> nn.Module:
        loss: nn.Module = super()._build_loss()
        if self.stage != "coarse":
            return loss
        self.print_to_log_file("Loss: cross-entropy")
        return without_dice(loss)


class nnUNetTrainerSkeletonCascade(DiceLoss, CoarseCrossEntropy, CascadeTrainer):
    """Two stages of paper 000: fine patches along the skeleton of the coarse vessels.

    Coarse: the plan's network, cross-entropy. Fine: ``nnunet_ext.networks.AGUNet``, Dice.
    """

    kind: ClassVar[Kind] = "skeleton"
    coarse_trainer = "nnUNetTrainerSkeletonCascade"
    build_network_architecture = builds_fine(AGUNet)


class nnUNetTrainerROICascade(CascadeTrainer):
    """Two stages of paper 003: a box around each organ that the coarse stage finds.

    Coarse: the plan's network, nnU-Net's loss. Fine: ``nnunet_ext.networks.ResUNet``, nnU-Net's loss.
    """

    kind: ClassVar[Kind] = "roi"
    coarse_trainer = "nnUNetTrainerROICascade"
    build_network_architecture = builds_fine(ResUNet)


class nnUNetTrainerROICascadeMAUNet(DiceFocalLoss, nnUNetTrainerROICascade):
    """Two stages of paper 001: MAUNet and its loss in a box around the heart."""

    build_network_architecture = builds_fine(MAUNet)
    focal_weight = REGIMES["001"].focal_weight


class CascadeRegime(PaperRegime):
    """A paper's regime in both stages of a cascade."""

    def samples_of(self, training: Any) -> int:
        """What a pass goes over: the windows of the fine stage, the volumes of the coarse one."""
        if self.regime.sample != "patch":
            return count_samples(training, self.regime, self.configuration_manager.patch_size)
        if isinstance(training, DatasetWithCaseData):
            return sum(len(windows) for windows in training.windows.values())
        return len(training.identifiers)

    @property
    def planned_as(self) -> str | None:
        """The fine stage stands where the paper's network does; of the coarse one no preset tells."""
        is_fine = self.configuration_manager.previous_stage_name is not None
        return self.regime.preset.configuration if is_fine else None
