"""Scores of every validation case of a benchmark, and what they say about trainers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.benchmark.matrix import VANILLA, Arm, Run, short_names
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.training_log import read_training_logs
from nnunet_ext.evaluation.cases import find_cases, read_dataset_json
from nnunet_ext.evaluation.folder import evaluate_cases
from nnunet_ext.evaluation.statistics import Comparison, aligned, compare, corrected
from nnunet_ext.evaluation.structures import label_table
from nnunet_ext.files import write_text

# What trainers are compared in, and whether more is better.
METRICS: Mapping[str, bool] = MappingProxyType(
    {"Dice": True, "nsd": True, "hd95_mm": False, "assd_mm": False}
)
# What else the papers' tables have.
OTHERS = ("IoU", "precision", "recall", "hd_mm", "rve_absolute_percent")
REFERENCES = "gt_segmentations"

# From a case to a structure's name to a metric.
RunScores = dict[str, dict[str, dict[str, float | None]]]


@dataclass(frozen=True)
class Table:
    """Scores of one metric of one structure.

    Attributes:
        metric: its name.
        structure: its name.
        cases: names of the cases.
        scores: for each arm an array (cases, repeats); nan where a metric means nothing.
    """

    metric: str
    structure: str
    cases: tuple[str, ...]
    scores: Mapping[Arm, NDArray[np.float64]]


@dataclass(frozen=True)
class Scored:
    """What a benchmark has to say so far.

    Attributes:
        tables: of every metric and structure.
        repeats: those in which every arm that is not left out finished every fold.
        unfinished: trainings that are missing.
        left_out: arms that have not finished every fold of any repeat.
    """

    tables: tuple[Table, ...]
    repeats: tuple[int, ...]
    unfinished: tuple[Run, ...]
    left_out: tuple[Arm, ...] = ()


def score(places: Places, *, preprocessed: Path, workers: int = 1, progress: bool = False) -> Scored:
    """Score the validation of every repeat that is complete; what was scored before is not scored again.

    Only complete repeats can be compared: every trainer on every patient. A trainer that has none, as where
    it fails each time, is left out and does not hold up the others.

    Args:
        places: of the benchmark.
        preprocessed: nnU-Net's folder of preprocessed datasets, which holds the references.
        workers: processes.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: no repeat is complete, trainings differ in length, or a case of a validation cannot be
            scored.
        OSError: something cannot be read.
    """
    runs = places.matrix.runs
    unfinished = [run for run in runs if places.state(run) != "finished"]
    complete = {
        arm: {run.repeat for run in runs} - {run.repeat for run in unfinished if run.arm == arm}
        for arm in places.matrix.arms
    }
    compared = [arm for arm, repeats in complete.items() if repeats]
    repeats = sorted(set.intersection(*(complete[arm] for arm in compared))) if compared else []
    if not repeats or all(arm.trainer != VANILLA for arm in compared):
        raise ValueError(
            f"no repeat is complete, {len(unfinished)} trainings are missing, such as {unfinished[0].name}; "
            "go on with nnunet_ext benchmark run"
        )
    found: dict[Arm, dict[int, RunScores]] = {}
    scored = [run for run in runs if run.repeat in repeats and run.arm in compared]
    _require_one_length(scored, places)
    for run in scored:
        scores = _scores_of(run, places, preprocessed=preprocessed, workers=workers, progress=progress)
        of_repeat = found.setdefault(run.arm, {}).setdefault(run.repeat, {})
        if twice := sorted(set(of_repeat) & set(scores)):
            raise ValueError(f"expected each case in one validation fold, got {twice[0]} in several")
        of_repeat |= scores
    left_out = tuple(arm for arm in places.matrix.arms if arm not in compared)
    return Scored(_tables(found), tuple(repeats), tuple(unfinished), left_out)


def comparisons(scored: Scored) -> list[Comparison]:
    """Every trainer against every vanilla one of its configuration, in every metric and structure.

    Holm's correction is over all comparisons of a metric. Where fewer than two patients have a number in
    both, as in the distances of a structure that hardly ever occurs, there is nothing to compare.
    """
    names = short_names([arm for table in scored.tables[:1] for arm in table.scores])
    found = []
    for metric, higher_is_better in METRICS.items():
        family = [
            compare(
                table.scores[candidate],
                table.scores[baseline],
                names=(names[candidate], names[baseline]),
                metric=metric,
                structure=table.structure,
                higher_is_better=higher_is_better,
            )
            for table in scored.tables
            if table.metric == metric
            for candidate in table.scores
            for baseline in table.scores
            if candidate.trainer != VANILLA == baseline.trainer
            and candidate.configuration == baseline.configuration
            and _patients(table.scores[candidate], table.scores[baseline]) > 1
        ]
        found += corrected(family)
    return found


def _require_one_length(runs: Sequence[Run], places: Places) -> None:
    """Raise for a trainer whose class has a length of its own, which its name does not tell."""
    lengths: dict[int, Run] = {}
    for run in runs:
        epochs = read_training_logs(places.fold(run)).epochs
        if epochs:
            lengths.setdefault(epochs[-1].number + 1, run)
    if len(lengths) > 1:
        told = ", ".join(f"{length} of {run.name}" for length, run in lengths.items())
        raise ValueError(
            f"expected as many epochs of every training, got {told}: they cannot be compared. Declare the "
            "benchmark without the trainer that has a length of its own"
        )


def _patients(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> int:
    """Those with a number in every training of both."""
    return int((np.isfinite(ours).all(axis=1) & np.isfinite(theirs).all(axis=1)).sum())


def _tables(found: Mapping[Arm, Mapping[int, RunScores]]) -> tuple[Table, ...]:
    first = next(iter(next(iter(found.values())).values()))
    tables = []
    for structure in next(iter(first.values())):
        for metric in (*METRICS, *OTHERS):
            numbers = {str(arm): _by_case(of_arm, structure, metric) for arm, of_arm in found.items()}
            cases, arrays = aligned(numbers)
            scores = {arm: arrays[str(arm)] for arm in found}
            tables.append(Table(metric, structure, tuple(cases), scores))
    return tuple(tables)


def _by_case(of_arm: Mapping[int, RunScores], structure: str, metric: str) -> dict[str, list[float]]:
    """From each case to a number a repeat."""
    repeats = [of_arm[repeat] for repeat in sorted(of_arm)]
    cases = sorted({case for scores in repeats for case in scores})
    return {
        case: [_number(s.get(case, {}).get(structure, {}).get(metric)) for s in repeats] for case in cases
    }


def _scores_of(run: Run, places: Places, *, preprocessed: Path, workers: int, progress: bool) -> RunScores:
    """Scores of one training's validation cases, kept beside its record."""
    validation = places.fold(run) / "validation"
    # It is written last, once all predictions are there.
    seen = hashlib.sha256((validation / "summary.json").read_bytes()).hexdigest()
    file = places.root / "scores" / f"{run.name}.json"
    if file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["summary_sha256"] == seen:
            scores: RunScores = kept["scores"]
            return scores
    dataset = preprocessed / places.matrix.dataset
    description = read_dataset_json(dataset / "dataset.json")
    table = label_table(description)
    cases = find_cases(
        validation, dataset / REFERENCES, file_ending=description["file_ending"], only_predicted=True
    )
    results = evaluate_cases(cases, table=table, workers=workers, progress=progress)
    failed = [(result.case.name, result.error) for result in results if result.scores is None]
    if failed:
        name, error = failed[0]
        raise ValueError(f"{len(failed)} cases of {run.name} cannot be scored, such as {name}: {error}")
    names = {structure.key: structure.name for structure in table.structures}
    scores = {
        result.case.name: {
            names[key]: {metric: of_case.numbers()[metric] for metric in (*METRICS, *OTHERS)}
            for key, of_case in result.scores.structures.items()
        }
        for result in results
        if result.scores is not None
    }
    write_text(file, json.dumps({"summary_sha256": seen, "scores": scores}, indent=1) + "\n")
    return scores


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
