"""Builds the class that a trainer's name stands for."""

from __future__ import annotations

import importlib
from functools import cache
from os.path import join
from typing import Any

import nnunetv2
from nnunet_ext.trainers.base import builds
from nnunet_ext.trainers.modifiers import MODIFIER_CLASSES
from nnunet_ext.trainers.names import TrainerName
from nnunet_ext.trainers.planned_crop import PlannedCrops
from nnunet_ext.trainers.precision import OptionalBfloat16Forward
from nnunet_ext.trainers.registry import VANILLA
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from nnunet_ext.regimes import REGIMES


@cache
def trainer_class(name: TrainerName) -> type[nnUNetTrainer]:
    """The class of a parsed name; the same object at every call.

    Args:
        name: a trainer with its modifiers, from ``names.parse``.

    Returns:
        The trainer itself, a class composed of it and its modifiers, or nnU-Net's own class where nnU-Net has
        one of that name.
    """
    base: type[nnUNetTrainer] = getattr(importlib.import_module(name.trainer.module), name.trainer.name)
    if not name.modifiers:
        return base
    bases: tuple[type[nnUNetTrainer], ...] = (base,)
    tokens = {modifier.token for modifier in name.modifiers}
    if name.trainer is VANILLA:
        upstream = _upstream_class(name.canonical)
        if upstream is not None:
            return upstream
        bases = (OptionalBfloat16Forward, base)
    regime = REGIMES.get(name.trainer.paper) if "Paper" in tokens else None
    modifiers = [
        MODIFIER_CLASSES[modifier.entry.keyword]
        for modifier in name.modifiers
        if not modifier.entry.network_option
    ]
    if regime is not None:
        if not any(modifier.entry.choice == "loss" for modifier in name.modifiers):
            modifiers.append(MODIFIER_CLASSES[regime.loss])
        if name.trainer.cascade:
            bases = (_of_cascades("cascade").CascadeRegime, *bases)
        elif regime.planned_crop:
            bases = (PlannedCrops, *bases)
    namespace: dict[str, Any] = {
        # pickle asks this module for the class, and gets it by name.
        "__module__": "nnunet_ext.trainers",
        "__doc__": f"{name.trainer.name} with {', '.join(m.token for m in name.modifiers)}.",
        "numbers": {m.entry.keyword: m.number for m in name.modifiers if m.number is not None},
    }
    if regime is not None:
        namespace["regime"] = regime
    ablations = {m.entry.network_option: False for m in name.modifiers if m.entry.network_option}
    if ablations:
        module, _, network = name.trainer.network.rpartition(".")
        network_class = getattr(importlib.import_module(module), network)
        build = _of_cascades("stages").builds_fine if name.trainer.cascade else builds
        namespace["build_network_architecture"] = build(network_class, **ablations)
    # Each applies itself after those behind it: what is named comes after the paper's, which stands first.
    return type(name.canonical, (*reversed(modifiers), *bases), namespace)


def _of_cascades(module: str) -> Any:
    """A module that trainers of one network do without."""
    return importlib.import_module(f"nnunet_ext.trainers.{module}")


def _upstream_class(name: str) -> type[nnUNetTrainer] | None:
    """The class that nnU-Net itself finds under ``name``, by the look-up that comes before ours."""
    folder = join(nnunetv2.__path__[0], "training", "nnUNetTrainer")
    found: type[nnUNetTrainer] | None = recursive_find_python_class(
        folder, name, "nnunetv2.training.nnUNetTrainer", nnunetv2.__path__[0]
    )
    return found
