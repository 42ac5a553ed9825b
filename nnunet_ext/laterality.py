"""Which labels of a dataset are the left and the right of one thing, as ``dataset.json`` records it.

    "laterality": {"pairs": [["eye left", "eye right"]], "axis": 2}

A mirrored patient has the left eye on the right. nnU-Net mirrors every axis, in training and in prediction,
and so teaches the network that left and right cannot be told apart. Converters write this record, which
nnU-Net ignores; our trainers then leave the left-right axis alone. ``pairs`` may be empty where nothing comes
in pairs but a mirrored anatomy is none, as in the heart. Imports nothing heavy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY = "laterality"
AXIS = 2  # of the image as nnU-Net reads it, (z, y, x), in the orientations that converters write


@dataclass(frozen=True)
class Laterality:
    """What ``dataset.json`` says of left and right.

    Attributes:
        pairs: names of labels, (left, right).
        axis: left-right axis of the image array as nnU-Net reads it, before ``transpose_forward``.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    axis: int = AXIS

    @property
    def summary(self) -> str:
        """The pairs in words."""
        return spelled(self.pairs) or "a chiral anatomy"


def laterality_of(dataset_json: Mapping[str, Any]) -> Laterality | None:
    """The record of a dataset, or None where it has none.

    Args:
        dataset_json: the content of ``dataset.json``.

    Raises:
        ValueError: the record cannot be read, or names labels that the dataset does not have.

    Example:
        >>> labels = {"background": 0, "lens left": 1, "lens right": 2}
        >>> laterality_of({"labels": labels, "laterality": {"pairs": [["lens left", "lens right"]]}})
        Laterality(pairs=(('lens left', 'lens right'),), axis=2)
        >>> laterality_of({"labels": labels}) is None
        True
    """
    record = dataset_json.get(KEY)
    if record is None:
        return None
    wanted = 'expected {"pairs": [[left label, right label], ...], "axis": 0, 1 or 2}'
    if not isinstance(record, Mapping) or not set(record) <= {"pairs", "axis"}:
        raise ValueError(f"dataset.json, {KEY}: {wanted}, got {record!r}")
    pairs, axis = record.get("pairs", []), record.get("axis", AXIS)
    if axis not in (0, 1, 2) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"dataset.json, {KEY}: {wanted}, got {record!r}")
    unknown = sorted({label for pair in pairs for label in pair} - set(dataset_json["labels"]))
    if unknown:
        raise ValueError(
            f"dataset.json, {KEY}: there are no labels {unknown}, but {list(dataset_json['labels'])}"
        )
    return Laterality(tuple((left, right) for left, right in pairs), axis)


def pairs_by_name(labels: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Labels whose names differ in left and right alone.

    Example:
        >>> pairs_by_name(["kidney_left", "kidney_right", "liver", "Lens L", "Lens R"])
        (('kidney_left', 'kidney_right'), ('Lens L', 'Lens R'))
    """
    names = {name.lower(): name for name in labels}
    found = []
    for name, spelled in names.items():
        other = re.sub(r"left|(?<![a-z])l(?![a-z])", _right_for, name)
        if other != name and other in names:
            found.append((spelled, names[other]))
    return tuple(found)


def spelled(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs in words; "" for none.

    Example:
        >>> spelled([("eye left", "eye right"), ("Lens L", "Lens R")])
        'eye left / eye right, Lens L / Lens R'
    """
    return ", ".join(f"{left} / {right}" for left, right in pairs)


def record_line(pairs: Iterable[tuple[str, str]]) -> str:
    """The line that ``dataset.json`` needs for pairs, with the axis that converters write.

    Example:
        >>> record_line([("eye left", "eye right")])
        '"laterality": {"pairs": [["eye left", "eye right"]], "axis": 2}'
    """
    return json.dumps({KEY: {"pairs": list(pairs), "axis": AXIS}})[1:-1]


def patch_axis(axis: int, *, transpose_forward: Sequence[int], dimensions: int) -> int | None:
    """Where an axis of the image array lies in nnU-Net's patches.

    Args:
        axis: of the image array as nnU-Net reads it.
        transpose_forward: from the plans.
        dimensions: of the patches; those of two lie in the last two axes.

    Returns:
        The axis of the patch; None where the patches are slices across it.

    Example:
        >>> patch_axis(2, transpose_forward=[0, 1, 2], dimensions=3)
        2
        >>> patch_axis(2, transpose_forward=[2, 0, 1], dimensions=2) is None
        True
    """
    position = list(transpose_forward).index(axis) - (3 - dimensions)
    return position if position >= 0 else None


def _right_for(match: re.Match[str]) -> str:
    return "right" if match.group() == "left" else "r"
