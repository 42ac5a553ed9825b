"""Less memory in training: what is cheap to compute is computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import prod
from typing import Any, Literal

import torch
from torch import nn
from torch.utils import checkpoint as torch_checkpoint

from nnunet_ext.blocks import LayerSettings

Recompute = Literal["nothing", "skips", "stages"]

# Convolutions with fewer taps (pointwise, through-plane, transposed) cost little beside those that are kept.
KEPT_TAPS = 9
# PyTorch has selective recomputation since 2.4; before, networks keep what they always kept.
HAS_SELECTIVE = hasattr(torch_checkpoint, "create_selective_checkpoint_contexts")


def economical(
    function: Callable[..., torch.Tensor], *inputs: torch.Tensor, draws_random_numbers: bool
) -> torch.Tensor:
    """``function(*inputs)``, of which the backward pass keeps inputs and outputs of large convolutions alone.

    Normalization, nonlinearities, gates, concatenation and small convolutions are computed a second time when
    their gradients are. The result and the gradients are the same numbers. Compiled code is left alone:
    torch.compile decides itself what to compute again.

    Args:
        function: from tensors to a tensor; may use weights.
        *inputs: its arguments.
        draws_random_numbers: it has dropout, and must draw the same again.

    Example:
        >>> x = torch.ones(1, 1, 4, 4, requires_grad=True)
        >>> economical(torch.sigmoid, x, draws_random_numbers=False).sum().backward()
        >>> x.grad.shape
        torch.Size([1, 1, 4, 4])
    """
    if not HAS_SELECTIVE or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return function(*inputs)
    output: torch.Tensor = torch_checkpoint.checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=draws_random_numbers,
        context_fn=partial(torch_checkpoint.create_selective_checkpoint_contexts, _policy),
    )
    return output


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> Any:
    if operation is not torch.ops.aten.convolution.default:
        return torch_checkpoint.CheckpointPolicy.PREFER_RECOMPUTE
    weight, transposed = args[1], args[6]
    keep = not transposed and prod(weight.shape[2:]) >= KEPT_TAPS
    policy = torch_checkpoint.CheckpointPolicy
    return policy.MUST_SAVE if keep else policy.PREFER_RECOMPUTE


def can_be_computed_twice(modules: Iterable[nn.Module], settings: LayerSettings) -> bool:
    """False where a forward pass leaves a trace: in running statistics, or in what a convolution returned.

    Args:
        modules: what would be computed twice.
        settings: layers of the plan; without normalization an in-place nonlinearity overwrites its input.
    """
    overwrites = [
        settings.dropout_op is not None and settings.dropout_op_kwargs.get("inplace", False),
        settings.norm_op is None and settings.nonlin_kwargs.get("inplace", False),
    ]
    has_statistics = any(getattr(m, "track_running_stats", False) for part in modules for m in part.modules())
    return not has_statistics and not any(overwrites)


def draws_random_numbers(modules: Iterable[nn.Module]) -> bool:
    """True where a module drops something in training."""
    return any(
        isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0
        for module in modules
        for m in module.modules()
    )
