"""Tables and data of plots of a benchmark, from its scores and records."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.benchmark.matrix import VANILLA, Arm, Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import Record, read_record
from nnunet_ext.evaluation.benchmark.scores import METRICS, Scored
from nnunet_ext.evaluation.benchmark.scores import Table as ScoreTable
from nnunet_ext.evaluation.benchmark.training_log import read_training_logs
from nnunet_ext.evaluation.report.figures import Cost, Curve, Pairs
from nnunet_ext.evaluation.report.page import Cell, Table
from nnunet_ext.evaluation.report.published import FRACTIONS, TITLES, PaperTable

# Titles of the metrics that trainers are compared in.
NAMES: Mapping[str, str] = {"Dice": "Dice", "nsd": "NSD", "hd95_mm": "HD95, mm", "assd_mm": "ASSD, mm"}
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A benchmark's trainings with their records.

    Attributes:
        places: of the benchmark.
        scored: scores of its complete repeats.
        names: of the arms, for tables.
        records: of every training that has one.
    """

    places: Places
    scored: Scored
    names: Mapping[Arm, str]
    records: Mapping[Run, Record]

    def tables(self, metric: str) -> list[ScoreTable]:
        """Scores of one metric, a table for each structure."""
        return [table for table in self.scored.tables if table.metric == metric]

    def over_structures(self, metric: str) -> dict[Arm, FloatArray]:
        """Mean over structures of every case and repeat, (cases, repeats); nan where no structure has one."""
        tables = self.tables(metric)
        return {arm: _nanmean(np.stack([t.scores[arm] for t in tables])) for arm in self.names}


def read_records(places: Places) -> dict[Run, Record]:
    """Records of all trainings that have one."""
    found = {}
    for run in places.matrix.runs:
        file = places.record(run)
        if file.is_file():
            found[run] = read_record(file)
    return found


def scores_table(trained: Trained, metric: str, *, folded: str = "") -> Table:
    """A row for each arm: mean of each structure, mean of all, spread over patients and over trainings."""
    tables = trained.tables(metric)
    overall = trained.over_structures(metric)
    repeats = len(trained.scored.repeats)
    columns = ["trainer", *(t.structure for t in tables), "mean", "SD of patients"]
    rows: list[list[Cell]] = []
    for arm, name in trained.names.items():
        means: list[Cell] = [_mean(table.scores[arm]) for table in tables]
        of_patients = overall[arm].mean(axis=1)
        row = [name, *means, _mean(overall[arm]), _spread(of_patients)]
        rows.append(row + ([_spread(np.nanmean(overall[arm], axis=0))] if repeats > 1 else []))
    columns += ["SD of trainings"] if repeats > 1 else []
    cases = len(tables[0].cases) if tables else 0
    better = "more is better" if METRICS[metric] else "less is better"
    return Table(columns, rows, note=f"{NAMES[metric]}, {cases} patients; {better}.", folded=folded)


def cost_table(trained: Trained) -> Table:
    """What each arm costs, over all of its trainings."""
    columns = ["trainer", *_PRICES, "hours of training, all", "trainings"]
    rows: list[list[Cell]] = []
    for arm, name in trained.names.items():
        records = _records(trained, arm)
        hours = sum(r.wall_seconds for r in records) / 3600
        prices: list[Cell] = [price(records) for price in _PRICES.values()]
        rows.append([name, *prices, hours, len(records)])
    return Table(columns, rows, note="Medians over trainings, memory: the largest.", digits=3)


def costs(trained: Trained, metric: str = "Dice") -> list[Cost]:
    """Accuracy of each arm with the 95 % interval of its mean over patients, and its prices."""
    from scipy.stats import t

    found = []
    for arm, name in trained.names.items():
        values = trained.over_structures(metric)[arm].mean(axis=1)
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        half = 0.0
        if values.size > 1:
            half = float(t.ppf(0.975, values.size - 1) * values.std(ddof=1) / values.size**0.5)
        mean = float(values.mean())
        records = _records(trained, arm)
        prices = {title: price(records) for title, price in _PRICES.items()}
        found.append(Cost(name, mean, (mean - half, mean + half), prices))
    return found


def pairs(trained: Trained, metric: str) -> list[Pairs]:
    """Every trainer beside vanilla on the same plans (on the first, where there is none), by patient."""
    found = []
    for candidate in trained.names:
        baseline = _baseline(candidate, list(trained.names))
        if candidate.trainer == VANILLA or baseline is None:
            continue
        found += [
            Pairs(
                candidate=trained.names[candidate],
                baseline=trained.names[baseline],
                structure=table.structure,
                cases=table.cases,
                ours=table.scores[candidate].mean(axis=1),
                theirs=table.scores[baseline].mean(axis=1),
            )
            for table in trained.tables(metric)
        ]
    return found


def curves(trained: Trained) -> list[Curve]:
    """Losses and Dice of every training that has begun."""
    found = []
    for run in trained.places.matrix.runs:
        epochs = read_training_logs(trained.places.fold(run)).epochs
        if epochs:
            found.append(
                Curve(
                    trainer=trained.names[run.arm],
                    run=f"fold {run.fold}, training {run.repeat + 1}",
                    epochs=[e.number for e in epochs],
                    val_loss=[e.val_loss for e in epochs],
                    pseudo_dice=[e.pseudo_dice for e in epochs],
                )
            )
    return found


def cases_table(trained: Trained, metric: str) -> Table:
    """A row for each case and structure, a column for each arm: means over its trainings."""
    tables = trained.tables(metric)
    rows: list[list[Cell]] = []
    for table in tables:
        columns = [table.scores[arm].mean(axis=1) for arm in trained.names]
        rows += [
            [case, table.structure, *(float(column[i]) for column in columns)]
            for i, case in enumerate(table.cases)
        ]
    return Table(
        ["case", "structure", *trained.names.values()], rows, folded=f"{NAMES[metric]} of every case"
    )


def trainings_table(trained: Trained) -> Table:
    """Every training as it was recorded, those that failed among them."""
    columns = ["training", "status", "Dice of nnU-Net", "epochs", "attempts", "hours", "reason"]
    rows: list[list[Cell]] = []
    for run in trained.places.matrix.runs:
        record = trained.records.get(run)
        if record is None:
            rows.append([run.name, trained.places.state(run), None, None, None, None, ""])
            continue
        hours = record.wall_seconds / 3600
        known: list[Cell] = [record.mean_dice, record.epochs, record.attempts, hours, record.reason]
        rows.append([run.name, record.status, *known])
    return Table(columns, rows, digits=3, folded=f"{len(rows)} trainings")


def paper_table(trained: Trained, paper: PaperTable) -> Table | None:
    """The paper's own numbers beside ours; None where the dataset has none of its structures."""
    first = trained.tables("Dice")
    structures = paper.structures(table.structure for table in first)
    if not structures:
        return None
    rows: list[list[Cell]] = []
    for method in paper.methods:
        arm = next((a for a in trained.names if a.trainer == method.trainer), None)
        row: list[Cell] = [method.name]
        for metric in paper.metrics:
            row += [method.numbers.get(metric), _ours(trained, arm, metric, structures)]
        rows.append(row)
    columns = ["method", *(f"{TITLES[m]}, {whose}" for m in paper.metrics for whose in ("paper", "here"))]
    note = f"Here: {', '.join(structures)}. The data differ: a glance, not a comparison. {paper.note}".strip()
    return Table(columns, rows, note=note)


def _ours(trained: Trained, arm: Arm | None, metric: str, structures: Sequence[str]) -> float | None:
    if arm is None:
        return None
    means = [_mean(t.scores[arm]) for t in trained.tables(metric) if t.structure in structures]
    known = [m for m in means if np.isfinite(m)]
    if not known:
        return None
    return float(np.mean(known)) * (100 if metric in FRACTIONS else 1)


def _baseline(candidate: Arm, arms: Sequence[Arm]) -> Arm | None:
    vanilla = [a for a in arms if a.trainer == VANILLA and a.configuration == candidate.configuration]
    same = [a for a in vanilla if a.plans == candidate.plans]
    return next(iter([*same, *vanilla]), None)


def _records(trained: Trained, arm: Arm) -> list[Record]:
    return [record for run, record in trained.records.items() if run.arm == arm]


def _median(name: str) -> Callable[[Sequence[Record]], float | None]:
    def price(records: Sequence[Record]) -> float | None:
        values = [value for r in records if (value := getattr(r, name)) is not None and np.isfinite(value)]
        return float(statistics.median(values)) if values else None

    return price


def _largest(name: str) -> Callable[[Sequence[Record]], float | None]:
    def price(records: Sequence[Record]) -> float | None:
        return max((v for r in records if (v := getattr(r, name)) is not None), default=None)

    return price


def _million_parameters(records: Sequence[Record]) -> float | None:
    most = max((r.parameters for r in records), default=0)
    return most / 1e6 if most else None


# What a trainer costs, by title.
_PRICES: Mapping[str, Callable[[Sequence[Record]], float | None]] = {
    "seconds per epoch": _median("seconds_per_epoch"),
    "seconds per case": _median("validation_seconds_per_case"),
    "GPU memory, GiB": _largest("peak_gpu_memory_gib"),
    "memory, GiB": _largest("peak_memory_gib"),
    "million parameters": _million_parameters,
}


def _mean(scores: FloatArray) -> float:
    """Over the patients that have a number, each its mean over trainings."""
    of_patients = scores.mean(axis=1)
    known = of_patients[np.isfinite(of_patients)]
    return float(known.mean()) if known.size else float("nan")


def _spread(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if known.size > 1 else float("nan")


def _nanmean(stacked: FloatArray) -> FloatArray:
    """Mean over the first axis of what is a number; nan where nothing is."""
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
