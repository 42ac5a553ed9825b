"""Max-pooling that keeps the type of what it is given."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import nn


class MaxPool3d(nn.MaxPool3d):
    """PyTorch's, in mixed precision too: a maximum is as exact in half of the bytes.

    On a CPU autocast would compute it in float32, and keep a second copy of each skip, of twice its size, for
    the backward pass.

    Example:
        >>> with torch.autocast("cpu", dtype=torch.bfloat16):
        ...     MaxPool3d(2)(torch.ones(1, 1, 2, 2, 2, dtype=torch.bfloat16)).dtype
        torch.bfloat16
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 # as PyTorch calls it
        """(B, C, Z, Y, X) -> (B, C, Z / stride, ...)."""
        device = input.device.type
        # The meta device, on which networks are tried before they train, knows no autocast.
        knows = torch.amp.is_autocast_available(device)
        with torch.autocast(device, enabled=False) if knows else nullcontext():
            pooled: torch.Tensor = super().forward(input)
            return pooled
