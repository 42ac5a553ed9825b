"""Networks trained in two gloo processes; spawned workers import them by this module's name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from arch_kwargs import Shape
from network_contract import build
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_ext import networks
from nnunet_ext.losses import with_focal
from nnunet_ext.networks import UNet

BATCH = 4


def without_dropout(network: UNet) -> UNet:
    """Each process draws its own; gradients are comparable only without."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


# The losses that the trainers of these networks have.
FOCAL_WEIGHTS = {"MAUNet": 0.1, "AFUNet": 0.5}


def loss_of(name: str, *, outputs: int, ddp: bool) -> nn.Module:
    """The network's loss with the weights that nnU-Net gives under DDP without torch.compile."""
    loss = DC_and_CE_loss(
        {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": ddp},
        {},
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    if name in FOCAL_WEIGHTS:
        loss = with_focal(loss, weight=FOCAL_WEIGHTS[name])
    weights = [1 / 2**i for i in range(outputs)]
    if outputs > 1:
        weights[-1] = 1e-6
    return DeepSupervisionWrapper(loss, [w / sum(weights) for w in weights])


def targets_for(outputs: list[torch.Tensor], image: torch.Tensor) -> list[torch.Tensor]:
    small = [nn.functional.adaptive_max_pool3d(image[:, :1], o.shape[2:]) for o in outputs]
    return [(x > 0).float() + (x > 1).float() for x in small]


def gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    return {n.removeprefix("module."): p.grad for n, p in network.named_parameters() if p.grad is not None}


def train_two_steps(network: nn.Module, name: str, image: torch.Tensor, *, ddp: bool) -> None:
    """Two, because DDP complains of unused parameters at the second forward pass."""
    for _ in range(2):
        network.zero_grad()
        outputs = network(image)
        loss_of(name, outputs=len(outputs), ddp=ddp)(outputs, targets_for(outputs, image)).backward()


def _worker(rank: int, pairs: Sequence[tuple[str, Shape]], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for number, (name, shape) in enumerate(pairs):
        network = without_dropout(build(getattr(networks, name), shape, deep_supervision=True))
        parallel = DistributedDataParallel(network)
        half = shape.batch(BATCH)[rank * BATCH // 2 : (rank + 1) * BATCH // 2]
        train_two_steps(parallel, name, half, ddp=True)
        if rank == 0:
            torch.save(gradients(parallel), f"{folder}/{number}.pth")
    dist.destroy_process_group()
    _end_without_finalization()


def _end_without_finalization() -> None:
    """Leave at once: gloo's threads may still hold tensors, and freeing one of those while Python shuts
    down aborts the process now and then (pytorch pull request 179291)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def gradients_of_two_processes(
    pairs: Sequence[tuple[str, Shape]], folder: str
) -> list[dict[str, torch.Tensor]]:
    """Gradients of each network after two steps under DDP, each process with half of the batch."""
    mp.spawn(_worker, args=(pairs, folder), nprocs=2)
    return [torch.load(f"{folder}/{number}.pth") for number in range(len(pairs))]


def gradients_of_one_process(name: str, shape: Shape) -> dict[str, torch.Tensor]:
    """The same on the joined batch."""
    network = without_dropout(build(getattr(networks, name), shape, deep_supervision=True))
    train_two_steps(network, name, shape.batch(BATCH), ddp=False)
    return gradients(network)
