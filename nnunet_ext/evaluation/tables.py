"""Results as a table for people (means) and as one for programs (CSV, a row for each case and structure)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from nnunet_ext.evaluation.scores import Number
from nnunet_ext.evaluation.summary import Evaluation, Means, means_of, pooled_mean

# Column of the table of means: title, metric, decimals.
_COLUMNS = (
    ("Dice", "Dice", 4),
    ("IoU", "IoU", 4),
    ("NSD", "nsd", 4),
    ("HD95 mm", "hd95_mm", 2),
    ("HD mm", "hd_mm", 2),
    ("ASSD mm", "assd_mm", 2),
    ("RVE %", "rve_percent", 1),
    ("|RVE| %", "rve_absolute_percent", 1),
    ("clDice", "cl_dice", 4),
    ("skel. recall", "skeleton_recall", 4),
)
# Column of what is not there: title, name.
COUNTS = (
    ("cases", "cases"),
    ("missed", "missing_prediction"),
    ("invented", "missing_reference"),
    ("both empty", "both_empty"),
)


def means_text(evaluation: Evaluation) -> str:
    """Means of the structures in columns, with the counts that they stand on.

    Args:
        evaluation: results of a run.

    Returns:
        Lines for a terminal, the last one without its end.

    Example:
        >>> from nnunet_ext.evaluation import LabelTable, Settings
        >>> print(means_text(Evaluation((), LabelTable((), ()), Settings())))
        structure           cases  missed  invented  both empty
        pooled over labels      0
        NSD at 2 mm; means over cases that have a value
    """
    means = means_of(evaluation)
    asked = [c for c in _COLUMNS if any(c[1] in m.values for m in means.values())]
    rows = [["structure", *(title for title, _, _ in asked), *(title for title, _ in COUNTS)]]
    for structure in evaluation.table.structures:
        mean = means[structure.key]
        numbers = [_rounded(mean.values.get(metric), decimals) for _, metric, decimals in asked]
        rows.append([structure.name, *numbers, *(str(mean.counts[name]) for _, name in COUNTS)])
    pooled, cases = pooled_mean(evaluation)
    ours = {"Dice": pooled.get("Dice"), "IoU": pooled.get("IoU")}
    blank = ["" if metric not in ours else _rounded(ours[metric], d) for _, metric, d in asked]
    rows.append(["pooled over labels", *blank, str(cases.get("Dice", 0)), *[""] * (len(COUNTS) - 1)])
    return "\n".join([*_aligned(rows), *_notes(evaluation, means)])


def cases_csv(evaluation: Evaluation) -> str:
    """One row for each case and structure, and one for each case that failed.

    Args:
        evaluation: results of a run.

    Returns:
        CSV with a header; what means nothing is empty, flags are 0 and 1.

    Example:
        >>> from nnunet_ext.evaluation import LabelTable, Settings
        >>> cases_csv(Evaluation((), LabelTable((), ()), Settings())).strip()
        'case,label,structure,error'
    """
    columns = _metric_names(evaluation)
    stream = io.StringIO()
    writer = csv.DictWriter(
        stream, ["case", "label", "structure", *columns, "error"], restval="", lineterminator="\n"
    )
    writer.writeheader()
    names = {s.key: s.name for s in evaluation.table.structures}
    for result in evaluation.results:
        if result.scores is None:
            writer.writerow({"case": result.case.name, "error": (result.error or ("",))[0]})
            continue
        for key, scores in result.scores.structures.items():
            row: dict[str, Number | str] = {"case": result.case.name, "label": key, "structure": names[key]}
            flags = {name: int(flag) for name, flag in scores.flags().items()}
            writer.writerow({**row, **scores.numbers(), **flags})
    return stream.getvalue()


def _metric_names(evaluation: Evaluation) -> list[str]:
    """Every metric that any structure has, in their order."""
    names: dict[str, None] = {}
    for _, case in evaluation.scored:
        for scores in case.structures.values():
            names |= dict.fromkeys(scores.numbers())
    flags = ("missing_reference", "missing_prediction", "both_empty")
    return [*names, *flags] if names else []


def _notes(evaluation: Evaluation, means: dict[str, Means]) -> list[str]:
    settings = evaluation.settings
    notes = [f"NSD at {settings.nsd_tolerance_mm:g} mm; means over cases that have a value"]
    if any(m.counts["missing_prediction"] for m in means.values()):
        distance = "the image's diagonal" if settings.missing == "worst" else "left out"
        notes.append(f"missed: in the reference, not predicted: Dice 0, distances {distance}")
    if any(m.counts["missing_reference"] for m in means.values()):
        notes.append("invented: predicted, not in the reference: Dice 0, no distances")
    if evaluation.unit != "mm":
        notes.append(f"the files hold no spacing: for mm read {evaluation.unit}")
    if evaluation.failed:
        notes.append(f"{len(evaluation.failed)} of {len(evaluation.results)} cases failed")
    return notes


def _rounded(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
