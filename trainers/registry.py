"""Which trainers and modifiers exist: plain data, read by the look-up, the command line, docs and tests.

This module imports nothing heavy, so that ``nnunet_ext trainers`` answers at once and nnU-Net's search for
another team's trainer never loads ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainerEntry:
    """One trainer that a user can name with ``-tr``.

    Attributes:
        name: class name; it names result folders and is never changed.
        module: module that defines the class.
        network: class of the network it trains.
        paper: number of the paper in ``docs/papers`` or "" for nnU-Net's own trainer.
        summary: one line for listings.
    """

    name: str
    module: str
    network: str
    paper: str
    summary: str


@dataclass(frozen=True)
class ModifierEntry:
    """One modifier of a trainer's name.

    Attributes:
        token: spelling; ``{N}`` stands for a whole number of 1 or more.
        summary: one line for listings.
    """

    token: str
    summary: str

    @property
    def takes_number(self) -> bool:
        """True where the token starts with a number, as in ``20epochs``."""
        return self.token.startswith("{N}")

    @property
    def keyword(self) -> str:
        """The token without its number: ``epochs`` for ``{N}epochs``."""
        return self.token.removeprefix("{N}")


VANILLA = TrainerEntry(
    name="nnUNetTrainer",
    module="nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
    network="as planned (PlainConvUNet, ResidualEncoderUNet)",
    paper="",
    summary="nnU-Net's own trainer, for comparisons with a stated budget",
)

TRAINERS: tuple[TrainerEntry, ...] = (
    TrainerEntry(
        name="nnUNetTrainerRASUNet",
        module="nnunet_ext.trainers.segmentation",
        network="nnunet_ext.networks.RASUNet",
        paper="004",
        summary="residual attention separable convolutions (liver target)",
    ),
)

# In the order in which they are written in a name; NoX in alphabetical order.
MODIFIERS: tuple[ModifierEntry, ...] = (
    ModifierEntry("{N}epochs", "train N epochs"),
    ModifierEntry("{N}iters", "N training iterations an epoch, validation in proportion"),
    ModifierEntry("NoDeepSupervision", "loss on the full-resolution output only"),
    ModifierEntry("NoMirroring", "no mirroring in training and in prediction"),
)


def hook_folder() -> Path:
    """Folder that ``nnUNet_extTrainer`` has to name; it holds exactly one module.

    Example:
        >>> sorted(path.name for path in hook_folder().glob("*.py"))
        ['nnunet_ext_hook.py']
    """
    import nnunet_ext

    return Path(nnunet_ext.__file__).resolve().parent / "hook"
