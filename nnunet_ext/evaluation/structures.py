"""What is evaluated: labels and regions by nnU-Net's keys, with their names, and what is ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Structure:
    """A label or a region.

    Attributes:
        key: as nnU-Net writes it into ``summary.json``: ``"1"``, or ``"(1, 2)"`` for a region.
        name: in ``dataset.json``.
        labels: the values that belong to it.
    """

    key: str
    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class LabelTable:
    """What the values of a dataset's label maps mean.

    Attributes:
        structures: what is evaluated, in nnU-Net's order: labels, or regions where the dataset has any.
        foreground: every value that is neither background nor ignored.
        ignore: the value of the reference that counts for nothing; None where the dataset has none.

    Example:
        >>> table = label_table({"labels": {"background": 0, "kidney": 1, "tumor": 2, "ignore": 3}})
        >>> [s.name for s in table.structures], table.ignore, table.size
        (['kidney', 'tumor'], 3, 4)
    """

    structures: tuple[Structure, ...]
    foreground: tuple[int, ...]
    ignore: int | None = None

    @property
    def size(self) -> int:
        """One more than the largest value that a label map may hold."""
        return 1 + max(0, *self.foreground, self.ignore or 0)

    def keys_of(self, words: Iterable[str]) -> frozenset[str]:
        """Keys of structures that a user named, by name or by key.

        Raises:
            ValueError: one of the words is neither.
        """
        known = {word: s.key for s in self.structures for word in (s.name, s.key)}
        unknown = sorted(set(words) - set(known))
        if unknown:
            names = ", ".join(s.name for s in self.structures)
            raise ValueError(f"no structure is called {', '.join(unknown)}; dataset.json has {names}")
        return frozenset(known[word] for word in words)


def label_table(description: Mapping[str, Any]) -> LabelTable:
    """Read the labels of a ``dataset.json`` as nnU-Net's ``LabelManager`` does.

    Args:
        description: the content of ``dataset.json``.

    Returns:
        The table.

    Raises:
        ValueError: the labels are not as nnU-Net v2 wants them.

    Example:
        >>> regions = {"background": 0, "whole": [1, 2], "core": 2}
        >>> table = label_table({"labels": regions, "regions_class_order": [1, 2]})
        >>> [(s.key, s.name) for s in table.structures]
        [('(1, 2)', 'whole'), ('2', 'core')]
    """
    from nnunetv2.utilities.label_handling.label_handling import LabelManager  # imports torch

    labels = description.get("labels")
    if not isinstance(labels, Mapping) or not all(isinstance(v, int | list) for v in labels.values()):
        raise ValueError(
            "dataset.json names no labels as nnU-Net v2 does: expected "
            '"labels": {"background": 0, "organ": 1}'
        )
    try:
        manager = LabelManager(dict(labels), description.get("regions_class_order"))
    except (AssertionError, RuntimeError) as error:  # its way to complain
        raise ValueError(f"nnU-Net refuses the labels of dataset.json: {error}") from error
    keys = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    if any(0 in _members(key) for key in keys):
        raise ValueError("a region of dataset.json holds the background, 0, which has no surface of its own")
    names = {_members(value): name for name, value in labels.items() if name != "ignore"}
    return LabelTable(
        structures=tuple(_structure(key, names) for key in keys),
        foreground=tuple(int(label) for label in manager.all_labels if label != 0),
        ignore=manager.ignore_label,
    )


def _structure(key: int | tuple[int, ...], names: Mapping[tuple[int, ...], str]) -> Structure:
    written = tuple(int(n) for n in key) if isinstance(key, tuple) else int(key)
    members = _members(key)
    # A label that occurs in regions only, in a dataset without a region of its own, has no name.
    return Structure(str(written), names.get(members, str(written)), members)


def _members(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({int(n) for n in value})) if isinstance(value, list | tuple) else (int(value),)
