"""Translations trained in this process, in several, and in one that is killed."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from translation_home import PATCH, TranslationHome, small

from nnunet_ext.translation import step
from nnunet_ext.translation.settings import Settings
from nnunet_ext.translation.training import Machine, Schedule, Trained, train

SCHEDULE = Schedule(log_every=2, checkpoint_every=2, picture_every=0, workers=0, progress=False)


def train_small(
    home: TranslationHome,
    folder: Path,
    settings: Settings | None = None,
    *,
    schedule: Schedule = SCHEDULE,
) -> Trained:
    """Train on the CPU."""
    mr, ct = home.domains()
    return train(
        mr,
        ct,
        settings or small(),
        folder=folder,
        patch_size=PATCH,
        machine=Machine(accelerator="cpu"),
        schedule=schedule,
    )


class WithPlainSteps:
    """A run whose optimizers take plain steps, which do not blow up differences of rounding as Adam does.

    Spawned processes import it by this module's name.
    """

    def __init__(self, run: Any) -> None:
        self.run = run

    def __call__(self, fabric: Fabric) -> Any:
        step.Adam = _plain  # type: ignore[assignment,misc]
        torch.set_num_threads(1)
        return self.run(fabric)


def _plain(parameters: Any, *, lr: float, betas: Any) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=lr)


def main() -> None:
    """Train slowly, to be killed: ``python translation_runs.py HOME FOLDER THREADS``."""
    whole = step.Players.step

    def slow(self: Any, *args: Any, **options: Any) -> Any:
        time.sleep(0.2)
        return whole(self, *args, **options)

    step.Players.step = slow  # type: ignore[method-assign]
    torch.set_num_threads(int(sys.argv[3]))
    train_small(TranslationHome(Path(sys.argv[1])), Path(sys.argv[2]), small(steps=200))


if __name__ == "__main__":
    main()
