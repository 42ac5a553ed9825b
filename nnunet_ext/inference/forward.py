"""From a tile to logits: the mean over folds and mirrored copies, in a stated precision."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from nnunet_ext.precision import cpu_computes_bfloat16

logger = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16", "float16")


def default_precision(device: torch.device | str) -> str:
    """What nnU-Net predicts in: float32, and on CUDA what its autocast takes, float16.

    Example:
        >>> default_precision("cpu"), default_precision("cuda")
        ('float32', 'float16')
    """
    return "float16" if torch.device(device).type == "cuda" else "float32"


class Forward:
    """Networks as one function of a tile.

    The mean over mirrored copies and folds is that of logits, as in nnU-Net. nnU-Net takes the mean over
    folds of whole volumes; all steps in between are linear, so it may be taken of tiles.

    Args:
        networks: one for each fold. They are moved to the device and, for bfloat16 on a CPU, laid out
            channels last.
        mirroring_axes: spatial axes, counted from 0; every combination is predicted.
        precision: ``"float32"``; ``"bfloat16"`` or ``"float16"`` by autocast.
        device: where to compute.

    Raises:
        ValueError: unknown precision, float16 without CUDA, or no networks.

    Example:
        >>> forward = Forward([nn.Conv2d(1, 2, 1)], mirroring_axes=(0, 1))
        >>> forward(torch.zeros(1, 1, 4, 4)).shape, forward.passes
        (torch.Size([1, 2, 4, 4]), 4)
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        *,
        mirroring_axes: Sequence[int] = (),
        precision: str = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        if precision not in PRECISIONS:
            raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
        if precision == "float16" and self.device.type != "cuda":
            raise ValueError("float16 needs --device cuda; a CPU computes in float32 or bfloat16")
        if not networks:
            raise ValueError("expected one network at least, got none")
        self.precision = precision
        axes = sorted({axis + 2 for axis in mirroring_axes})
        self._flips = [c for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]
        self._networks = [network.to(self.device).eval() for network in networks]
        if precision == "bfloat16" and self.device.type == "cpu":
            self._prepare_bfloat16()
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True

    @property
    def passes(self) -> int:
        """How often a network is called for one tile."""
        return len(self._networks) * len(self._flips)

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        """Logits of tiles.

        Args:
            tiles: (B, C, *patch) in float32, on any device.

        Returns:
            (B, heads, *patch) in float32, on the device of the networks.
        """
        tiles = tiles.to(self.device)
        total: Tensor | None = None
        with self._autocast():
            for network, axes in itertools.product(self._networks, self._flips):
                logits = network(torch.flip(tiles, axes) if axes else tiles).float()
                logits = torch.flip(logits, axes) if axes else logits
                total = logits if total is None else total.add_(logits)
        assert total is not None  # there is one network at least
        return total.div_(self.passes) if self.passes > 1 else total

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.precision))

    def _prepare_bfloat16(self) -> None:
        if not cpu_computes_bfloat16():
            logger.warning("This CPU only emulates bfloat16, slowly: --precision float32 is faster here")
        for network in self._networks:
            # As the CPU's bfloat16 convolutions want weights (measured in trainers/precision.py).
            flat = any(isinstance(module, nn.Conv2d) for module in network.modules())
            network.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)
