"""A paper's own numbers beside those of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunet_ext.evaluation.benchmark.matrix import Arm
from nnunet_ext.evaluation.report.benchmark_tables import Trained, mean_score
from nnunet_ext.evaluation.report.page import Cell, Table
from nnunet_ext.evaluation.report.published import FRACTIONS, TITLES, PaperTable


def paper_table(trained: Trained, paper: PaperTable) -> Table | None:
    """The paper's own numbers beside ours; None where the dataset has none of its structures."""
    names = (table.structure for table in trained.tables("Dice"))
    structures = paper.structures(names, dataset=trained.places.matrix.dataset)
    if not structures:
        return None
    table = _by_organ if paper.rows_are_organs else _by_method
    columns, rows = table(trained, paper, structures)
    note = f"Here: {', '.join(structures)}. The data differ: a glance, not a comparison. {paper.note}".strip()
    return Table(columns, rows, note=note)


def _by_method(
    trained: Trained, paper: PaperTable, structures: Sequence[str]
) -> tuple[list[str], list[list[Cell]]]:
    """The paper's methods, each beside the trainer that stands for it."""
    rows: list[list[Cell]] = []
    for method in paper.methods:
        arm = next((a for a in trained.names if a.trainer == method.trainer), None)
        row: list[Cell] = [method.name]
        for metric in paper.metrics:
            row += [method.numbers.get(metric), _ours(trained, arm, metric, structures)]
        rows.append(row)
    return _columns("method", paper, ["here"]), rows


def _by_organ(
    trained: Trained, paper: PaperTable, structures: Sequence[str]
) -> tuple[list[str], list[list[Cell]]]:
    """The paper's organs, each beside every trainer."""
    rows: list[list[Cell]] = []
    for method in paper.methods:
        own = method.structures(structures)
        row: list[Cell] = [method.name]
        for metric in paper.metrics:
            row.append(method.numbers.get(metric))
            row += [_ours(trained, arm, metric, own) for arm in trained.names]
        rows.append(row)
    return _columns("organ", paper, list(trained.names.values())), rows


def _columns(first: str, paper: PaperTable, ours: Sequence[str]) -> list[str]:
    return [first, *(f"{TITLES[metric]}, {whose}" for metric in paper.metrics for whose in ("paper", *ours))]


def _ours(trained: Trained, arm: Arm | None, metric: str, structures: Sequence[str]) -> float | None:
    if arm is None:
        return None
    means = [mean_score(t.scores[arm]) for t in trained.tables(metric) if t.structure in structures]
    known = [m for m in means if np.isfinite(m)]
    if not known:
        return None
    return float(np.mean(known)) * (100 if metric in FRACTIONS else 1)
