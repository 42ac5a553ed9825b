"""The page of a benchmark: whether the difference is real, what it costs, and what it looks like."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nnunet_ext.evaluation.benchmark.matrix import VANILLA, Arm, short_names
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.scores import METRICS, Scored, comparisons
from nnunet_ext.evaluation.definitions import definitions
from nnunet_ext.evaluation.label_maps import PICTURE_ENDINGS
from nnunet_ext.evaluation.ranking import rank
from nnunet_ext.evaluation.report import benchmark_tables as tables
from nnunet_ext.evaluation.report.benchmark_tables import NAMES, Trained
from nnunet_ext.evaluation.report.figures import cost_figure, learning_figure, paired_figure
from nnunet_ext.evaluation.report.looks import Look, parts_of
from nnunet_ext.evaluation.report.meanings import meanings
from nnunet_ext.evaluation.report.page import Cell, Page, Part, Plot, Section, Table, Text
from nnunet_ext.evaluation.report.paper_tables import paper_table
from nnunet_ext.evaluation.report.published import PAPERS
from nnunet_ext.evaluation.report.selection import image_of, worst_and_median
from nnunet_ext.evaluation.scores import Settings
from nnunet_ext.evaluation.statistics import Comparison
from nnunet_ext.evaluation.structures import LabelTable

_MARKS = {"better": "better", "worse": "worse", "cannot tell": "open"}
_MOST_SENTENCES = 20
_IN_BRACKETS = (
    "In brackets the mean difference over patients, its 95 % interval, and p after Holm's correction for all "
    "comparisons of the metric."
)


def benchmark_page(
    places: Places,
    scored: Scored,
    *,
    labels: LabelTable,
    references: Path,
    images: Path | None,
    file_ending: str,
) -> Page:
    """Verdicts first; then scores, costs, patients, learning, pictures, papers, and everything else.

    Args:
        places: of the benchmark.
        scored: scores of its complete repeats.
        labels: of the dataset.
        references: folder of the label maps that trainings were validated on.
        images: folder of the images, as nnU-Net names them; None shows label maps alone.
        file_ending: of all of them.
    """
    arms = [arm for arm in places.matrix.arms if arm in scored.tables[0].scores]
    unit = "pixel" if file_ending in PICTURE_ENDINGS else "mm"
    trained = Trained(places, scored, short_names(arms), tables.read_records(places), unit)
    found = comparisons(scored)
    sections = [
        Section("Is the difference real?", _verdicts(found)),
        Section("Scores", _scores(trained)),
        Section("What it costs", _costs(trained)),
        Section("Patient by patient", _pairs(trained)),
        Section("Learning", _learning(trained)),
        Section("What it looks like", _looks(trained, labels, references, images, file_ending)),
        Section("Beside the papers", _papers(trained)),
        Section("Everything", _everything(trained)),
    ]
    title = f"{places.matrix.dataset}: {len(arms) - _vanilla(arms)} trainers against vanilla nnU-Net"
    return Page(title, _lead(trained, found), sections, footer=_footer(trained))


def _vanilla(arms: Sequence[Arm]) -> int:
    return sum(arm.trainer == VANILLA for arm in arms)


def _lead(trained: Trained, found: Sequence[Comparison]) -> list[str]:
    matrix, scored = trained.places.matrix, trained.scored
    repeats = len(scored.repeats)
    budget = matrix.budget.replace("_", ", ") or "nnU-Net's own 1000 epochs"
    folds = ", ".join(map(str, matrix.folds))
    lead = [
        f"{len(scored.tables[0].cases)} patients, each validated by a model that did not see it (folds "
        f"{folds}); {repeats} training{'s' if repeats > 1 else ''} of each; budget {budget}; forward pass in "
        f"{matrix.precision}; the same splits for all."
    ]
    of_dice = [comparison for comparison in found if comparison.metric == "Dice"]
    # Each baseline by itself: better than a weak one says nothing of a strong one.
    for baseline in dict.fromkeys(comparison.baseline for comparison in of_dice):
        verdicts = Counter(c.verdict for c in of_dice if c.baseline == baseline)
        lead.append(
            f"In Dice against {baseline}, {sum(verdicts.values())} comparisons: {verdicts['better']} better, "
            f"{verdicts['worse']} worse, {verdicts['cannot tell']} cannot tell."
        )
    if trained.unit != "mm":
        lead.append(f"The files hold no spacing: for mm read {trained.unit}.")
    if repeats == 1:
        lead.append(
            "With one training of each, models are compared, not trainers: identical nnU-Net trainings "
            "differ by up to three points of Dice."
        )
    if not any("ResEnc" in arm.plans for arm in trained.names if arm.trainer == VANILLA):
        lead.append(
            "Vanilla was not trained on residual encoder plans of matching memory, the harder baseline."
        )
    if scored.left_out:
        names = ", ".join(map(str, scored.left_out))
        lead.append(f"Not compared, since it has not finished every fold of any repeat: {names}.")
    if others := [run for run in scored.unfinished if run.arm not in scored.left_out]:
        names = ", ".join(run.name for run in others[:5])
        lead.append(f"Left out, as repeats that are not complete: {len(others)} trainings ({names}).")
    return lead


def _verdicts(found: Sequence[Comparison]) -> list[Part]:
    parts: list[Part] = []
    baselines = list(dict.fromkeys(c.baseline for c in found))
    for metric in METRICS:
        of_metric = [c for c in found if c.metric == metric]
        if not of_metric:
            continue
        # One baseline after the other, of each first what was decided.
        order = sorted(of_metric, key=lambda c: (baselines.index(c.baseline), c.verdict == "cannot tell"))
        shown = [] if parts else order[:_MOST_SENTENCES]
        rest = order[len(shown) :]
        if shown:
            parts += [Text([_IN_BRACKETS]), _sentences(shown)]
        if rest:
            parts.append(
                _sentences(rest, folded=f"{NAMES[metric]}, {len(rest)} {'more' if shown else 'comparisons'}")
            )
    parts.append(_comparison_table(found))
    return parts


def _sentences(found: Sequence[Comparison], *, folded: str = "") -> Text:
    lines = [c.line(NAMES[c.metric]) for c in found]
    return Text(lines, [_MARKS[c.verdict] for c in found], folded=folded)


def _comparison_table(found: Sequence[Comparison]) -> Table:
    columns = ["trainer", "against", "metric", "structure", "verdict", "difference", "95 % from", "to"]
    columns += ["p, patients", "p, Holm", "p, trainings", "effect size", "patients", "left out"]
    rows: list[list[Cell]] = [
        [
            c.candidate,
            c.baseline,
            NAMES[c.metric],
            c.structure,
            c.verdict,
            c.difference,
            *c.interval,
            c.p_patients,
            c.p_holm,
            c.p_repeats,
            c.rank_biserial,
            c.cases,
            c.left_out,
        ]
        for c in found
    ]
    note = (
        "Decided where Wilcoxon's signed-rank test over patients after Holm's correction for all comparisons "
        "of the metric, the bootstrap interval and, with several trainings, a t test over patients and "
        "trainings agree at 5 %. Effect size: matched rank-biserial correlation."
    )
    return Table(columns, rows, note=note, folded="All comparisons with their numbers", digits=3)


def _scores(trained: Trained) -> list[Part]:
    parts: list[Part] = []
    for metric in METRICS:
        parts.append(tables.scores_table(trained, metric, folded=NAMES[metric] if parts else ""))
    if (missing := tables.missing_table(trained)) is not None:
        parts.append(missing)
    overall = {trained.names[arm]: s for arm, s in trained.over_structures("Dice").items()}
    known = ~sum((s != s).any(axis=1) for s in overall.values()).astype(bool)
    if known.sum() > 1:
        ranking = rank({name: scores[known] for name, scores in overall.items()})
        places = range(1, len(ranking.order) + 1)
        rows: list[list[Cell]] = [
            [name, float(mean), *(float(share) for share in shares)]
            for name, mean, shares in zip(ranking.order, ranking.means, ranking.shares, strict=True)
        ]
        note = (
            "Share of 1000 resamplings of the patients in which a trainer had each rank in mean Dice. "
            f"Kendall's tau with this order: {ranking.kendall_tau:.2f} (1: never changes)."
        )
        columns = ["trainer", "mean Dice", *(f"rank {place}" for place in places)]
        parts.append(Table(columns, rows, note=note, folded="How stable the ranking is", digits=3))
    return parts


def _costs(trained: Trained) -> list[Part]:
    costs = tables.costs(trained)
    parts: list[Part] = []
    if any(price is not None for cost in costs for price in cost.prices.values()):
        caption = (
            "Accuracy against cost: up and left is better. Bars: 95 % interval of the mean over patients."
        )
        parts.append(Plot(cost_figure(costs, metric="Dice"), caption))
    parts.append(tables.cost_table(trained))
    return parts


def _pairs(trained: Trained) -> list[Part]:
    parts: list[Part] = []
    for metric in METRICS:
        found = tables.pairs(trained, metric)
        if found:
            above = "Above the line" if METRICS[metric] else "Below the line"
            caption = f"{NAMES[metric]} of each patient. {above} the trainer is better than vanilla."
            folded = NAMES[metric] if parts else ""
            parts.append(Plot(paired_figure(found, metric=NAMES[metric]), caption, folded=folded))
    return parts


def _learning(trained: Trained) -> list[Part]:
    caption = "Every training; pseudo Dice is nnU-Net's, on patches of validation cases."
    return [Plot(learning_figure(tables.curves(trained)), caption)]


def _looks(
    trained: Trained, labels: LabelTable, references: Path, images: Path | None, file_ending: str
) -> list[Part]:
    first = trained.scored.repeats[0]
    overall = trained.over_structures("Dice")
    cases = trained.scored.tables[0].cases
    looks = []
    for arm, name in trained.names.items():
        of_first = overall[arm][:, 0]
        means = {case: float(m) for case, m in zip(cases, of_first, strict=True) if m == m}
        for what, case in worst_and_median(means).items():
            looks.append(
                Look(
                    title=f"{name}, {what} case: {case}, mean Dice {means[case]:.3f}",
                    name=case,
                    prediction=_prediction(trained.places, arm, case, repeat=first, ending=file_ending),
                    reference=references / f"{case}{file_ending}",
                    image=image_of(case, images, file_ending=file_ending),
                )
            )
    parts = parts_of(looks, table=labels)
    if len(trained.scored.repeats) > 1:
        parts.insert(0, Text(["Cases are the worst and the median one of each trainer's first training."]))
    return parts


def _prediction(places: Places, arm: Arm, case: str, *, repeat: int, ending: str) -> Path:
    """The file of a case, in the fold that validated it."""
    runs = [run for run in places.matrix.runs if run.arm == arm and run.repeat == repeat]
    files = [places.fold(run) / "validation" / f"{case}{ending}" for run in runs]
    return next((file for file in files if file.is_file()), files[0])


def _papers(trained: Trained) -> list[Part]:
    parts: list[Part] = []
    for paper in PAPERS:
        table = paper_table(trained, paper)
        if table is not None:
            parts += [Text([f"Paper {paper.paper}: {paper.title}."]), table]
    return parts or [Text(["None of the papers segments a structure of this dataset."])]


def _everything(trained: Trained) -> list[Part]:
    failed = [r for r in trained.records.values() if r.status == "failed"]
    parts: list[Part] = [tables.cases_table(trained, metric) for metric in METRICS]
    parts.append(tables.trainings_table(trained))
    if failed:
        parts.insert(0, Text([f"{record.run} failed: {record.reason}" for record in failed]))
    declared = json.dumps(asdict(trained.places.matrix))
    parts.append(Text([declared, *_machines(trained)], folded="Declaration, machines, versions"))
    parts.append(meanings(definitions(Settings(), unit=trained.unit)))
    return parts


def _machines(trained: Trained) -> list[str]:
    return list(dict.fromkeys(json.dumps(dict(r.machine)) for r in trained.records.values()))


def _footer(trained: Trained) -> str:
    states = sorted({record.random_state for record in trained.records.values()})
    return f"Random state: {'; '.join(states)}. Made by nnunet_ext benchmark report."
