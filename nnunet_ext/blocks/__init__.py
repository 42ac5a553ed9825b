"""Building blocks: one file per idea of a paper."""

from nnunet_ext.blocks.attention import PositionAttention, SqueezeExcitation
from nnunet_ext.blocks.dilated import DASP
from nnunet_ext.blocks.fusion import AttentionFusion, GatedConcat, SkipFusion, UpsampleConcat
from nnunet_ext.blocks.gates import AttentionGate, GridAttentionGate
from nnunet_ext.blocks.separable import RASBlock, SeparableConv, SpatialAttention
from nnunet_ext.blocks.settings import LayerSettings
from nnunet_ext.blocks.stages import PlainStage, ResidualStage, SqueezeExcitationStage, VNetStage

__all__ = [
    "DASP",
    "AttentionFusion",
    "AttentionGate",
    "GatedConcat",
    "GridAttentionGate",
    "LayerSettings",
    "PlainStage",
    "PositionAttention",
    "RASBlock",
    "ResidualStage",
    "SeparableConv",
    "SkipFusion",
    "SpatialAttention",
    "SqueezeExcitation",
    "SqueezeExcitationStage",
    "UpsampleConcat",
    "VNetStage",
]
