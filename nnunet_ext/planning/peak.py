"""The most memory that a training step holds at once, traced without a GPU and without computing anything."""

from __future__ import annotations

import dataclasses

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunet_ext.planning.live import LiveMemory
from nnunet_ext.planning.memory import (
    OPTIMIZER_STATES,
    TrainingStep,
    build_network,
    forward_with_loss,
    trace_step_memory,
)


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
    states = [
        torch.zeros_like(weights)
        for weights in network.parameters()
        for _ in range(OPTIMIZER_STATES[step.optimizer])
    ]
    image = torch.zeros((step.batch_size, step.input_channels, *step.patch_size))
    loss, *held = forward_with_loss(step, network, image)
    loss.backward()  # nnU-Net still holds outputs and targets
    del states, held
