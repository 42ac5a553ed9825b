"""Attention as a GPU computes it, on tensors that have none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def fused_attention() -> Iterator[None]:
    """Inside it, attention is traced by a kernel that keeps no matrix of N x N, as GPUs have.

    PyTorch asks the GPU which kernels it has; where there is none, it takes the one that multiplies matrices,
    and a position attention of 4096 voxels seems to keep a gigabyte that it does not.
    """
    name = "scaled_dot_product_attention"
    plain = getattr(nn.functional, name)

    def fused(query: Any, key: Any, value: Any, *, scale: float) -> Any:
        kernel = torch.ops.aten._scaled_dot_product_efficient_attention
        return kernel(query, key, value, None, True, scale=scale)[0]

    setattr(nn.functional, name, fused)
    try:
        yield
    finally:
        setattr(nn.functional, name, plain)
