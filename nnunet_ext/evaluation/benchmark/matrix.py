"""Which trainings a benchmark has: trainers, plans, configurations, folds, repeats; vanilla is always one.

What would make a comparison unfair is refused before anything runs: other budgets, another precision, a
trainer that sets its own length. Identical nnU-Net trainings differ by up to three points of Dice, since
nnU-Net draws its random state anew each time: hence the repeats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, Literal, get_args

VANILLA = "nnUNetTrainer"
VANILLA_PLANS = "nnUNetPlans"
# The preset that nnU-Net's authors made for the memory of the standard plans.
RESENC_PLANS = "nnUNetResEncUNetMPlans"

Precision = Literal["float32", "bfloat16", "amp"]

_LISTS = {"trainers": str, "plans": str, "configurations": str, "folds": int, "baselines": str}
_SINGLE = {"dataset": str, "repeats": int, "budget": str, "precision": str}
_IN_WORDS = {str: "text", int: "whole numbers"}
_NAME = re.compile(r"[A-Za-z]\w*")
_BUDGET = re.compile(r"(?:[1-9]\d*epochs)?(?:(?:^|_)[1-9]\d*iters)?")
_LENGTH = re.compile(r"\d+(?:epochs?|iters)")


@dataclass(frozen=True)
class Arm:
    """What is compared: a trainer on plans and a configuration.

    Attributes:
        trainer: as it was named, without a budget.
        plans: name of the plans.
        configuration: such as ``3d_fullres``.
    """

    trainer: str
    plans: str
    configuration: str

    @property
    def is_cascade(self) -> bool:
        """Whether it goes on from out-of-fold predictions of another configuration: nnU-Net's name."""
        return "cascade" in self.configuration

    def __str__(self) -> str:
        return f"{self.trainer} ({self.plans}, {self.configuration})"


def short_names(arms: Sequence[Arm]) -> dict[Arm, str]:
    """Names for tables: the trainer, and of plans and configuration only what tells arms apart.

    Plans are named where they are not the first arm's, which is vanilla's on the plans that all have.

    Example:
        >>> plain = Arm("nnUNetTrainer", "nnUNetPlans", "2d")
        >>> large = Arm("nnUNetTrainer", "nnUNetResEncUNetMPlans", "2d")
        >>> list(short_names([plain, large, Arm("nnUNetTrainerAGUNet", "nnUNetPlans", "2d")]).values())
        ['nnUNetTrainer', 'nnUNetTrainer (ResEncUNetM)', 'nnUNetTrainerAGUNet']
    """
    several = len({arm.configuration for arm in arms}) > 1
    named = {}
    for arm in arms:
        plans = "" if arm.plans == arms[0].plans else arm.plans.removeprefix("nnUNet").removesuffix("Plans")
        more = ", ".join(word for word in (plans, arm.configuration if several else "") if word)
        named[arm] = f"{arm.trainer} ({more})" if more else arm.trainer
    return named if len(set(named.values())) == len(named) else {arm: str(arm) for arm in arms}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        arm: what is trained.
        fold: nnU-Net's.
        repeat: 0, 1, ...: the same again, with another random state.
    """

    arm: Arm
    fold: int
    repeat: int

    @property
    def name(self) -> str:
        """A name for files.

        Example:
            >>> Run(Arm("nnUNetTrainer", "nnUNetPlans", "2d"), 0, 1).name
            'nnUNetTrainer__nnUNetPlans__2d__fold_0__repeat_1'
        """
        arm = self.arm
        return f"{arm.trainer}__{arm.plans}__{arm.configuration}__fold_{self.fold}__repeat_{self.repeat}"


@dataclass(frozen=True)
class Matrix:
    """A benchmark as it was declared.

    Attributes:
        dataset: name of the dataset's folder, ``"Dataset004_Hippocampus"``.
        trainers: to be compared; vanilla is there without being named.
        plans: for all of them.
        configurations: for all of them.
        folds: numbers of folds of ``splits_final.json``.
        repeats: trainings of each, >= 1.
        budget: ``"20epochs_25iters"``, ``"50epochs"``, or ``""`` for nnU-Net's own 1000 epochs.
        precision: of the forward pass in training: ``"amp"`` is what nnU-Net does on a GPU; on a CPU it is
            ``"float32"`` or ``"bfloat16"``.
        baselines: plans on which vanilla is trained beside ``plans``.
    """

    dataset: str
    trainers: tuple[str, ...]
    plans: tuple[str, ...] = (VANILLA_PLANS,)
    configurations: tuple[str, ...] = ("3d_fullres",)
    folds: tuple[int, ...] = (0, 1, 2, 3, 4)
    repeats: int = 1
    budget: str = ""
    precision: Precision = "amp"
    baselines: tuple[str, ...] = (RESENC_PLANS,)

    def __post_init__(self) -> None:
        _require_kinds(self)
        for what in ("trainers", "plans", "baselines"):
            _require_names(what, getattr(self, what))
        for what, values in (("plans", self.plans), ("configurations", self.configurations)):
            if not values:
                raise ValueError(f"{what}: expected at least one, got none")
        if not self.folds or min(self.folds) < 0 or len(set(self.folds)) < len(self.folds):
            raise ValueError(f"folds: expected different numbers >= 0, got {list(self.folds)}")
        if self.repeats < 1:
            raise ValueError(f"repeats: expected a whole number >= 1, got {self.repeats}")
        if not _BUDGET.fullmatch(self.budget):
            raise ValueError(f"budget: expected such as 20epochs_25iters, got {self.budget!r}")
        if self.precision == "bfloat16" and not self.budget.endswith("iters"):
            # Such as nnUNetTrainer_20epochs, which nnU-Net finds before a composed one.
            raise ValueError(
                "precision: nnU-Net's own trainers compute in float32 on a CPU; for bfloat16 give a budget "
                f"with iterations, such as {self.budget or '1000epochs'}_250iters"
            )
        for trainer in self.trainers:
            _refuse_own_length(trainer, self.budget)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What is compared, vanilla first."""
        vanilla = product((VANILLA,), dict.fromkeys((*self.plans, *self.baselines)), self.configurations)
        others = product(self.trainers, self.plans, self.configurations)
        return tuple(dict.fromkeys(Arm(*each) for each in (*vanilla, *others)))

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every training, in an order that leaves a fair table whenever it is cut off.

        Of a repeat cascades come last: they need the other configuration's predictions of every fold.
        """
        return tuple(
            Run(arm, fold, repeat)
            for repeat in range(self.repeats)
            for is_cascade in (False, True)
            for fold in self.folds
            for arm in self.arms
            if arm.is_cascade == is_cascade
        )

    def trainer_to_type(self, trainer: str) -> str:
        """The name that nnU-Net gets: the trainer's with the budget at its place.

        Example:
            >>> matrix = Matrix("Dataset004_X", ("nnUNetTrainerRASUNet_NoSAM",), budget="20epochs_25iters")
            >>> matrix.trainer_to_type("nnUNetTrainerRASUNet_NoSAM"), matrix.trainer_to_type("nnUNetTrainer")
            ('nnUNetTrainerRASUNet_20epochs_25iters_NoSAM', 'nnUNetTrainer_20epochs_25iters')
        """
        if not self.budget:
            return trainer
        base, *modifiers = trainer.split("_")
        first = [modifiers.pop(0)] if modifiers[:1] == ["Paper"] else []
        return "_".join([base, *first, self.budget, *modifiers])


def matrix_from(content: Mapping[str, Any]) -> Matrix:
    """The matrix that a file or a command line declares.

    Args:
        content: values by the names of :class:`Matrix`; lists for tuples.

    Raises:
        ValueError: a name is none of these, a value is missing, or as :class:`Matrix` refuses it.

    Example:
        >>> matrix_from({"dataset": "Dataset004_X", "trainers": ["nnUNetTrainerAGUNet"], "folds": [0]}).folds
        (0,)
    """
    known = {each.name for each in fields(Matrix)}
    if unknown := sorted(set(content) - known):
        raise ValueError(f"expected some of {', '.join(sorted(known))}, got {', '.join(unknown)}")
    if missing := sorted({"dataset", "trainers"} - set(content)):
        raise ValueError(f"expected {' and '.join(missing)} in the benchmark, got none")
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in content.items()}
    return Matrix(**values)


def _require_kinds(matrix: Matrix) -> None:
    """Raise for what a file may hold in place of names and numbers."""
    for name, kind in _LISTS.items():
        value = getattr(matrix, name)
        if not isinstance(value, tuple) or any(type(each) is not kind for each in value):
            raise ValueError(f"{name}: expected a list of {_IN_WORDS[kind]}, got {value!r}")
    for name, kind in _SINGLE.items():
        value = getattr(matrix, name)
        if type(value) is not kind:
            raise ValueError(f"{name}: expected {_IN_WORDS[kind]}, got {value!r}")
    if matrix.precision not in get_args(Precision):
        raise ValueError(f"precision: expected {', '.join(get_args(Precision))}, got {matrix.precision!r}")


def _require_names(what: str, names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name) or "__" in name:
            raise ValueError(f"{what}: expected names of nnU-Net's, without '__', got {name!r}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{what}: expected each once, got {', '.join(twice)} again")


def _refuse_own_length(trainer: str, budget: str) -> None:
    """Raise for a name that says how long it trains: all get the benchmark's budget."""
    modifiers = trainer.split("_")[1:]
    own = [modifier for modifier in modifiers if _LENGTH.fullmatch(modifier)]
    # Its epochs and, as a pass over its samples, its iterations are the paper's unless the name has others.
    if "Paper" in modifiers and not ("epochs" in budget and "iters" in budget):
        own.append("Paper")
    if own:
        raise ValueError(
            f"trainers: {trainer} has a length of its own ({', '.join(own)}); give one to all with "
            "budget, in epochs and iterations"
        )
