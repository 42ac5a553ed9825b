"""What the verb refine says of a training and of a folder that was refined."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.refinement.apply import ApplyReport
    from nnunet_ext.refinement.train import TrainingReport

_OF_A_TRAINING = ("source", "settings", "unsure_below", "held_out", "versions")


def training_json(report: TrainingReport) -> dict[str, Any]:
    """Plain values."""
    refiner = report.refiner
    return {
        "refiner": str(refiner.folder),
        "gains": refiner.gains(everywhere=False),
        "failed": report.failed,
        **{name: refiner.description[name] for name in _OF_A_TRAINING},
    }


def training_text(report: TrainingReport) -> str:
    """The held-out tables and verdicts, as lines."""
    from nnunet_ext.refinement.held_out import Table

    refiner = report.refiner
    threshold = refiner.threshold(everywhere=False)
    lines = [f"{case}: FAILED: {reason}" for case, reason in report.failed.items()]
    if lines:
        lines.append(
            "The refiner was trained without them. Mend them, remove the refiner, and train it again.\n"
        )
    for way, title in (
        ("unsure", f"refined where the first network was unsure (below {threshold:g})"),
        ("everywhere", "refined everywhere (--everywhere)"),
    ):
        table = Table.from_dict(refiner.description["held_out"][way])
        lines += [f"Dice of held-out cases, {title}:", *table.lines()]
        lines += ["gains" if table.gains else "does not gain: changes nothing without --force-refiner", ""]
    return "\n".join([*lines, f"the refiner is in {refiner.folder}"])


def apply_text(report: ApplyReport, output: Path) -> str:
    """One line a case."""
    lines = []
    if not report.refined:
        lines.append(
            "the refiner did not gain on held-out cases: labels are the first network's (--force-refiner)"
        )
    for case in report.cases:
        if case.status == "failed":
            lines.append(f"{case.name}: FAILED: {case.reason}; {case.remedy}")
            continue
        said = ["finished before"] if case.status == "skipped" else []
        said += [] if case.changes is None else [case.changes.sentence()]
        lines.append(f"{case.name}: {'; '.join(said)}")
    done = len(report.cases) - len(report.failed)
    return "\n".join([*lines, f"{done} of {len(report.cases)} cases are in {output}"])
