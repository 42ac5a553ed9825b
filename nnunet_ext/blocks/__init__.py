"""Building blocks: one file per idea of a paper."""

from nnunet_ext.blocks.separable import RASBlock, SeparableConv, SpatialAttention
from nnunet_ext.blocks.settings import LayerSettings

__all__ = ["LayerSettings", "RASBlock", "SeparableConv", "SpatialAttention"]
