"""bfloat16 forward pass on CPUs that compute in it.

Only the forward pass: with the loss inside autocast too, vanilla nnU-Net stood at a Dice of 0.0004 after 275
iterations on the hippocampus, where a float32 loss had reached 0.36 and 0.72 after 150.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_ext.precision import cpu_computes_bfloat16

VARIABLE = "nnUNet_ext_bfloat16"


def bfloat16_is_wanted(*, by_default: bool) -> bool:
    """What the environment variable ``nnUNet_ext_bfloat16`` asks for.

    Args:
        by_default: whether a trainer uses it where the variable is unset and the CPU computes bfloat16.

    Returns:
        False for ``0``; True for ``1``, on any CPU; the default otherwise.

    Raises:
        ValueError: the variable has another value.
    """
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise ValueError(
            f"{VARIABLE} must be 0 (float32 everywhere), 1 (bfloat16 forward in training on any CPU, also of "
            f"composed vanilla trainers) or unset, got {value!r}"
        )
    return value == "1" or (value == "" and by_default and cpu_computes_bfloat16())


@contextmanager
def bfloat16_forward(network: nn.Module) -> Iterator[None]:
    """Inside the context ``network`` computes in bfloat16 and returns float32.

    Only the instance's ``forward`` is replaced, and put back at the end: nothing of it reaches a checkpoint,
    ``torch.compile`` or inference.

    Example:
        >>> network = nn.Conv2d(1, 1, 1)
        >>> with bfloat16_forward(network):
        ...     network(torch.ones(1, 1, 2, 2)).dtype
        torch.float32
        >>> "forward" in vars(network)
        False
    """
    plain_forward = network.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = plain_forward(*args, **kwargs)
        return [o.float() for o in output] if isinstance(output, list | tuple) else output.float()

    network.forward = forward
    try:
        yield
    finally:
        del network.forward


class Bfloat16Forward(nnUNetTrainer):
    """Runs the forward pass of training steps, and nothing else, in bfloat16 where the CPU computes it.

    The final validation and ``nnUNetv2_predict`` stay in float32. Does nothing on a GPU, where nnU-Net has
    its own mixed precision.
    """

    bfloat16_by_default: ClassVar[bool] = True

    def initialize(self) -> None:
        """As nnU-Net's; lays the weights out as the CPU's bfloat16 convolutions want them, channels last.

        Measured on the hippocampus plan (batch 7, 40x56x40): a (1, 3, 3) convolution of 32 channels takes 16
        instead of 75 ms forward and 55 instead of 201 ms with its backward pass.
        """
        super().initialize()
        if self._uses_bfloat16():
            dim = len(self.configuration_manager.patch_size)
            self.network.to(memory_format=torch.channels_last if dim == 2 else torch.channels_last_3d)

    def on_train_start(self) -> None:
        """As nnU-Net's; says in the log which precision the training has, where there is a choice to note."""
        super().on_train_start()
        uses_bfloat16 = self._uses_bfloat16()
        if uses_bfloat16 or (self.device.type == "cpu" and self.bfloat16_by_default):
            precision = "bfloat16" if uses_bfloat16 else "float32"
            self.print_to_log_file(f"Forward pass of training in {precision} ({VARIABLE}=0 or 1 to choose)")
        if uses_bfloat16 and not cpu_computes_bfloat16():
            self.print_to_log_file(f"This CPU only emulates bfloat16, slowly: {VARIABLE}=0 is faster here")

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step with the network's forward pass in bfloat16 and the loss in float32."""
        with self._forward_precision():
            outputs: dict[str, Any] = super().train_step(batch)
        return outputs

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step with the network's forward pass in bfloat16 and the loss in float32."""
        with self._forward_precision():
            outputs: dict[str, Any] = super().validation_step(batch)
        return outputs

    def _uses_bfloat16(self) -> bool:
        return self.device.type == "cpu" and bfloat16_is_wanted(by_default=self.bfloat16_by_default)

    def _forward_precision(self) -> AbstractContextManager[None]:
        return bfloat16_forward(self.network) if self._uses_bfloat16() else nullcontext()


class OptionalBfloat16Forward(Bfloat16Forward):
    """The same for composed vanilla trainers, which change nothing unless the variable asks for it."""

    bfloat16_by_default: ClassVar[bool] = False
