"""The two models of a trained cascade: the fine one names the coarse one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_ext.cascade.settings import Proposals, settings_of
from nnunet_ext.inference.model import (
    Fold,
    Model,
    ModelError,
    available_folds,
    load_model,
    our_trainers_found,
)

# Key of nnU-Net's checkpoints under which a fine stage says whose coarse predictions it was trained on, and a
# coarse stage on which cases it was.
CHECKPOINT_KEY = "nnunet_ext"
COARSE_TRAINER = "coarse_trainer"
TRAINED_ON = "trained_on"


def proposals_of(fine: Model) -> Proposals | None:
    """How a fine model proposes windows; None where it looks everywhere, as nnU-Net's own cascade does.

    Raises:
        ModelError: the trainer is not found.
        ProposalSettingsError: the plans' settings make no sense.
    """
    with our_trainers_found():
        trainer = recursive_find_trainer_class_by_name(fine.trainer)
    kind = getattr(trainer, "kind", None)
    if kind is None:
        return None
    return settings_of(fine.configuration_manager.configuration, kind=kind, dataset_json=fine.dataset_json)


def stored_in(checkpoint: str | Path) -> dict[str, Any]:
    """What a stage of a cascade wrote into its checkpoint beside nnU-Net's own; empty where it is no such."""
    # Memory-mapped: the weights are not read.
    stored: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=False, mmap=True)
    return dict(stored.get(CHECKPOINT_KEY, {}))


def coarse_trainer_in(checkpoint: str | Path) -> str | None:
    """The trainer whose coarse predictions a fine model was trained on; None where nothing says so."""
    trainer: str | None = stored_in(checkpoint).get(COARSE_TRAINER)
    return trainer


def coarse_folder(fine: Model) -> Path:
    """Where the coarse model of a fine one lies, beside it.

    It is the one on whose predictions the fine one was trained; nnU-Net's own cascades have the same trainer
    in both stages.

    Raises:
        ModelError: folds of the fine model were trained on predictions of different coarse trainers.
    """
    named = {
        fold: coarse_trainer_in(fine.folder / f"fold_{fold}" / fine.checkpoint) or fine.trainer
        for fold in fine.folds
    }
    if len(set(named.values())) > 1:
        raise ModelError(
            f"the folds of {fine.folder} were trained on coarse predictions of different trainers ({named}): "
            "choose folds with -f that have the same, or name the coarse model with --coarse-model"
        )
    trainer = named[fine.folds[0]]
    return fine.folder.parent / f"{trainer}__{fine.plans_manager.plans_name}__{fine.previous_stage}"


def load_coarse(fine: Model, *, folder: Path | None = None, folds: Sequence[Fold] | None = None) -> Model:
    """The coarse model of a fine one.

    Args:
        fine: a model with a previous stage.
        folder: of the coarse model, where it does not lie beside the fine one.
        folds: of the coarse model; None takes those of the fine model, and all that are trained where the
            coarse model lacks one of them or the fine one is of fold ``all``.

    Raises:
        ModelError: there is none, or it is not of this cascade.
    """
    where = coarse_folder(fine) if folder is None else folder
    if not where.is_dir():
        raise ModelError(
            f"expected the coarse model of {fine.folder} in {where}, found no such folder: name it with "
            f"--coarse-model, or train {fine.previous_stage} for all folds"
        )
    if folds is None:
        available = available_folds(where, fine.checkpoint)
        folds = fine.folds if set(fine.folds) <= set(available) else None
    coarse = load_model(where, folds=folds, checkpoint=fine.checkpoint)
    if coarse.configuration != fine.previous_stage:
        raise ModelError(
            f"expected a model of {fine.previous_stage} in {where}, got one of {coarse.configuration}"
        )
    if coarse.dataset_json["labels"] != fine.dataset_json["labels"]:
        raise ModelError(f"the labels of {where} are not those of {fine.folder}: they are no cascade")
    for field in ("transpose_forward", "image_reader_writer"):
        if coarse.plans_manager.plans[field] != fine.plans_manager.plans[field]:
            raise ModelError(f"{field} in the plans of {where} is not that of {fine.folder}")
    return coarse
