"""What the numbers of a page mean, as a table that is folded away."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_ext.evaluation.report.page import Cell, Table


def meanings(definitions: Mapping[str, object]) -> Table:
    """A row for each definition, and for each part of those that have several.

    Args:
        definitions: from :func:`~nnunet_ext.evaluation.definitions.definitions`.

    Example:
        >>> meanings({"hd_mm": "largest", "missing": {"both_empty": "null"}}).rows
        [['hd mm', 'largest'], ['missing both empty', 'null']]
    """
    rows: list[list[Cell]] = []
    for name, words in definitions.items():
        parts = words.items() if isinstance(words, dict) else [("", words)]
        rows += [[f"{name} {part}".replace("_", " ").strip(), str(text)] for part, text in parts]
    return Table(["number", "meaning"], rows, folded="What each number means")
