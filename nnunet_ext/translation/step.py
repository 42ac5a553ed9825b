"""One step of training: generators, then discriminators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import Adam, Optimizer

from nnunet_ext.translation.checkpoint import Checkpoint
from nnunet_ext.translation.image_pool import ImagePool
from nnunet_ext.translation.intensity_maps import IntensityMaps
from nnunet_ext.translation.objectives import (
    FAKE_CT,
    FAKE_MR,
    TOTAL,
    Discriminators,
    Generators,
    frozen,
)
from nnunet_ext.translation.settings import ADAM_BETAS, Settings, rate_factor

DOMAINS = ("mr", "ct")


class Players:
    """Generators, discriminators, their optimizers and pools, on the devices of a Fabric.

    Args:
        fabric: launched.
        settings: of the training.
        maps: for anchored generators.
    """

    def __init__(self, fabric: Fabric, settings: Settings, maps: IntensityMaps | None = None) -> None:
        self.fabric = fabric
        self.settings = settings
        torch.manual_seed(settings.seed)  # the same start in every process
        generators, discriminators = Generators(settings, maps), Discriminators(settings)
        self.generators, self._generator_adam = _set_up(fabric, generators, settings)
        self.discriminators, self._discriminator_adam = _set_up(fabric, discriminators, settings)
        self.raw_generators, self.raw_discriminators = generators, discriminators
        slots = slots_of(fabric, settings)
        self.pools = {
            name: [
                # Different draws for MR and CT.
                ImagePool(settings.pool_size, seed=settings.seed, slot=2 * slot + number)
                for slot in slots
            ]
            for number, name in enumerate(DOMAINS)
        }

    def step(self, mr: Tensor, ct: Tensor, *, number: int) -> dict[str, Tensor]:
        """Update all networks once.

        Args:
            mr: (B, 1, Z, Y, X), this process's part of the batch.
            ct: likewise.
            number: of the step, from 0.

        Returns:
            Losses by name, of this process's part.
        """
        for optimizer in (self._generator_adam, self._discriminator_adam):
            for group in optimizer.param_groups:
                group["lr"] = self.settings.learning_rate * rate_factor(
                    number, steps=self.settings.steps, constant_share=self.settings.constant_share
                )
        judges = self.raw_discriminators
        with frozen(judges):
            losses = self.generators(mr, ct, judges.of_mr, judges.of_ct)
            self._update(losses[TOTAL], self._generator_adam)
        fake_mr, fake_ct = losses.pop(FAKE_MR).detach(), losses.pop(FAKE_CT).detach()
        shown_mr = self._shown("mr", fake_mr, number)
        shown_ct = self._shown("ct", fake_ct, number)
        judged = self.discriminators(mr, ct, shown_mr, shown_ct)
        self._update(judged[TOTAL], self._discriminator_adam)
        return {name: value.detach() for name, value in (judged | losses).items()}

    def checkpoint(self, step: int) -> Checkpoint:
        """Where the training stands; every process must ask."""
        pools = {name: self._gathered(pools) for name, pools in self.pools.items()}
        return Checkpoint(
            step,
            {
                "generators": self.raw_generators.state_dict(),
                "discriminators": self.raw_discriminators.state_dict(),
            },
            {
                "generators": self._generator_adam.state_dict(),
                "discriminators": self._discriminator_adam.state_dict(),
            },
            pools,
        )

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go back to a moment."""
        self.raw_generators.load_state_dict(checkpoint.networks["generators"])
        self.raw_discriminators.load_state_dict(checkpoint.networks["discriminators"])
        self._generator_adam.load_state_dict(checkpoint.optimizers["generators"])
        self._discriminator_adam.load_state_dict(checkpoint.optimizers["discriminators"])
        for name, pools in self.pools.items():
            kept = checkpoint.pools[name].to(self.fabric.device)
            for slot, pool in zip(slots_of(self.fabric, self.settings), pools, strict=True):
                pool.load(kept[slot] if kept.numel() else kept)

    def _update(self, loss: Tensor, optimizer: Optimizer) -> None:
        self.fabric.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _shown(self, name: str, fakes: Tensor, number: int) -> Tensor:
        pools = self.pools[name]
        return torch.stack(
            [pool.exchange(fake, step=number) for pool, fake in zip(pools, fakes, strict=True)]
        )

    def _gathered(self, pools: Iterable[ImagePool]) -> Tensor:
        """Images of all processes' pools, by slot."""
        own = torch.stack([pool.state() for pool in pools])
        if self.fabric.world_size == 1 or not own.numel():
            return own.cpu()
        every: Any = self.fabric.all_gather(own)  # (processes, slots of each, ...)
        flat: Tensor = every.flatten(0, 1)
        return flat.cpu()


def slots_of(fabric: Fabric, settings: Settings) -> range:
    """Which images of a batch this process has.

    Raises:
        ValueError: the batch cannot be shared out evenly.
    """
    each, left = divmod(settings.batch_size, fabric.world_size)
    if left or not each:
        raise ValueError(
            f"expected a batch that {fabric.world_size} processes can share evenly, got {settings.batch_size}"
        )
    return range(each * fabric.global_rank, each * (fabric.global_rank + 1))


def _set_up(fabric: Fabric, module: torch.nn.Module, settings: Settings) -> tuple[Any, Any]:
    adam = Adam(module.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS)
    wrapped, optimizer = fabric.setup(module, adam)
    return wrapped, optimizer
