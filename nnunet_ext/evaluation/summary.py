"""Means with their counts, and a summary.json that nnU-Net reads and that holds everything else beside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from math import fsum
from typing import Any

import nnunet_ext
from nnunet_ext.evaluation.definitions import definitions
from nnunet_ext.evaluation.folder import CaseResult
from nnunet_ext.evaluation.scores import CaseScores, Number, Settings
from nnunet_ext.evaluation.structures import LabelTable


@dataclass(frozen=True)
class Evaluation:
    """All results of a run.

    Attributes:
        results: by case.
        table: what the labels mean.
        settings: of the run.
        unit: of distances: ``"mm"`` or ``"pixel"``.
    """

    results: tuple[CaseResult, ...]
    table: LabelTable
    settings: Settings
    unit: str = "mm"

    @property
    def scored(self) -> tuple[tuple[CaseResult, CaseScores], ...]:
        """The cases that have scores."""
        return tuple((r, r.scores) for r in self.results if r.scores is not None)

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """The cases that have none."""
        return tuple(r for r in self.results if r.scores is None)


@dataclass(frozen=True)
class Means:
    """Means of one structure over cases.

    Attributes:
        values: by metric; None where no case has a value.
        n: cases with a value, by metric.
        counts: ``cases``, and how many lack the structure in which way.
    """

    values: dict[str, float | None]
    n: dict[str, int]
    counts: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``summary.json``."""
        return {**self.values, **self.counts, "n": self.n}


def means_of(evaluation: Evaluation) -> dict[str, Means]:
    """Means of every structure, by its key.

    Args:
        evaluation: results of a run.

    Returns:
        For Dice, IoU and counts of voxels the same numbers as nnU-Net's.

    Example:
        >>> from nnunet_ext.evaluation import Structure
        >>> table = LabelTable((Structure("1", "organ", (1,)),), (1,))
        >>> means_of(Evaluation((), table, Settings()))["1"].counts["cases"]
        0
    """
    means = {}
    for structure in evaluation.table.structures:
        scores = [scores.structures[structure.key] for _, scores in evaluation.scored]
        flags = [s.flags() for s in scores]
        counts = {
            name: sum(f[name] for f in flags)
            for name in ("both_empty", "missing_reference", "missing_prediction")
        }
        values, n = mean_numbers([s.numbers() for s in scores])
        means[structure.key] = Means(values, n, {"cases": len(scores), **counts})
    return means


def mean_numbers(rows: Iterable[Mapping[str, Number]]) -> tuple[dict[str, float | None], dict[str, int]]:
    """Mean of each column over the rows that have a value, and how many have.

    Example:
        >>> mean_numbers([{"Dice": 0.5, "hd_mm": None}, {"Dice": 1.0, "hd_mm": None}])
        ({'Dice': 0.75, 'hd_mm': None}, {'Dice': 2, 'hd_mm': 0})
    """
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).extend([] if value is None else [float(value)])
    n = {name: len(column) for name, column in columns.items()}
    return {name: fsum(column) / n[name] if column else None for name, column in columns.items()}, n


def foreground_mean(means: Mapping[str, Means]) -> tuple[dict[str, float | None], dict[str, int]]:
    """Mean over structures of their means, as nnU-Net takes it.

    Where a structure occurs in no case nnU-Net's is NaN; this is then the mean of the others.

    Args:
        means: of structures, by their keys.

    Returns:
        By metric: the mean, and of how many structures.

    Example:
        >>> foreground_mean({"1": Means({"Dice": 0.5}, {}, {}), "2": Means({"Dice": None}, {}, {})})
        ({'Dice': 0.5}, {'Dice': 1})
    """
    return mean_numbers([m.values for m in means.values()])


def pooled_mean(evaluation: Evaluation) -> tuple[dict[str, float | None], dict[str, int]]:
    """Mean over cases of the scores that are pooled over labels."""
    return mean_numbers([scores.pooled_numbers() for _, scores in evaluation.scored])


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The content of a ``summary.json``: nnU-Net's keys, and ours beside.

    Args:
        evaluation: results of a run.

    Returns:
        Values that JSON knows. What nnU-Net writes as NaN, which is no JSON, is None.

    Example:
        >>> summary(Evaluation((), LabelTable((), ()), Settings()))["cases"]
        {'evaluated': 0, 'failed': 0}
    """
    means = means_of(evaluation)
    overall, structures = foreground_mean(means)
    pooled, cases = pooled_mean(evaluation)
    return {
        "foreground_mean": {**overall, "n": structures},
        "pooled": {**pooled, "n": cases},
        "mean": {key: m.as_json() for key, m in means.items()},
        "names": {s.key: s.name for s in evaluation.table.structures},
        "cases": {"evaluated": len(evaluation.scored), "failed": len(evaluation.failed)},
        "failed": [_failure(result) for result in evaluation.failed],
        "definitions": definitions(evaluation.settings, unit=evaluation.unit),
        "versions": _versions(evaluation.settings),
        "metric_per_case": [_case(result, scores) for result, scores in evaluation.scored],
    }


def summary_text(evaluation: Evaluation) -> str:
    """The same as text; the same results always give the same bytes."""
    return json.dumps(summary(evaluation), indent=4, allow_nan=False, ensure_ascii=False) + "\n"


def _case(result: CaseResult, scores: CaseScores) -> dict[str, Any]:
    return {
        "case": result.case.name,
        "prediction_file": str(result.case.prediction),
        "reference_file": str(result.case.reference),
        "metrics": {key: {**s.numbers(), **s.flags()} for key, s in scores.structures.items()},
        "pooled": scores.pooled_numbers(),
    }


def _failure(result: CaseResult) -> dict[str, str]:
    parts: Sequence[str] = result.error or ("", "", "")
    return {"case": result.case.name, **dict(zip(("code", "reason", "remedy"), parts, strict=True))}


def _versions(settings: Settings) -> dict[str, str]:
    packages = ["numpy", "scipy", *(["scikit-image"] if settings.tubular else [])]
    return {"nnunet_ext": nnunet_ext.__version__, **{name: version(name) for name in packages}}
