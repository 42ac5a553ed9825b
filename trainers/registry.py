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
        ablations: modifiers that take a plug out of its network.
        cascade: how a cascade of two stages proposes patches, ``skeleton`` or ``roi``; "" for one network.
    """

    name: str
    module: str
    network: str
    paper: str
    summary: str
    ablations: tuple[str, ...] = ()
    cascade: str = ""


@dataclass(frozen=True)
class ModifierEntry:
    """One modifier of a trainer's name.

    Attributes:
        token: spelling; ``{N}`` stands for a whole number of 1 or more.
        summary: one line for listings.
        network_option: keyword of the network, or of a cascade's, that an ablation sets to False, or "".
        choice: modifiers of the same choice exclude each other.
    """

    token: str
    summary: str
    network_option: str = ""
    choice: str = ""

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

_SEGMENTATION = "nnunet_ext.trainers.segmentation"
_CASCADE = "nnunet_ext.trainers.cascade"

TRAINERS: tuple[TrainerEntry, ...] = (
    TrainerEntry(
        name="nnUNetTrainerAGUNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.AGUNet",
        paper="000",
        summary="attention gates on every skip (coronary arteries)",
        ablations=("NoAG",),
    ),
    TrainerEntry(
        name="nnUNetTrainerMAUNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.MAUNet",
        paper="001",
        summary="residual encoder, position attention, attention gates; Dice + 0.1 focal (whole heart)",
        ablations=("NoAG", "NoPAB"),
    ),
    TrainerEntry(
        name="nnUNetTrainerAFUNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.AFUNet",
        paper="002",
        summary="dense dilated pyramid, attention fusion; Dice + 0.5 focal (bones of the lower limb)",
        ablations=("NoAF", "NoDASP"),
    ),
    TrainerEntry(
        name="nnUNetTrainerResUNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.ResUNet",
        paper="003",
        summary="residual stages with strides and dropout (organs at risk in the brain)",
    ),
    TrainerEntry(
        name="nnUNetTrainerRASUNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.RASUNet",
        paper="004",
        summary="residual attention separable convolutions (liver target)",
        ablations=("NoSAM",),
    ),
    TrainerEntry(
        name="nnUNetTrainerSEUNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.SEUNet",
        paper="004",
        summary="squeeze-and-excitation behind each stage (comparison)",
    ),
    TrainerEntry(
        name="nnUNetTrainerVNet",
        module=_SEGMENTATION,
        network="nnunet_ext.networks.VNet",
        paper="004",
        summary="V-Net (comparison)",
    ),
    TrainerEntry(
        name="nnUNetTrainerSkeletonCascade",
        module=_CASCADE,
        network="nnunet_ext.networks.AGUNet",
        paper="000",
        summary="two stages: fine patches along the coarse skeleton (coronary arteries)",
        ablations=("NoAG", "NoCoarseInput"),
        cascade="skeleton",
    ),
    TrainerEntry(
        name="nnUNetTrainerROICascade",
        module=_CASCADE,
        network="nnunet_ext.networks.ResUNet",
        paper="003",
        summary="two stages: a box around each coarse organ (organs at risk in the brain)",
        ablations=("NoCoarseInput",),
        cascade="roi",
    ),
    TrainerEntry(
        name="nnUNetTrainerROICascadeMAUNet",
        module=_CASCADE,
        network="nnunet_ext.networks.MAUNet",
        paper="001",
        summary="two stages: MAUNet in a box around the coarse heart (whole heart)",
        ablations=("NoAG", "NoCoarseInput", "NoPAB"),
        cascade="roi",
    ),
)

# Those of one network, which train in any configuration.
SINGLE_STAGE = tuple(trainer for trainer in TRAINERS if not trainer.cascade)

# In the order in which they are written in a name; NoX in alphabetical order.
MODIFIERS: tuple[ModifierEntry, ...] = (
    ModifierEntry("Paper", "optimizer, rate, loss, augmentation and length as in the paper"),
    ModifierEntry("{N}epochs", "train N epochs"),
    ModifierEntry("{N}iters", "N training iterations an epoch, validation in proportion"),
    ModifierEntry("DiceFocal", "Dice + focal loss, weighted as in the trainer's paper or 1", choice="loss"),
    ModifierEntry("Dice", "Dice loss alone", choice="loss"),
    ModifierEntry("NoAF", "plain skips instead of attention fusion", "attention_fusion"),
    ModifierEntry("NoAG", "no attention gates", "attention_gates"),
    ModifierEntry("NoCoarseInput", "a cascade's fine network sees the image alone", "coarse_input"),
    ModifierEntry("NoDASP", "no dense dilated pyramid", "dilated_pyramid"),
    ModifierEntry("NoDeepSupervision", "loss on the full-resolution output only"),
    ModifierEntry("NoMirroring", "no mirroring in training and in prediction"),
    ModifierEntry("NoPAB", "no position attention", "position_attention"),
    ModifierEntry("NoSAM", "no spatial attention in the RAS blocks", "spatial_attention"),
)


def hook_folder() -> Path:
    """Folder that ``nnUNet_extTrainer`` has to name; it holds exactly one module.

    Example:
        >>> sorted(path.name for path in hook_folder().glob("*.py"))
        ['nnunet_ext_hook.py']
    """
    import nnunet_ext

    return Path(nnunet_ext.__file__).resolve().parent / "hook"
