"""Where a training stands: enough to go on exactly, in a file that nothing is executed from."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnunet_ext.weights import save_state

FILE = "checkpoint_latest.pt"


@dataclass(frozen=True)
class Checkpoint:
    """A moment between two steps.

    Learning rates, patches and draws from the pools are functions of the step; they need no state.

    Attributes:
        step: steps that were done.
        networks: state of generators and discriminators.
        optimizers: likewise.
        pools: images that each slot's pools hold; by ``mr`` and ``ct``, (slots, images, 1, Z, Y, X), empty
            where there are none.
    """

    step: int
    networks: dict[str, dict[str, Tensor]]
    optimizers: dict[str, dict[str, Any]]
    pools: dict[str, Tensor]

    def save(self, folder: Path) -> None:
        """Write it; a kill leaves this one or the one before."""
        save_state(vars(self), folder / FILE)


def load_checkpoint(folder: Path, *, map_location: Any = "cpu") -> Checkpoint | None:
    """The latest of a folder; None where there is none.

    Raises:
        ValueError: it cannot be read, or would execute something.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return Checkpoint(**torch.load(file, map_location=map_location, weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, TypeError, EOFError) as error:
        raise ValueError(
            f"{file} is damaged or no checkpoint of a translation ({error}); remove it to begin anew"
        ) from error
