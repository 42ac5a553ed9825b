"""The page of one model: ``nnunet_ext evaluate --html``."""

from __future__ import annotations

import math
from pathlib import Path

from nnunet_ext.evaluation.definitions import definitions
from nnunet_ext.evaluation.report.figures import spread_figure
from nnunet_ext.evaluation.report.looks import Look, parts_of
from nnunet_ext.evaluation.report.meanings import meanings
from nnunet_ext.evaluation.report.page import Cell, Page, Part, Plot, Section, Table, Text
from nnunet_ext.evaluation.report.selection import image_of, mean_by_case, worst_and_median
from nnunet_ext.evaluation.summary import Evaluation, means_of
from nnunet_ext.evaluation.tables import COUNTS

# Title and metric of what the page shows of each case; distances are lower where they are better.
METRICS = (
    ("Dice", "Dice"),
    ("NSD", "nsd"),
    ("HD95, mm", "hd95_mm"),
    ("ASSD, mm", "assd_mm"),
    ("relative volume error, %", "rve_percent"),
)
_TUBULAR = (("clDice", "cl_dice"), ("skeleton recall", "skeleton_recall"))


def evaluation_page(evaluation: Evaluation, *, title: str, images: Path | None, file_ending: str) -> Page:
    """Means, spread, every case, the worst and the median one, and what each number means.

    Args:
        evaluation: results of a run.
        title: of the page.
        images: folder of the cases' images, as nnU-Net names them; None shows label maps alone.
        file_ending: of them.
    """
    shown = [*METRICS, *(_TUBULAR if evaluation.settings.tubular else ())]
    sections = [
        Section("Means", [_means(evaluation, shown)]),
        Section("Spread over cases", _spread(evaluation, shown)),
        Section("Worst and median case", _looks(evaluation, images=images, file_ending=file_ending)),
        Section("Every case", [_cases(evaluation, name, metric) for name, metric in shown]),
    ]
    if evaluation.failed:
        sections.insert(0, Section("Cases that failed", [_failures(evaluation)]))
    means = meanings(definitions(evaluation.settings, unit=evaluation.unit))
    sections.append(Section("Definitions", [means]))
    return Page(title, _lead(evaluation), sections)


def _lead(evaluation: Evaluation) -> list[str]:
    means = means_of(evaluation)
    words = []
    for structure in evaluation.table.structures:
        dice = means[structure.key].values.get("Dice")
        words.append(f"{structure.name} {'-' if dice is None else f'{dice:.3f}'}")
    failed = f", {len(evaluation.failed)} failed" if evaluation.failed else ""
    lead = [f"{len(evaluation.scored)} cases{failed}. Mean Dice: {', '.join(words)}."]
    if evaluation.unit != "mm":
        lead.append(f"The files hold no spacing: for mm read {evaluation.unit}.")
    return lead


def _means(evaluation: Evaluation, shown: list[tuple[str, str]]) -> Table:
    means = means_of(evaluation)
    rows: list[list[Cell]] = []
    for structure in evaluation.table.structures:
        mean = means[structure.key]
        numbers: list[Cell] = [mean.values.get(metric) for _, metric in shown]
        rows.append([structure.name, *numbers, *(mean.counts[name] for _, name in COUNTS)])
    return Table(
        ["structure", *(name for name, _ in shown), *(name for name, _ in COUNTS)],
        rows,
        note="Means over the cases that have a value. Missed: in the reference, not predicted. Invented: "
        f"predicted, not in the reference. NSD at {evaluation.settings.nsd_tolerance_mm:g} "
        f"{evaluation.unit}.",
    )


def _by_case(evaluation: Evaluation, metric: str) -> dict[str, dict[str, float | None]]:
    """From case and structure's name to a number."""
    names = {s.key: s.name for s in evaluation.table.structures}
    found = {}
    for result, scores in evaluation.scored:
        numbers = {names[key]: of_case.numbers().get(metric) for key, of_case in scores.structures.items()}
        found[result.case.name] = {n: None if v is None else float(v) for n, v in numbers.items()}
    return found


def _spread(evaluation: Evaluation, shown: list[tuple[str, str]]) -> list[Part]:
    parts: list[Part] = []
    for name, metric in shown:
        by_case = _by_case(evaluation, metric)
        values = {
            s.name: [_number(numbers[s.name]) for numbers in by_case.values()]
            for s in evaluation.table.structures
        }
        if not any(math.isfinite(n) for column in values.values() for n in column):
            continue
        figure = spread_figure(values, cases=list(by_case), metric=name)
        caption = f"{name} of every case; boxes from quartile to quartile with the median."
        parts.append(Plot(figure, caption, folded=name if parts else ""))
    return parts


def _cases(evaluation: Evaluation, name: str, metric: str) -> Table:
    by_case = _by_case(evaluation, metric)
    names = [s.name for s in evaluation.table.structures]
    rows: list[list[Cell]] = [[case, *(n[each] for each in names)] for case, n in by_case.items()]
    return Table(["case", *names], rows, folded=f"{name} of {len(rows)} cases")


def _looks(evaluation: Evaluation, *, images: Path | None, file_ending: str) -> list[Part]:
    means = mean_by_case(_by_case(evaluation, "Dice"))
    cases = {result.case.name: result.case for result, _ in evaluation.scored}
    looks = []
    for what, name in worst_and_median(means).items():
        case = cases[name]
        if case.prediction is None or case.reference is None:
            continue
        looks.append(
            Look(
                title=f"{what} case: {name}, mean Dice {means[name]:.3f}",
                name=name,
                prediction=case.prediction,
                reference=case.reference,
                image=image_of(name, images, file_ending=file_ending),
            )
        )
    if not looks:
        return [Text(["No case has a score."])]
    return parts_of(looks, table=evaluation.table, tolerance_mm=evaluation.settings.nsd_tolerance_mm)


def _failures(evaluation: Evaluation) -> Table:
    rows = [[result.case.name, *(result.error or ("", "", ""))] for result in evaluation.failed]
    return Table(["case", "what", "reason", "what to do"], rows)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
