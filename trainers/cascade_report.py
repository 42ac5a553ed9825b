"""What the stages of a cascade reach in each case: the first in recall, the second in Dice, and both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.cascade.proposals import Proposed
from nnunet_ext.cascade.windows import recall_ceiling
from nnunet_ext.files import write_text

# A label, or the labels of a region.
Label: TypeAlias = int | tuple[int, ...]


@dataclass(frozen=True)
class StageScores:
    """One label of one case, on the grid of the fine stage.

    Attributes:
        recall_ceiling: share of the reference that lies in windows; nan where there is no reference.
        dice_in_windows: of the fine network where it looked; nan where nothing is there to find.
        dice: of both stages together, what lies in no window being missed.
    """

    recall_ceiling: float
    dice_in_windows: float
    dice: float


@dataclass(frozen=True)
class CaseReport:
    """A case.

    Attributes:
        windows: how many.
        coarse_empty: groups of which the coarse network found nothing.
        labels: scores by label.
    """

    windows: int
    coarse_empty: tuple[str, ...]
    labels: Mapping[str, StageScores]


def ceilings(
    reference: NDArray[Any], proposed: Proposed, *, labels: Sequence[Label], ignore: int | None
) -> CaseReport:
    """How much of a reference lies in windows, before anything is predicted.

    Args:
        reference: label map (Z, Y, X).
        proposed: where to look.
        labels: or regions.
        ignore: value that counts for nothing.
    """
    return report_of(reference, None, proposed, labels=labels, ignore=ignore)


def report_of(
    reference: NDArray[Any],
    predicted: NDArray[Any] | None,
    proposed: Proposed,
    *,
    labels: Sequence[Label],
    ignore: int | None,
) -> CaseReport:
    """The scores of a case; without a prediction those of the coarse stage alone.

    Example:
        >>> from nnunet_ext.cascade.windows import Windows
        >>> reference, predicted = np.array([[[1, 1, 1, 1]]]), np.array([[[1, 0, 0, 0]]])
        >>> half = Proposed(Windows(np.array([[0, 0, 0]]), (1, 1, 2), (1, 1, 4)))
        >>> scores = report_of(reference, predicted, half, labels=[1], ignore=None).labels["1"]
        >>> scores.recall_ceiling, round(scores.dice_in_windows, 2), scores.dice
        (0.5, 0.67, 0.4)
    """
    counted = np.ones(reference.shape, bool) if ignore is None else reference != ignore
    inside = proposed.windows.covered() & counted
    found = {}
    for label in labels:
        truth = np.isin(reference, label) & counted
        if predicted is None:
            scores = StageScores(recall_ceiling(truth, proposed.windows), float("nan"), float("nan"))
        else:
            said = np.isin(predicted, label)
            scores = StageScores(
                recall_ceiling(truth, proposed.windows),
                _dice(truth & inside, said & inside),
                _dice(truth, said & counted),
            )
        found[spelled(label)] = scores
    return CaseReport(len(proposed.windows), proposed.empty, found)


def spelled(label: Label) -> str:
    """As nnU-Net's summary.json spells it.

    Example:
        >>> spelled((1, 2)), spelled(3)
        ('(1, 2)', '3')
    """
    return str(tuple(int(n) for n in label)) if isinstance(label, Sequence) else str(int(label))


def mean_of(cases: Mapping[str, CaseReport]) -> dict[str, float]:
    """Means over labels and cases, cases without a value left out, under the names of ``StageScores``.

    Example:
        >>> one = CaseReport(3, (), {"1": StageScores(0.5, 0.8, 0.6)})
        >>> mean_of({"a": one})["dice"]
        0.6
    """
    found = {}
    for name in StageScores.__dataclass_fields__:
        values = [getattr(s, name) for case in cases.values() for s in case.labels.values()]
        kept = [value for value in values if not np.isnan(value)]
        found[name] = float(np.mean(kept)) if kept else float("nan")
    return found


def write_report(
    file: Path, cases: Mapping[str, CaseReport], *, facts: Mapping[str, Any], groups: Mapping[str, Any]
) -> None:
    """Write the report; what has no value is null.

    Args:
        file: JSON.
        cases: by name.
        facts: about the run.
        groups: names of cases over which means are taken, by the name of the mean.
    """
    content = {
        **facts,
        "mean": {key: mean_of({name: cases[name] for name in names}) for key, names in groups.items()},
        "cases": {name: asdict(case) for name, case in sorted(cases.items())},
    }
    write_text(file, json.dumps(_without_nan(content), indent=1) + "\n")


def _dice(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    total = int(truth.sum()) + int(said.sum())
    return 2 * int((truth & said).sum()) / total if total else float("nan")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value
