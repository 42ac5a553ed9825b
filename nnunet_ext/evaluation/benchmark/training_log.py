"""What nnU-Net's own logs say of a training: epochs, times. They survive every interruption."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+): ?(.*)")
_STAMP = "%Y-%m-%d %H:%M:%S.%f"


@dataclass(frozen=True)
class Epoch:
    """One epoch; a repeated one, after an interruption, counts as it was done last.

    Attributes:
        number: from 0.
        seconds: training and its validation iterations.
        train_loss: mean over the epoch.
        val_loss: the same on patches of the validation cases.
        pseudo_dice: mean over the structures, on these patches.
    """

    number: int
    seconds: float
    train_loss: float
    val_loss: float
    pseudo_dice: float


@dataclass(frozen=True)
class TrainingLog:
    """All logs of one training.

    Attributes:
        epochs: those that ended, in order.
        wall_seconds: from the first to the last line of each log, together; what was lost is in it.
        validation_seconds: from the first case that was predicted to the end; 0 where none was.
        attempts: how often it was started.
    """

    epochs: tuple[Epoch, ...]
    wall_seconds: float
    validation_seconds: float
    attempts: int


def read_training_logs(fold: Path) -> TrainingLog:
    """Read every log that nnU-Net wrote to a fold's folder.

    Args:
        fold: ``.../TRAINER__PLANS__CONFIGURATION/fold_0``.

    Returns:
        What they say; of a folder without logs, nothing.
    """
    files = sorted(fold.glob("training_log_*.txt"))
    epochs: dict[int, Epoch] = {}
    wall = validation = 0.0
    for file in files:
        lines = list(_lines(file.read_text(encoding="utf-8", errors="replace")))
        epochs |= {epoch.number: epoch for epoch in _epochs(lines)}
        if lines:
            wall += (lines[-1][0] - lines[0][0]).total_seconds()
        predicted = [when for when, text in lines if text.startswith("predicting ")]
        if predicted:
            validation = (lines[-1][0] - predicted[0]).total_seconds()
    return TrainingLog(tuple(epochs[n] for n in sorted(epochs)), wall, validation, len(files))


def _lines(text: str) -> Iterable[tuple[datetime, str]]:
    for line in text.splitlines():
        if match := _LINE.match(line):
            yield datetime.strptime(match[1], _STAMP), match[2].strip()


def _epochs(lines: Iterable[tuple[datetime, str]]) -> Iterable[Epoch]:
    number, found = -1, {"train_loss": float("nan"), "val_loss": float("nan"), "Pseudo dice": float("nan")}
    for _, text in lines:
        if match := re.fullmatch(r"Epoch (\d+)", text):
            number = int(match[1])
        elif match := re.fullmatch(r"(train_loss|val_loss) (\S+)", text):
            found[match[1]] = float(match[2])
        elif text.startswith("Pseudo dice"):
            # NumPy writes its numbers as np.float32(0.5), and older ones as 0.5.
            numbers = [float(n) for n in re.findall(r"(?<![\w.])(?:nan|\d+\.\d+(?:e-?\d+)?)", text)]
            found["Pseudo dice"] = sum(numbers) / len(numbers) if numbers else float("nan")
        # A log may begin in the middle of an epoch, where its folder was taken away while a training wrote.
        elif (match := re.fullmatch(r"Epoch time: ([\d.]+) s", text)) and number >= 0:
            yield Epoch(number, float(match[1]), found["train_loss"], found["val_loss"], found["Pseudo dice"])
