"""The most memory that a training step holds at once, traced without a GPU and without computing anything."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nnunet_ext.planning.memory import (
    TrainingStep,
    autocast,
    build_network,
    empty_target,
    sum_of_losses,
    trace_step_memory,
)


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive, from their making to their end.

    Attributes:
        now: bytes alive.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._known: dict[int, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and note the storages that it made."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known[key] = storage.nbytes()
        self.now += self._known[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._known.pop(key)


def trace_peak_bytes(step: TrainingStep) -> int:
    """The most memory that tensors take at once in a training step of nnU-Net.

    What is kept for the backward pass is traced as ``step.device`` keeps it. What comes and goes beside it,
    the results of operations and the gradients of activations, is traced on the CPU in the same precision: a
    backward pass on a GPU's tensors cannot run where there is no GPU.

    Not counted: workspaces of cuDNN, the CUDA context, what the allocator leaves between blocks; nor what
    torch.compile saves.

    Args:
        step: what is trained.

    Returns:
        Bytes. For the CPU in float32 it is what a real step reaches, but for the workspaces of its kernels.

    Raises:
        ValueError: from the network, where the patch does not fit it.

    Example:
        >>> plan = {"n_stages": 2, "features_per_stage": [4, 8], "conv_op": "torch.nn.modules.conv.Conv2d",
        ...         "kernel_sizes": [3, 3], "strides": [1, 2]}
        >>> step = TrainingStep(network="nnunet_ext.networks.AGUNet", arch_kwargs=plan, input_channels=1,
        ...                     outputs=2, patch_size=(16, 16), batch_size=2, requires_import=["conv_op"])
        >>> trace_peak_bytes(step) > trace_step_memory(step).saved
        True
    """
    on_cpu = dataclasses.replace(step, device="cpu")
    memory = LiveMemory()
    with FakeTensorMode(), memory:
        run_step(on_cpu)
    if step.device == "cpu":
        return memory.peak
    return memory.peak + trace_step_memory(step).saved - trace_step_memory(on_cpu).saved


def run_step(step: TrainingStep) -> None:
    """One step on the CPU, from the making of the network to the gradients of its weights."""
    network = build_network(step)
    momentum = [torch.zeros_like(weights) for weights in network.parameters()]
    image = torch.zeros((step.batch_size, step.input_channels, *step.patch_size))
    with autocast(step):
        outputs = network(image)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    targets = [empty_target(step, output) for output in outputs]
    with autocast(step):
        loss = sum_of_losses(step, outputs, targets)
    del outputs
    loss.backward()
    del momentum
