"""What a training step needs of memory, traced without a GPU and without computing anything.

nnU-Net estimates memory as a multiple of the values that convolutions produce, calibrated on its own
networks. Attention, gates and dropout keep other tensors for the backward pass. Here the real network runs
with nnU-Net's loss on fake tensors, which have shapes, dtypes and a device but no memory, and every tensor
that lives on for the backward pass is counted once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nnunet_ext.planning.attention import fused_attention
from nnunet_ext.planning.live import LiveMemory

Optimizer = Literal["SGD", "Adam"]
# Tensors that an optimizer keeps for each weight: the momentum; the means of gradients and of their squares.
OPTIMIZER_STATES: Mapping[Optimizer, int] = {"SGD": 1, "Adam": 2}
Targets = Literal["labels", "labels_ignore", "regions", "regions_ignore"]


@dataclass(frozen=True)
class TrainingStep:
    """A training step as plans, dataset and trainer describe it.

    Attributes:
        network: dotted name of the network's class, as in the plans.
        arch_kwargs: the plans' keywords for it.
        requires_import: keys of ``arch_kwargs`` whose values are dotted names.
        input_channels: channels of the image, the previous stage of a cascade included.
        outputs: channels of the network's output: classes, or regions.
        patch_size: voxels along each axis.
        batch_size: patches a step.
        targets: what the loss is given: labels or regions, with or without an ignore label.
        batch_dice: Dice over the batch instead of for each patch.
        deep_supervision: a loss on each of the network's outputs.
        optimizer: nnU-Net's SGD with momentum, or Adam.
        device: ``cuda`` or ``cpu``; kernels of the two keep different things.
        autocast: dtype of mixed precision, None for float32 throughout. nnU-Net has float16 on a GPU.
    """

    network: str
    arch_kwargs: Mapping[str, Any]
    input_channels: int
    outputs: int
    patch_size: Sequence[int]
    batch_size: int
    requires_import: Sequence[str] = ("conv_op", "norm_op", "dropout_op", "nonlin")
    targets: Targets = "labels"
    batch_dice: bool = False
    deep_supervision: bool = True
    optimizer: Optimizer = "SGD"
    device: Literal["cuda", "cpu"] = "cuda"
    autocast: torch.dtype | None = field(default=torch.float16)


@dataclass(frozen=True)
class StepMemory:
    """What a training step keeps in memory when its backward pass begins, in bytes.

    Not in it: what kernels use in passing (workspaces, the gradients of activations), the CUDA context and
    what the allocator leaves between blocks.

    Attributes:
        saved: tensors that autograd keeps for the backward pass, the loss's included.
        parameters: weights and buffers of the network.
        gradients: of the weights.
        optimizer: what the optimizer keeps for each weight.
        batch: image and targets.
    """

    saved: int
    parameters: int
    gradients: int
    optimizer: int
    batch: int

    @property
    def total(self) -> int:
        """Sum of all."""
        return self.saved + self.parameters + self.gradients + self.optimizer + self.batch


def trace_step_memory(step: TrainingStep) -> StepMemory:
    """Trace one forward pass with nnU-Net's loss.

    Args:
        step: what is trained.

    Returns:
        Bytes by what they are for. On the CPU in float32 ``saved`` is what a real step keeps, to the byte; in
        mixed precision real kernels keep a few numbers more for each channel.

    Raises:
        ValueError: from the network, where the patch does not fit it.

    Example:
        >>> plan = {"n_stages": 2, "features_per_stage": [4, 8], "conv_op": "torch.nn.modules.conv.Conv2d",
        ...         "kernel_sizes": [3, 3], "strides": [1, 2]}
        >>> step = TrainingStep(network="nnunet_ext.networks.AGUNet", arch_kwargs=plan, input_channels=1,
        ...                     outputs=2, patch_size=(16, 16), batch_size=2, requires_import=["conv_op"])
        >>> memory = trace_step_memory(step)
        >>> memory.gradients == memory.optimizer == memory.parameters
        True
    """
    # Weights and inputs are made inside the mode: all of them are fake.
    kernels = fused_attention() if step.device == "cuda" else nullcontext()
    with FakeTensorMode(), torch.device(step.device), kernels:
        network = build_network(step)
        image = torch.empty((step.batch_size, step.input_channels, *step.patch_size))
        saved, targets = saved_by_forward(step, network, image)
        weights = sum(_bytes(p) for p in network.parameters())
        return StepMemory(
            saved=saved,
            parameters=weights + sum(_bytes(b) for b in network.buffers()),
            gradients=weights,
            optimizer=OPTIMIZER_STATES[step.optimizer] * weights,
            batch=_bytes(image) + targets,
        )


def saved_by_forward(step: TrainingStep, network: nn.Module, image: torch.Tensor) -> tuple[int, int]:
    """Bytes that a forward pass with loss leaves behind for the backward pass, and bytes of its targets.

    Whatever lives on is counted, once, whoever keeps it: autograd, or what computes parts again. Weights and
    image were there before; outputs and targets, which the training holds, are not counted.
    """
    memory = LiveMemory()
    with memory:
        loss, outputs, targets = forward_with_loss(step, network, image)
        held = sum(_bytes(tensor) for tensor in targets)
        del outputs
        left = memory.now - held
    del loss
    return left, held


def forward_with_loss(
    step: TrainingStep, network: nn.Module, image: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """The loss of one pass in the step's precision, the network's outputs and their targets."""
    with autocast(step):
        found = network(image)
        outputs = found if isinstance(found, list) else [found]
        targets = [empty_target(step, output) for output in outputs]
        return sum_of_losses(step, outputs, targets), outputs, targets


def build_network(step: TrainingStep) -> nn.Module:
    """The network in training mode, as nnU-Net builds it from plans, without its initialization."""
    network: nn.Module = get_network_from_plans(
        step.network,
        dict(step.arch_kwargs),
        list(step.requires_import),
        step.input_channels,
        step.outputs,
        allow_init=False,
        deep_supervision=step.deep_supervision,
    )
    return network.train()


def empty_target(step: TrainingStep, output: torch.Tensor) -> torch.Tensor:
    """A target for one output, of the shape and dtype that nnU-Net's loader gives."""
    size = output.shape[2:]
    if step.targets.startswith("labels"):
        return torch.zeros((step.batch_size, 1, *size), dtype=torch.int16, device=output.device)
    channels = step.outputs + step.targets.endswith("ignore")
    return torch.zeros((step.batch_size, channels, *size), dtype=torch.bool, device=output.device)


def sum_of_losses(
    step: TrainingStep, outputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]
) -> torch.Tensor:
    """nnU-Net's loss over the outputs of deep supervision; the smallest of several has the weight 0."""
    supervised = max(1, len(outputs) - 1)
    losses = [
        _loss(step, output, target)
        for output, target in zip(outputs[:supervised], targets[:supervised], strict=True)
    ]
    total: torch.Tensor = torch.stack(losses).sum()
    return total


def _loss(step: TrainingStep, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    dice = {"batch_dice": step.batch_dice, "smooth": 1e-5, "ddp": False}
    if step.targets.startswith("regions"):
        regions = DC_and_BCE_loss(
            {},
            {**dice, "do_bg": True},
            use_ignore_label=step.targets.endswith("ignore"),
            dice_class=MemoryEfficientSoftDiceLoss,
        )
        loss: torch.Tensor = regions(output, target)
        return loss
    labels = DC_and_CE_loss({**dice, "do_bg": False}, {}, dice_class=MemoryEfficientSoftDiceLoss)
    # Its forward pass asks whether any voxel counts, which tensors without values cannot answer.
    mask = target != -1 if step.targets.endswith("ignore") else None
    loss = labels.dc(output, target, loss_mask=mask) + labels.ce(output, target[:, 0])
    return loss


@contextmanager
def autocast(step: TrainingStep) -> Iterator[None]:
    """Mixed precision as in ``torch.autocast``, which switches itself off where there is no GPU."""
    if step.autocast is None:
        yield
        return
    before = torch.is_autocast_enabled(step.device), torch.get_autocast_dtype(step.device)
    torch.set_autocast_enabled(step.device, True)
    torch.set_autocast_dtype(step.device, step.autocast)
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(step.device, before[0])
        torch.set_autocast_dtype(step.device, before[1])


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
