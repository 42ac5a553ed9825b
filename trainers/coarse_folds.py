"""Whose coarse predictions a fine stage uses: its own, or those of a trainer that it shares them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.trainers.names import AppliedModifier, TrainerName, parse

NEXT_STAGE_FOLDER = "predicted_next_stage"  # nnU-Net's


@dataclass(frozen=True)
class CoarseFolds:
    """Coarse predictions for a fine configuration.

    Attributes:
        trainer: class name of the coarse trainer.
        folder: of its predictions.
        is_there: whether it has any.
    """

    trainer: str
    folder: Path
    is_there: bool


def coarse_candidates(name: str, coarse_trainer: str) -> tuple[str, ...]:
    """Trainers whose coarse folds a fine stage may use, the first that has some.

    Its own name; the trainer that it shares them with, under the modifiers that concern the coarse stage too
    (not what is left out of the fine network, nor the fine stage's loss); that trainer without modifiers.

    Args:
        name: class name of the fine stage's trainer.
        coarse_trainer: that it declares.

    Example:
        >>> for candidate in coarse_candidates("nnUNetTrainerSkeletonCascade_20epochs_Dice_NoAG",
        ...                                    "nnUNetTrainerSkeletonCascade"):
        ...     print(candidate)
        nnUNetTrainerSkeletonCascade_20epochs_Dice_NoAG
        nnUNetTrainerSkeletonCascade_20epochs
        nnUNetTrainerSkeletonCascade
    """
    return tuple(dict.fromkeys([name, shared_name(name, coarse_trainer), coarse_trainer]))


def shared_name(name: str, coarse_trainer: str) -> str:
    """The trainer that makes the coarse folds for a fine stage and its variants.

    Example:
        >>> shared_name("nnUNetTrainerROICascadeMAUNet_Paper_NoPAB", "nnUNetTrainerROICascade")
        'nnUNetTrainerROICascade_Paper'
    """
    own, shared = parse(name), parse(coarse_trainer)
    if own is None or shared is None:
        return coarse_trainer
    return TrainerName(shared.trainer, _of_both_stages(own.modifiers)).canonical


def _of_both_stages(modifiers: Sequence[AppliedModifier]) -> tuple[AppliedModifier, ...]:
    return tuple(m for m in modifiers if not m.entry.network_option and m.entry.choice != "loss")


def find_coarse_folds(
    dataset_folder: Path,
    candidates: Sequence[str],
    *,
    plans: str,
    coarse: str,
    fine: str,
) -> CoarseFolds:
    """The predictions of the first candidate that has any; where none has, the place of the first.

    A candidate with some of the cases is taken: two sets of coarse folds are never mixed.

    Args:
        dataset_folder: of nnU-Net's results.
        candidates: trainers.
        plans: name of the plans.
        coarse: configuration of the coarse stage.
        fine: configuration of the fine stage.
    """
    found = [
        CoarseFolds(trainer, folder, folder.is_dir() and any(folder.iterdir()))
        for trainer in candidates
        for folder in (dataset_folder / f"{trainer}__{plans}__{coarse}" / NEXT_STAGE_FOLDER / fine,)
    ]
    return next((folds for folds in found if folds.is_there), found[0])
