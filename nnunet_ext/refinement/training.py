"""Training of one refiner: Adam, Dice + 0.1 focal, exact resume after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn
from tqdm import tqdm

from nnunet_ext.losses import with_focal
from nnunet_ext.networks.scn import FEATURES, Inputs, RefineSCN
from nnunet_ext.refinement.layout import KERNELS, Kernels, Layout
from nnunet_ext.refinement.outputs import Outputs
from nnunet_ext.weights import save_state

FOCAL_WEIGHT = 0.1  # paper 001
SMOOTH = 1e-5  # nnU-Net's
CHECKPOINTS = 20  # of a training, and one at least every so many steps:
CHECKPOINT_STEPS = 50
SCHEDULE_POWER = 0.9  # nnU-Net's


@dataclass(frozen=True)
class Settings:
    """How to train a refiner.

    The defaults take an afternoon on two CPU cores with the largest patches: three trainings (two for the
    held-out table, one that is kept).

    Attributes:
        iterations: of one training, a patch each.
        learning_rate: of Adam at the beginning; it falls to 0 as nnU-Net's does. The papers' 1e-5 is for
            40 000 iterations.
        corrupted_share: of patches that get further errors.
        groups: of folds for the held-out table: each group is judged by a refiner that was trained on the
            others.
        kernels: of the spatial convolutions: the paper's, or Payer's.
        local_grid: voxels that the local convolutions see as one; 1 is the paper's.
        factor: voxels of a cell along the finest axis; None takes it from the images' size.
        inputs: what the network sees.
        seed: of everything.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> Settings(iterations=0)
        Traceback (most recent call last):
        ValueError: expected 1 iteration or more, got 0
    """

    iterations: int = 1000
    learning_rate: float = 1e-3
    corrupted_share: float = 0.5
    groups: int = 2
    kernels: Kernels = "9x9x5"
    local_grid: int = 1
    factor: int | None = None
    inputs: Inputs = "probabilities"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not be trained with."""
        if self.iterations < 1:
            raise ValueError(f"expected 1 iteration or more, got {self.iterations}")
        if not self.learning_rate > 0:
            raise ValueError(f"expected a learning rate above 0, got {self.learning_rate}")
        if not 0 <= self.corrupted_share <= 1:
            raise ValueError(f"expected a share from 0 to 1, got {self.corrupted_share}")
        if self.groups < 2:
            raise ValueError(f"expected 2 groups of folds or more, got {self.groups}")
        if self.kernels not in KERNELS:
            raise ValueError(f"expected kernels of {', '.join(KERNELS)}, got {self.kernels!r}")


def new_network(outputs: Outputs, layout: Layout, settings: Settings) -> RefineSCN:
    """An untrained refiner; its first weights follow from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return RefineSCN(
            outputs.heads,
            factor=layout.factor,
            kernel_size=layout.kernel_size,
            hidden_convs=layout.hidden_convs,
            features=FEATURES,
            local_grid=layout.local_grid,
            inputs=settings.inputs,
            has_regions=outputs.has_regions,
        )


def refiner_loss(outputs: Outputs) -> nn.Module:
    """Dice + 0.1 focal inside nnU-Net's compound loss: ignore label and regions are its own.

    Differences from the paper:
        - As :mod:`nnunet_ext.losses`.
    """
    dice = {"batch_dice": False, "smooth": SMOOTH, "ddp": False}
    ignore = outputs.table.ignore
    if outputs.has_regions:
        loss = DC_and_BCE_loss(
            {},
            {**dice, "do_bg": True},
            use_ignore_label=ignore is not None,
            dice_class=MemoryEfficientSoftDiceLoss,
        )
    else:
        loss = DC_and_CE_loss(
            {**dice, "do_bg": False}, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss
        )
    return with_focal(loss, weight=FOCAL_WEIGHT)


def fit(
    network: nn.Module,
    draw: Callable[[int], tuple[Tensor, Tensor]],
    *,
    loss: nn.Module,
    settings: Settings,
    checkpoint: Path,
    device: torch.device | str = "cpu",
    description: str = "Refiner",
    progress: bool = True,
) -> float:
    """Train a network in place, going on from its checkpoint.

    A training that was killed and begun again ends with the same weights, to the bit, on a CPU with the same
    number of threads: samples follow from the step alone, and nothing else is random.

    Args:
        network: untrained.
        draw: sample of a step: probabilities and target.
        loss: of logits and target.
        settings: how to train.
        checkpoint: file that is written now and then, by rename.
        device: where to compute.
        description: of the bar.
        progress: show the bar.

    Returns:
        The loss of the last step; nan where nothing was left to do.

    Raises:
        FloatingPointError: the loss is not finite.
        ValueError: the checkpoint is of another network.
    """
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    begin = _resumed(checkpoint, network, optimizer)
    every = max(1, min(CHECKPOINT_STEPS, settings.iterations // CHECKPOINTS))
    value = float("nan")
    steps = range(begin, settings.iterations)
    with ThreadPoolExecutor(1, "sample") as pool:  # the next sample while this one is learned
        ahead = [pool.submit(draw, step) for step in steps[:1]]
        with tqdm(steps, desc=description, disable=not progress, unit="step") as bar:
            for step in bar:
                probabilities, target = ahead.pop().result()
                ahead = [pool.submit(draw, step + 1)] if step + 1 in steps else []
                for group in optimizer.param_groups:
                    left = 1 - step / settings.iterations
                    group["lr"] = settings.learning_rate * left**SCHEDULE_POWER
                optimizer.zero_grad(set_to_none=True)
                found = loss(network(probabilities.to(device)), target.to(device))
                value = float(found.detach())
                if not math.isfinite(value):
                    raise FloatingPointError(
                        f"the loss is {value} at step {step}: lower --learning-rate, or look at the "
                        "probabilities"
                    )
                found.backward()
                optimizer.step()
                bar.set_postfix(loss=f"{value:.3f}", refresh=False)
                if (step + 1) % every == 0 or step + 1 == settings.iterations:
                    _save(checkpoint, network, optimizer, step + 1)
    network.eval()
    return value


def _save(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {"step": step, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    save_state(state, file)


def _resumed(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint, if there is one; returns the step to go on with."""
    if not file.is_file():
        return 0
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(
            f"the checkpoint {file} is not of this refiner ({error}): remove its folder to begin anew"
        ) from error
