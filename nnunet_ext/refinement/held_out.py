"""Whether a refiner gains: Dice of held-out cases before and after, structure by structure."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nnunet_ext.evaluation.overlap import confusion_matrix, overlap_of
from nnunet_ext.evaluation.statistics import Comparison, compare, corrected
from nnunet_ext.evaluation.structures import LabelTable
from nnunet_ext.inference.export import restored_labels
from nnunet_ext.networks.scn import RefineSCN
from nnunet_ext.refinement.cache import read_reference
from nnunet_ext.refinement.case import EVERYWHERE, refine_case
from nnunet_ext.refinement.outputs import Outputs
from nnunet_ext.refinement.probabilities import open_probabilities, read_properties
from nnunet_ext.refinement.sources import OutOfFoldCase

Dice = dict[str, float | None]
MEAN = "mean of structures"
# By which a structure's mean Dice may fall before that forbids the refiner. Chance is no excuse: with few
# cases nothing is ever worse beyond it, and nnU-Net drops its postprocessing for any class that it costs.
TOLERATED_LOSS = 0.002


@dataclass(frozen=True)
class HeldOutCase:
    """Dice of a case by the structures' keys, None where neither side has the structure.

    Attributes:
        name: of the case.
        fold: whose network predicted it.
        before: of the first network.
        unsure: refined where the first network was unsure.
        everywhere: refined everywhere.
    """

    name: str
    fold: int
    before: Dice
    unsure: Dice
    everywhere: Dice

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Row:
    """One structure of the table.

    Attributes:
        structure: its name.
        cases: in which it is to be seen.
        before: mean Dice of the first network; None where no case has the structure.
        after: mean Dice refined.
        interval: of the mean difference, by bootstrap, at 95 %; None with one case.
        worse_cases: whose Dice fell.
        largest_loss: of a case's Dice; 0 where none fell.
        verdict: ``"better"``, ``"worse"`` or ``"cannot tell"``, after Holm's correction over the structures.
    """

    structure: str
    cases: int
    before: float | None
    after: float | None
    interval: tuple[float, float] | None
    worse_cases: int
    largest_loss: float
    verdict: str

    @property
    def pays(self) -> bool:
        """It is worse beyond chance, or its mean falls by more than may be tolerated."""
        if self.before is None or self.after is None:
            return False
        return self.verdict == "worse" or self.before - self.after > TOLERATED_LOSS


@dataclass(frozen=True)
class Table:
    """Held-out Dice before and after.

    Attributes:
        mean: over each case's structures.
        rows: one for each structure.
    """

    mean: Row
    rows: tuple[Row, ...]

    @property
    def gains(self) -> bool:
        """The mean is better beyond chance, and no structure pays for it."""
        return self.mean.verdict == "better" and not any(row.pays for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"gains": self.gains, **asdict(self)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Table:
        """A table as :meth:`as_dict` wrote it."""
        return cls(_row_of(content["mean"]), tuple(_row_of(row) for row in content["rows"]))

    def lines(self) -> list[str]:
        """For a terminal."""
        shown = [f"{'structure':<24}{'before':>8}{'after':>8}{'95 % interval':>20}{'worse':>8}  verdict"]
        for row in (*self.rows, self.mean):
            interval = "" if row.interval is None else f"{row.interval[0]:+.4f} {row.interval[1]:+.4f}"
            shown.append(
                f"{row.structure:<24}{_shown(row.before)}{_shown(row.after)}{interval:>20}"
                f"{row.worse_cases:>4}/{row.cases:<3}  {row.verdict}"
            )
        return shown


def _shown(dice: float | None) -> str:
    return f"{'-' if dice is None else format(dice, '.4f'):>8}"


def _row_of(content: dict[str, Any]) -> Row:
    interval = content["interval"]
    return Row(**{**content, "interval": None if interval is None else (interval[0], interval[1])})


def score_held_out(
    case: OutOfFoldCase,
    *,
    network: RefineSCN,
    outputs: Outputs,
    threshold: float,
    scratch: Path,
    device: torch.device | str = "cpu",
) -> HeldOutCase:
    """Dice of a case before and after, in the image's own grid, as ``refine apply`` would refine it.

    Raises:
        CaseError: the case cannot be used.
    """
    properties = read_properties(case.properties)
    reference = read_reference(case, outputs)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="held-out-") as folder:
        probabilities = open_probabilities(
            case.probabilities, outputs=outputs, properties=properties, scratch=Path(folder)
        )
        refined = refine_case(
            probabilities,
            network=network,
            outputs=outputs,
            properties=properties,
            thresholds=(threshold, EVERYWHERE),
            scratch=Path(folder),
            device=device,
        )
    before, unsure, everywhere = (
        _dice(restored_labels(labels, model=outputs, properties=properties), reference, outputs.table)
        for labels in (refined.before, *refined.after)
    )
    return HeldOutCase(case.name, case.fold, before, unsure, everywhere)


def _dice(labels: NDArray[Any], reference: NDArray[Any], table: LabelTable) -> Dice:
    counts = ... if table.ignore is None else reference != table.ignore
    confusion = confusion_matrix(labels[counts].ravel(), reference[counts].ravel(), size=table.size)
    return {s.key: overlap_of(confusion, s.labels).dice for s in table.structures}


def table_of(cases: Sequence[HeldOutCase], table: LabelTable, *, everywhere: bool) -> Table:
    """The table of held-out cases.

    Args:
        cases: scored.
        table: structures.
        everywhere: of refining everywhere, not only where the first network was unsure.

    Raises:
        ValueError: no cases.
    """
    if not cases:
        raise ValueError("expected held-out cases, got none: every one failed")
    keys = [s.key for s in table.structures]
    pairs = np.array(
        [
            [_pair(c.before[key], (c.everywhere if everywhere else c.unsure)[key]) for key in keys]
            for c in cases
        ]
    )  # (cases, structures, 2)
    known = np.isfinite(pairs).all(axis=2)
    sums = np.where(known[..., None], pairs, 0).sum(axis=1)
    counts = known.sum(axis=1)[:, None]
    means = np.divide(sums, counts, out=np.full_like(sums, nan), where=counts > 0)
    names = {s.key: s.name for s in table.structures}
    compared = {key: _compared(pairs[:, n], names[key]) for n, key in enumerate(keys)}
    told = {k: c for k, c in compared.items() if c is not None}
    judged: Mapping[str, Comparison] = dict(zip(told, corrected(list(told.values())), strict=True))
    rows = tuple(_row(pairs[:, n], names[key], judged.get(key)) for n, key in enumerate(keys))
    return Table(_row(means, MEAN, _compared(means, MEAN)), rows)


def _pair(before: float | None, after: float | None) -> tuple[float, float]:
    """A structure that neither side has says nothing; one that only the refiner adds counts as its harm."""
    if before is None and after is None:
        return nan, nan
    return 1.0 if before is None else before, 1.0 if after is None else after


def _compared(pairs: NDArray[np.float64], name: str) -> Comparison | None:
    if np.isfinite(pairs).all(axis=1).sum() < 2:
        return None
    return compare(pairs[:, 1], pairs[:, 0], names=("refined", "first network"), structure=name)


def _row(pairs: NDArray[np.float64], name: str, comparison: Comparison | None) -> Row:
    known = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(known):
        return Row(name, 0, None, None, None, 0, 0.0, "cannot tell")
    difference = known[:, 1] - known[:, 0]
    return Row(
        structure=name,
        cases=len(known),
        before=float(known[:, 0].mean()),
        after=float(known[:, 1].mean()),
        interval=None if comparison is None else comparison.interval,
        worse_cases=int((difference < 0).sum()),
        largest_loss=float(max(0.0, -difference.min())),
        verdict="cannot tell" if comparison is None else comparison.verdict,
    )
