"""Trainers of the papers' segmentation networks: nnU-Net's regime with another network.

Common to all, against the papers: optimizer, learning rate, augmentation and length are nnU-Net's, unless the
name has the modifier ``Paper``; spacing, patch, batch and intensity window are the plan's.
"""

from __future__ import annotations

from nnunet_ext.trainers.base import NetworkTrainer, builds
from nnunet_ext.trainers.losses import DiceFocalLoss

from nnunet_ext.networks import AFUNet, AGUNet, MAUNet, RASUNet, ResUNet, SEUNet, VNet
from nnunet_ext.regimes import REGIMES


class nnUNetTrainerAGUNet(NetworkTrainer):
    """U-Net with attention gates, the fine network of paper 000 (``nnunet_ext.networks.AGUNet``)."""

    build_network_architecture = builds(AGUNet)


class nnUNetTrainerMAUNet(DiceFocalLoss, NetworkTrainer):
    """MAUNet of paper 001 (``nnunet_ext.networks.MAUNet``) with its loss, Dice + 0.1 focal."""

    build_network_architecture = builds(MAUNet)
    focal_weight = REGIMES["001"].focal_weight


class nnUNetTrainerAFUNet(DiceFocalLoss, NetworkTrainer):
    """AFU-Net of paper 002 (``nnunet_ext.networks.AFUNet``) with its loss, Dice + 0.5 focal."""

    build_network_architecture = builds(AFUNet)
    focal_weight = REGIMES["002"].focal_weight


class nnUNetTrainerResUNet(NetworkTrainer):
    """Residual U-Net, the fine network of paper 003 (``nnunet_ext.networks.ResUNet``)."""

    build_network_architecture = builds(ResUNet)


class nnUNetTrainerRASUNet(NetworkTrainer):
    """RAS U-Net of paper 004 (``nnunet_ext.networks.RASUNet``)."""

    build_network_architecture = builds(RASUNet)


class nnUNetTrainerSEUNet(NetworkTrainer):
    """SE U-Net, a comparison network of paper 004 (``nnunet_ext.networks.SEUNet``)."""

    build_network_architecture = builds(SEUNet)


class nnUNetTrainerVNet(NetworkTrainer):
    """V-Net, a comparison network of papers 002 and 004 (``nnunet_ext.networks.VNet``)."""

    build_network_architecture = builds(VNet)
