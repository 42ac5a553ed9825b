"""Max-pooling in mixed precision."""

from __future__ import annotations

import torch
from layer_settings import LINEAR
from torch import nn


def test_nothing_is_kept_twice_under_autocast() -> None:
    """PyTorch's own, on a CPU, keeps a float32 copy of what it is given."""
    kept: list[torch.Tensor] = []
    skip = torch.randn(1, 4, 8, 8, 8).bfloat16().requires_grad_()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with torch.autocast("cpu", dtype=torch.bfloat16), hooks:
        pooled = LINEAR[3].max_pooling((2, 2, 2))(skip)
    assert pooled.dtype == torch.bfloat16
    floats = [t for t in kept if t.is_floating_point() and t.numel() == skip.numel()]
    assert {t.untyped_storage().data_ptr() for t in floats} == {skip.untyped_storage().data_ptr()}
    expected = nn.functional.max_pool3d(skip.float(), 2)
    assert torch.equal(pooled.float(), expected)
    pooled.sum().backward()
    assert skip.grad is not None
    assert float(skip.grad.float().sum()) == pooled.numel()


def test_shapes_without_memory() -> None:
    """As trainers try their network before the first step."""
    image = torch.empty(1, 4, 8, 8, 8, device="meta")
    assert LINEAR[3].max_pooling((2, 2, 2))(image).shape == (1, 4, 4, 4, 4)
