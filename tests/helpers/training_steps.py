"""Training steps whose memory is traced and measured."""

from __future__ import annotations

import dataclasses
from typing import Any

from arch_kwargs import SHAPES, Shape

from nnunet_ext.planning import TrainingStep

VANILLA = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
RESENC = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def step_of(network: str, shape: Shape = SHAPES[2], **changes: Any) -> TrainingStep:
    """A step of two patches on the CPU in float32, with the changes."""
    step = TrainingStep(
        network=network,
        arch_kwargs=shape.arch_kwargs(resenc=network == RESENC),
        input_channels=shape.input_channels,
        outputs=shape.num_classes,
        patch_size=shape.image,
        batch_size=2,
        device="cpu",
        autocast=None,
    )
    return dataclasses.replace(step, **changes)
