"""Networks: one U-Net with three sockets, and the papers' networks as its declarations."""

from nnunet_ext.networks.segmentation import AFUNet, AGUNet, MAUNet, RASUNet, ResUNet, SEUNet, VNet
from nnunet_ext.networks.unet import UNet

__all__ = ["AFUNet", "AGUNet", "MAUNet", "RASUNet", "ResUNet", "SEUNet", "UNet", "VNet"]
