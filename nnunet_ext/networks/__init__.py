"""Networks: one U-Net with three sockets, and the papers' networks as its declarations."""

from nnunet_ext.networks.segmentation import RASUNet
from nnunet_ext.networks.unet import UNet

__all__ = ["RASUNet", "UNet"]
