"""Trains a translation, on one process or many, and goes on where an earlier run stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from nnunet_ext.lock import alone
from nnunet_ext.networks.cyclegan import check_discriminator_size, check_generator_size
from nnunet_ext.translation.checkpoint import load_checkpoint
from nnunet_ext.translation.domains import Domain, check_pair
from nnunet_ext.translation.facts import Gathered, gather
from nnunet_ext.translation.folder import begin, describe, write_generators, write_record
from nnunet_ext.translation.intensity_maps import IntensityMaps
from nnunet_ext.translation.loss_log import LossLog
from nnunet_ext.translation.patches import PatchPairs
from nnunet_ext.translation.pictures import write_picture
from nnunet_ext.translation.settings import Settings
from nnunet_ext.translation.step import Players, slots_of
from nnunet_ext.translation.target import TargetStatistics

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """What does not change the result.

    Attributes:
        log_every: steps between rows of the losses.
        checkpoint_every: steps between checkpoints.
        picture_every: steps between pictures; 0 for none.
        workers: processes that read patches, of each training process; 0 reads in the training itself.
        progress: show bars.
    """

    log_every: int = 50
    checkpoint_every: int = 500
    picture_every: int = 1000
    workers: int = 2
    progress: bool = True

    def __post_init__(self) -> None:
        if min(self.log_every, self.checkpoint_every) < 1 or min(self.picture_every, self.workers) < 0:
            raise ValueError(f"expected steps of 1 or more, workers of 0 or more, got {self}")


@dataclass(frozen=True)
class Machine:
    """Where to compute, as Lightning Fabric calls it.

    Attributes:
        accelerator: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``.
        devices: on each node.
        nodes: of a cluster, under its own launcher.
        strategy: ``"auto"`` is distributed data parallel where there are several devices.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"


@dataclass(frozen=True)
class Trained:
    """What a run did.

    Attributes:
        folder: of the translation.
        is_first_process: this process speaks for all.
        steps: done in all.
        steps_now: done in this run.
        seconds_per_step: of this run; nan without steps.
        refused: cases that were left out, by dataset and name.
    """

    folder: Path
    is_first_process: bool
    steps: int
    steps_now: int
    seconds_per_step: float
    refused: dict[str, str]


def train(
    mr: Domain,
    ct: Domain,
    settings: Settings,
    *,
    folder: Path,
    patch_size: Sequence[int],
    machine: Machine | None = None,
    schedule: Schedule | None = None,
) -> Trained:
    """Train a translation from MR to CT, or go on with one.

    Args:
        mr: labeled or not; patients need not be those of the CT.
        ct: of the same body region.
        settings: what decides the result.
        folder: of the translation; made if missing. One that was finished is left as it is.
        patch_size: (z, y, x).
        machine: where to compute.
        schedule: how often to log and to save.

    Raises:
        ValueError: the datasets do not go together, the patch is too small or the folder holds another
            translation.
        FloatingPointError: a loss is not finite.
    """
    check_pair(mr, ct)
    check_generator_size(patch_size)
    check_discriminator_size(patch_size, layers=settings.discriminator_layers)
    machine = machine or Machine()
    fabric = Fabric(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        strategy=machine.strategy,
        precision=settings.precision,  # type: ignore[arg-type] # settings check it
    )
    run = _Run(mr, ct, settings, folder, tuple(patch_size), schedule or Schedule())
    return Trained(folder, is_first_process=fabric.is_global_zero, **fabric.launch(run))


@dataclass
class _Run:
    """What every process does; it can be sent to another."""

    mr: Domain
    ct: Domain
    settings: Settings
    folder: Path
    patch_size: tuple[int, ...]
    schedule: Schedule

    def __call__(self, fabric: Fabric) -> dict[str, Any]:
        slots_of(fabric, self.settings)
        with ExitStack() as held:
            if fabric.is_global_zero:
                held.enter_context(alone(self.folder / ".lock", what=f"the translation in {self.folder}"))
            fabric.barrier()
            return self._train(fabric)

    def _train(self, fabric: Fabric) -> dict[str, Any]:
        found = self._gathered(fabric)
        description = describe(self.mr, self.ct, found, settings=self.settings, patch_size=self.patch_size)
        if fabric.is_global_zero:
            target = TargetStatistics.of(self.ct, found[1])
            begin(self.folder, description, mr=self.mr, ct=self.ct, target=target)
        fabric.barrier()
        maps = IntensityMaps.of(*found) if self.settings.anchored else None
        players = Players(fabric, self.settings, maps)
        start = 0
        if checkpoint := load_checkpoint(self.folder, map_location=fabric.device):
            players.resume(checkpoint)
            start = checkpoint.step
        seconds = self._steps(fabric, players, description, found, start)
        refused = {
            f"{domain.name}/{case}": reason
            for domain, of_domain in zip((self.mr, self.ct), found, strict=True)
            for case, reason in of_domain.refused.items()
        }
        done = self.settings.steps - start
        # Plain values: a launcher that spawns processes sends them back, and takes no frozen dataclass.
        return {
            "steps": self.settings.steps,
            "steps_now": done,
            "seconds_per_step": seconds / done if done else float("nan"),
            "refused": refused,
        }

    def _gathered(self, fabric: Fabric) -> tuple[Gathered, Gathered]:
        """What is to be known of the cases; the first process looks, and tells the others."""
        found: Any = None
        if fabric.is_global_zero:
            options: dict[str, Any] = {
                "percentiles": self.settings.mr_percentiles,
                "processes": max(1, self.schedule.workers),
                "progress": self.schedule.progress,
            }
            found = (gather(self.mr, **options), gather(self.ct, **options))
        result: tuple[Gathered, Gathered] = fabric.broadcast(found)
        return result

    def _steps(
        self,
        fabric: Fabric,
        players: Players,
        description: dict[str, Any],
        found: tuple[Gathered, Gathered],
        start: int,
    ) -> float:
        """All steps that are left; returns the seconds that they took."""
        settings, schedule = self.settings, self.schedule
        pairs = self._pairs(found)
        batches = iter(_loader(pairs, fabric, settings, schedule, start))
        log = LossLog(self.folder, start=start) if fabric.is_global_zero else None
        begun = time.perf_counter()
        hidden = not (schedule.progress and fabric.is_global_zero)
        bar = tqdm(range(start, settings.steps), initial=start, total=settings.steps, disable=hidden)
        bar.set_description("Translation")
        for number in bar:
            mr, ct = next(batches)
            losses = players.step(mr, ct, number=number)
            done = number + 1
            names = sorted(losses)
            mean: Any = fabric.all_reduce(torch.stack([losses[name].float() for name in names]))
            saves = done % schedule.checkpoint_every == 0 or done == settings.steps
            if log is not None:
                log.add(dict(zip(names, mean.tolist(), strict=True)))
                if saves or done % schedule.log_every == 0:
                    row = log.write_row(done)
                    bar.set_postfix_str(_in_short(row))
            if saves:
                self._save(fabric, players, description, done)
            if schedule.picture_every and fabric.is_global_zero and done % schedule.picture_every == 0:
                self._draw(fabric, players, pairs, done)
        return time.perf_counter() - begun

    def _save(self, fabric: Fabric, players: Players, description: dict[str, Any], step: int) -> None:
        checkpoint = players.checkpoint(step)
        if fabric.is_global_zero:
            write_generators(
                self.folder, to_ct=players.raw_generators.to_ct, to_mr=players.raw_generators.to_mr
            )
            write_record(self.folder, description, steps_done=step)
            checkpoint.save(self.folder)
        fabric.barrier()

    def _draw(self, fabric: Fabric, players: Players, pairs: PatchPairs, step: int) -> None:
        mr, ct = (patch[None].to(fabric.device) for patch in pairs[0])
        write_picture(players.raw_generators, mr, ct, folder=self.folder, step=step)

    def _pairs(self, found: tuple[Gathered, Gathered]) -> PatchPairs:
        return PatchPairs(
            (self.mr, self.ct),
            (found[0].facts, found[1].facts),
            patch_size=self.patch_size,
            mirroring_axes=self.settings.mirroring_axes,
            seed=self.settings.seed,
            count=self.settings.steps * self.settings.batch_size,
        )


class _OwnSlots(Sampler[int]):
    """Numbers of the pairs that this process trains on, step by step."""

    def __init__(self, start: int, settings: Settings, slots: range) -> None:
        self._start = start
        self._settings = settings
        self._slots = slots

    def __len__(self) -> int:
        return (self._settings.steps - self._start) * len(self._slots)

    def __iter__(self) -> Iterator[int]:
        for step in range(self._start, self._settings.steps):
            for slot in self._slots:
                yield step * self._settings.batch_size + slot


def _loader(pairs: PatchPairs, fabric: Fabric, settings: Settings, schedule: Schedule, start: int) -> Any:
    slots = slots_of(fabric, settings)
    loader = DataLoader(
        pairs,
        batch_size=len(slots),
        sampler=_OwnSlots(start, settings, slots),
        num_workers=schedule.workers,
        pin_memory=fabric.device.type == "cuda",
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)


def _in_short(row: dict[str, float]) -> str:
    shown = ("cycle_mr", "cycle_ct", "adversarial_ct", "discriminator_ct")
    return " ".join(f"{name} {row[name]:.3f}" for name in shown if name in row)
