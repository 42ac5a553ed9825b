"""Trainers of the papers' segmentation networks: nnU-Net's regime with another network."""

from __future__ import annotations

from nnunet_ext.trainers.base import NetworkTrainer, builds

from nnunet_ext.networks import RASUNet


class nnUNetTrainerRASUNet(NetworkTrainer):
    """RAS U-Net of paper 004 (``nnunet_ext.networks.RASUNet``) in nnU-Net's training regime.

    Differences from the paper:
        - Optimiser, learning rate, loss, augmentation and length are nnU-Net's.
        - Spacing, patch, batch and intensity window are the plan's.
    """

    build_network_architecture = builds(RASUNet)
