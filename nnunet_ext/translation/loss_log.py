"""Mean losses of a training, as a table that a program can read while it runs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.files import write_text

FILE = "losses.csv"


class LossLog:
    """Means over the steps since the last row; a row also ends at each checkpoint.

    Args:
        folder: of the translation.
        start: step at which this run begins; rows of later steps, of a run that was killed, are dropped.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = LossLog(Path(folder), start=0)
        ...     log.add({"cycle_mr": 0.5})
        ...     log.add({"cycle_mr": 0.25})
        ...     log.write_row(2)["cycle_mr"]
        0.375
    """

    def __init__(self, folder: Path, *, start: int) -> None:
        self._file = folder / FILE
        self._sums: dict[str, float] = {}
        self._count = 0
        rows: list[dict[str, str]] = []
        if self._file.is_file():
            with self._file.open(encoding="utf-8", newline="") as stream:
                rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= start]
        self._rows = rows

    def add(self, losses: Mapping[str, float]) -> None:
        """Take in the losses of one step.

        Raises:
            FloatingPointError: one is not finite.
        """
        if lost := sorted(name for name, value in losses.items() if not math.isfinite(value)):
            raise FloatingPointError(
                f"the losses {', '.join(lost)} are not finite; take a smaller --learning-rate, or "
                "--precision 32-true"
            )
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def write_row(self, step: int) -> dict[str, float]:
        """End a row after so many steps; returns its means, empty where there was no step."""
        if not self._count:
            return {}
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        self._rows.append({"step": str(step), **{name: f"{value:.6g}" for name, value in means.items()}})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self._rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self._file, text.getvalue())
        return means
