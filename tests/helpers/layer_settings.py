"""Layers as nnU-Net's plans have them, for tests of single blocks."""

from __future__ import annotations

from torch import nn

from nnunet_ext.blocks import LayerSettings

SETTINGS = {
    dim: LayerSettings(
        conv_op=conv_op,
        conv_bias=True,
        norm_op=norm_op,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
    )
    for dim, conv_op, norm_op in ((2, nn.Conv2d, nn.InstanceNorm2d), (3, nn.Conv3d, nn.InstanceNorm3d))
}

# Convolutions alone: responses can be computed by hand.
LINEAR = {2: LayerSettings(conv_op=nn.Conv2d), 3: LayerSettings(conv_op=nn.Conv3d)}
