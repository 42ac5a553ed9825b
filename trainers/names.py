"""Spelling of trainer names: a trainer, then modifiers in one order, so that one thing has one result folder.

Imports nothing heavy (see ``registry``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnunet_ext.trainers.registry import MODIFIERS, TRAINERS, VANILLA, ModifierEntry, TrainerEntry


def _grammar() -> str:
    """The spelling of names in one line: choices side by side, what leaves something out as NoX."""
    parts: list[str] = []
    seen: set[str] = set()
    for modifier in MODIFIERS:
        group = modifier.choice or ("NoX" if modifier.token.startswith("No") else modifier.token)
        if group in seen:
            continue
        seen.add(group)
        tokens = [m.token for m in MODIFIERS if modifier.choice and m.choice == modifier.choice]
        if group == "NoX":
            tokens = ["NoX ..., in alphabetical order"]
        parts.append("[" + "|".join(f"_{token}" for token in tokens or [modifier.token]) + "]")
    return "<Trainer>" + "".join(parts)


GRAMMAR = _grammar()


@dataclass(frozen=True)
class AppliedModifier:
    """A modifier in a name, with its number where it takes one."""

    entry: ModifierEntry
    number: int | None = None

    @property
    def token(self) -> str:
        """The canonical spelling, as in ``20epochs``."""
        return self.entry.keyword if self.number is None else f"{self.number}{self.entry.keyword}"


@dataclass(frozen=True)
class TrainerName:
    """A trainer's name taken apart.

    Attributes:
        trainer: the trainer that the name starts with.
        modifiers: what follows, in canonical order.
    """

    trainer: TrainerEntry
    modifiers: tuple[AppliedModifier, ...] = ()

    @property
    def canonical(self) -> str:
        """The one spelling of this name."""
        return "_".join([self.trainer.name, *(modifier.token for modifier in self.modifiers)])


class MisspeltTrainerNameError(ValueError):
    """The name is meant for one of our trainers but is not spelled as the grammar has it."""


def parse(name: str) -> TrainerName | None:
    """Take a trainer's name apart.

    Args:
        name: what a user gave with ``-tr``.

    Returns:
        The trainer and its modifiers; None where the name is not ours: nnU-Net's plain ``nnUNetTrainer``, a
        name of another team, or anything else that Python asks a module for.

    Raises:
        MisspeltTrainerNameError: our trainer, or nnU-Net's with our modifiers, in a spelling that we refuse;
            the message gives the canonical one where there is one.

    Example:
        >>> parse("nnUNetTrainerRASUNet_20epochs_NoMirroring").canonical
        'nnUNetTrainerRASUNet_20epochs_NoMirroring'
        >>> parse("nnUNetTrainerOfAnotherTeam") is None
        True
    """
    trainer = _trainer_of(name)
    if trainer is None:
        return None
    rest = name[len(trainer.name) :]
    if trainer is VANILLA and "_" not in rest:
        return None
    found = _modifiers_of(rest)
    if found is None:
        if trainer is VANILLA or not rest.startswith("_"):
            return None
        raise _misspelt(name, f"it has a modifier that does not exist in {rest[1:]!r}")
    parsed = TrainerName(trainer, tuple(sorted(found, key=lambda m: MODIFIERS.index(m.entry))))
    if len({modifier.entry for modifier in found}) < len(found):
        raise _misspelt(name, "a modifier may stand in a name once")
    choices = [modifier.entry.choice for modifier in found if modifier.entry.choice]
    if len(set(choices)) < len(choices):
        raise _misspelt(name, f"it has more than one {choices[0]}")
    for modifier in found:
        if modifier.entry.network_option and modifier.token not in trainer.ablations:
            has = (
                f"it can leave out {', '.join(trainer.ablations)}"
                if trainer.ablations
                else "it has no such part"
            )
            raise _misspelt(
                name, f"{trainer.name}'s network has nothing for {modifier.token} to leave out ({has})"
            )
    if not trainer.paper and any(modifier.token == "Paper" for modifier in found):
        raise _misspelt(name, f"{trainer.name} comes from no paper")
    if any(modifier.number == 0 for modifier in found):
        raise _misspelt(name, "numbers start at 1")
    if parsed.canonical != name:
        raise _misspelt(name, f"write {parsed.canonical}")
    return parsed


def _trainer_of(name: str) -> TrainerEntry | None:
    """The longest of our trainer names that ``name`` starts with, whatever the case of its letters."""
    candidates = [t for t in (*TRAINERS, VANILLA) if name.lower().startswith(t.name.lower())]
    return max(candidates, key=lambda t: len(t.name), default=None)


# Loose on purpose: what looks like our modifiers is ours to explain.
_LOOSE_TOKEN = "|".join(
    rf"\d+{modifier.keyword.rstrip('s')}s?" if modifier.takes_number else modifier.keyword
    for modifier in sorted(MODIFIERS, key=lambda m: len(m.token), reverse=True)
)
# Plain letters and digits: other scripts have some that count as the same.
_LETTERS = re.IGNORECASE | re.ASCII


def _modifiers_of(rest: str) -> list[AppliedModifier] | None:
    """The modifiers in the rest of a name, in the order written; None where something else stands there."""
    if not re.fullmatch(rf"(?:_?(?:{_LOOSE_TOKEN}))*", rest, _LETTERS):
        return None
    tokens: list[str] = re.findall(_LOOSE_TOKEN, rest, _LETTERS)
    return [_modifier_of(token) for token in tokens]


def _modifier_of(token: str) -> AppliedModifier:
    digits = re.match(r"\d*", token)
    number = digits.group() if digits else ""
    keyword = token[len(number) :].lower().rstrip("s")
    entry = next(m for m in MODIFIERS if m.keyword.lower().rstrip("s") == keyword)
    return AppliedModifier(entry, int(number) if number else None)


def _misspelt(name: str, reason: str) -> MisspeltTrainerNameError:
    return MisspeltTrainerNameError(
        f"{name} is not a trainer: {reason}.\n"
        f"Names are spelled {GRAMMAR}, N a whole number of 1 or more without leading zeros, with the "
        f"trainers {', '.join(trainer.name for trainer in (*TRAINERS, VANILLA))}. "
        "`nnunet_ext trainers` lists and explains them."
    )
