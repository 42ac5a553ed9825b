"""Tables and data of plots of a benchmark, from its scores and records."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.benchmark.matrix import VANILLA, Arm, Run, short_names
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import Record, read_record
from nnunet_ext.evaluation.benchmark.scores import METRICS, Scored
from nnunet_ext.evaluation.benchmark.scores import Table as ScoreTable
from nnunet_ext.evaluation.benchmark.training_log import read_training_logs
from nnunet_ext.evaluation.report.figures import Cost, Curve, Pairs
from nnunet_ext.evaluation.report.page import Cell, Table
from nnunet_ext.evaluation.scores import Settings

# Titles of the metrics that trainers are compared in.
NAMES: Mapping[str, str] = {
    "Dice": "Dice",
    "nsd": f"NSD at {Settings().nsd_tolerance_mm:g} mm",
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
}
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A benchmark's trainings with their records.

    Attributes:
        places: of the benchmark.
        scored: scores of its complete repeats.
        names: of the arms, for tables.
        records: of every training that has one.
        unit: of distances: ``"mm"`` or ``"pixel"``.
    """

    places: Places
    scored: Scored
    names: Mapping[Arm, str]
    records: Mapping[Run, Record]
    unit: str = "mm"

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
        means: list[Cell] = [mean_score(table.scores[arm]) for table in tables]
        of_patients = overall[arm].mean(axis=1)
        row = [name, *means, mean_score(overall[arm]), _spread(of_patients)]
        rows.append(row + ([_spread(np.nanmean(overall[arm], axis=0))] if repeats > 1 else []))
    columns += ["SD of trainings"] if repeats > 1 else []
    cases = len(tables[0].cases) if tables else 0
    better = "more is better" if METRICS[metric] else "less is better"
    return Table(columns, rows, note=f"{NAMES[metric]}, {cases} patients; {better}.", folded=folded)


def missing_table(trained: Trained) -> Table | None:
    """How often each arm missed a structure or found one that is not there; None where none ever did."""
    rows: list[list[Cell]] = []
    metrics = zip(*(trained.tables(name) for name in ("Dice", "precision", "recall")), strict=True)
    for dice, precision, recall in metrics:
        for arm, name in trained.names.items():
            neither = np.isnan(dice.scores[arm])
            # Undefined where nothing was predicted, and where there is nothing to predict.
            missed = np.isnan(precision.scores[arm]) & ~neither
            invented = np.isnan(recall.scores[arm]) & ~neither
            counts = [int(each.sum()) for each in (missed, invented, neither)]
            if any(counts):
                rows.append([name, dice.structure, *counts, neither.size])
    if not rows:
        return None
    note = (
        "Counted over patients and trainings. Missed: in the reference, not predicted: Dice 0, distances the "
        "image's diagonal. Invented: predicted, not in the reference: Dice 0, no distances. In neither: no "
        "score. A mean is over the patients that have a score in each of its trainings, a comparison over "
        "those that have one in both trainers."
    )
    return Table(["trainer", "structure", "missed", "invented", "in neither", "of"], rows, note=note)


def cost_table(trained: Trained) -> Table:
    """What each arm costs, over all of its trainings; without what is known of none."""
    prices = {
        title: {arm: price(_records(trained, arm)) for arm in trained.names}
        for title, price in _PRICES.items()
    }
    known = {title: of for title, of in prices.items() if any(cost is not None for cost in of.values())}
    columns = ["trainer", *known, "hours of training, all", "trainings"]
    rows: list[list[Cell]] = []
    for arm, name in trained.names.items():
        records = _records(trained, arm)
        hours = sum(r.wall_seconds for r in records) / 3600
        rows.append([name, *(of[arm] for of in known.values()), hours, len(records)])
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
    """Losses and Dice of every training that has begun, those of arms that are left out among them."""
    names = {**short_names(trained.places.matrix.arms), **trained.names}
    found = []
    for run in trained.places.matrix.runs:
        epochs = read_training_logs(trained.places.fold(run)).epochs
        if epochs:
            found.append(
                Curve(
                    trainer=names[run.arm],
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


def mean_score(scores: FloatArray) -> float:
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
