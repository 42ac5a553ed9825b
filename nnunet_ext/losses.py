"""Focal loss in the place of cross-entropy in nnU-Net's compound losses, with all that these can do.

nnU-Net's Dice + cross-entropy knows softmax and regions, the ignore label, batch Dice, DDP and deep
supervision. The losses here only take the cross-entropy's place inside it, so none of that is written again.
"""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

GAMMA = 2.0
IGNORE_NOTHING = -100  # torch's own default

COMPOUND_LOSSES = (DC_and_CE_loss, DC_and_BCE_loss)


def focal_weighted(cross_entropy: torch.Tensor, *, gamma: float = GAMMA) -> torch.Tensor:
    """(1 - p)^gamma times the cross-entropy -log p of each voxel.

    Args:
        cross_entropy: -log of the probability given to the true class, 0 or more, of any shape.
        gamma: 0 or more; 0 changes nothing.

    Returns:
        A tensor of the same shape.

    Example:
        >>> import torch
        >>> focal_weighted(-torch.tensor([0.9]).log(), gamma=2.0)  # 0.01 times -log 0.9
        tensor([0.0011])
    """
    if gamma == 0:
        return cross_entropy
    # 1 - p without the cancellation near p = 1. The floor keeps the power's gradient finite at p = 1, where
    # it is infinite for gamma < 1.
    missing = (-torch.expm1(-cross_entropy)).clamp_min(torch.finfo(cross_entropy.dtype).tiny)
    return missing**gamma * cross_entropy


class FocalLoss(nn.Module):
    """Focal loss of softmax outputs: mean of -(1 - p_t)^gamma log p_t over the voxels that count.

    Reference:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017; papers 001 and 002 add it to Dice.

    Differences from the paper:
        - No class weights (its alpha), and the mean over voxels instead of over positives: the two papers say
          nothing of either. gamma, which they do not give, is 2 as in Lin's paper.

    Args:
        gamma: 0 or more; 0 is nnU-Net's cross-entropy.
        ignore_index: label of the voxels that do not count.

    Raises:
        ValueError: ``gamma`` is negative.

    Example:
        >>> import torch
        >>> loss = FocalLoss(gamma=0.0)
        >>> logits, target = torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3)
        >>> round(float(loss(logits, target)), 4)  # -log 0.5
        0.6931
    """

    def __init__(self, *, gamma: float = GAMMA, ignore_index: int = IGNORE_NOTHING) -> None:
        super().__init__()
        self.gamma = _checked(gamma)
        self.ignore_index = ignore_index

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(B, classes, *spatial) and labels (B, *spatial) of any dtype -> a scalar."""
        labels = target.long()
        cross_entropy = nn.functional.cross_entropy(
            logits, labels, reduction="none", ignore_index=self.ignore_index
        )
        total = focal_weighted(cross_entropy, gamma=self.gamma).sum()
        return total / (labels != self.ignore_index).sum()


class BinaryFocalLoss(nn.Module):
    """Focal loss of sigmoid outputs, for region labels: each channel is a question of its own.

    Reference:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.

    Differences from the paper:
        - As ``FocalLoss``.

    Args:
        gamma: 0 or more; 0 is ``nn.BCEWithLogitsLoss``.
        reduction: ``mean``, or ``none`` where nnU-Net takes the mean over what is not ignored itself.

    Raises:
        ValueError: ``gamma`` is negative.

    Example:
        >>> import torch
        >>> loss = BinaryFocalLoss(gamma=0.0)
        >>> round(float(loss(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3))), 4)
        0.6931
    """

    def __init__(self, *, gamma: float = GAMMA, reduction: str = "mean") -> None:
        super().__init__()
        self.gamma = _checked(gamma)
        self.reduction = reduction

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(B, regions, *spatial), 0 or 1 of the same shape -> a scalar, or that shape for ``none``."""
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        weighted = focal_weighted(cross_entropy, gamma=self.gamma)
        return weighted.mean() if self.reduction == "mean" else weighted


def with_focal(loss: nn.Module, *, weight: float, gamma: float = GAMMA) -> nn.Module:
    """nnU-Net's loss with ``weight`` times the focal loss in the place of its cross-entropy.

    Args:
        loss: what ``nnUNetTrainer._build_loss`` returns; changed in place.
        weight: of the focal loss beside Dice; paper 001 has 0.1, paper 002 0.5.
        gamma: of the focal loss.

    Returns:
        The same object.

    Raises:
        TypeError: the loss is none of nnU-Net's Dice + cross-entropy.
    """
    compound = _compound(loss)
    if isinstance(compound, DC_and_BCE_loss):
        compound.ce = BinaryFocalLoss(gamma=gamma, reduction="none" if compound.use_ignore_label else "mean")
    else:
        ignored = compound.ignore_label
        compound.ce = FocalLoss(gamma=gamma, ignore_index=IGNORE_NOTHING if ignored is None else ignored)
    compound.weight_ce = weight
    return loss


def without_cross_entropy(loss: nn.Module) -> nn.Module:
    """nnU-Net's loss with Dice alone; the same object, changed in place.

    Raises:
        TypeError: the loss is none of nnU-Net's Dice + cross-entropy.
    """
    _compound(loss).weight_ce = 0
    return loss


def with_dice_smoothing(loss: nn.Module, smooth: float) -> nn.Module:
    """nnU-Net's loss with ``smooth`` in numerator and denominator of its Dice.

    The same object, changed in place; where Dice is left out nothing changes.

    Raises:
        TypeError: the loss is none of nnU-Net's Dice + cross-entropy.
    """
    dice = _compound(loss).dc
    if hasattr(dice, "smooth"):
        dice.smooth = smooth
    return loss


class NoDice(nn.Module):
    """Stands where nnU-Net's loss has Dice: 0, with a gradient where there is nothing else to learn from."""

    def forward(
        self, logits: torch.Tensor, target: torch.Tensor, loss_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """0 for whatever is given."""
        return logits.flatten()[:1].sum() * 0


def without_dice(loss: nn.Module) -> nn.Module:
    """nnU-Net's loss with cross-entropy alone; the same object, changed in place.

    A patch of which everything is ignored costs 0, as with Dice.

    Raises:
        TypeError: the loss is none of nnU-Net's Dice + cross-entropy.
    """
    _compound(loss).dc = NoDice()
    return loss


def _compound(loss: nn.Module) -> Any:
    compound = loss.loss if isinstance(loss, DeepSupervisionWrapper) else loss
    if not isinstance(compound, COMPOUND_LOSSES):
        raise TypeError(
            f"expected nnU-Net's Dice + cross-entropy loss, got {type(compound).__name__}: the loss of this "
            "trainer cannot be changed by name"
        )
    return compound


def _checked(gamma: float) -> float:
    if gamma < 0:
        raise ValueError(f"gamma must be 0 or more, got {gamma}")
    return gamma
