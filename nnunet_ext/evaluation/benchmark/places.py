"""Where a benchmark keeps its trainings, and how far each of them is, told by nnU-Net's own files."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.evaluation.benchmark.matrix import Matrix, Run

State = Literal["new", "interrupted", "trained", "finished"]
CHECKPOINTS = "checkpoint_*.pth"


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is there and was written to its end: torch's are archives, whose index is last."""
    return zipfile.is_zipfile(checkpoint)


def read_summary(fold: Path) -> dict[str, Any] | None:
    """What nnU-Net's validation of a fold says; None where there is none, or it was cut off.

    Example:
        >>> read_summary(Path("nowhere")) is None
        True
    """
    file = fold / "validation" / "summary.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return content


@dataclass(frozen=True)
class Places:
    """The folders of a benchmark.

    nnU-Net names a result folder by trainer, plans and configuration: repeats would overwrite one another. So
    each repeat has a folder of results for itself.

    Attributes:
        root: the benchmark's folder; nothing is written outside it.
        matrix: what it compares.
    """

    root: Path
    matrix: Matrix

    def results(self, repeat: int) -> Path:
        """nnU-Net's results folder of one repeat."""
        return self.root / f"repeat_{repeat}"

    def fold(self, run: Run) -> Path:
        """nnU-Net's folder of one training."""
        trainer = self.matrix.trainer_to_type(run.arm.trainer)
        model = f"{trainer}__{run.arm.plans}__{run.arm.configuration}"
        return self.results(run.repeat) / self.matrix.dataset / model / f"fold_{run.fold}"

    def record(self, run: Run) -> Path:
        """What is known of one training."""
        return self.root / "records" / f"{run.name}.json"

    def log(self, run: Run) -> Path:
        """What its commands said."""
        return self.root / "logs" / f"{run.name}.log"

    def lock(self, run: Run) -> Path:
        """Held by the process that trains it."""
        return self.root / "records" / f"{run.name}.lock"

    def ticket(self, run: Run) -> Path:
        """Which job of a cluster it was given to."""
        return self.root / "jobs" / f"{run.name}.json"

    def submission(self, name: str) -> Path:
        """What submitit keeps of the jobs that were submitted together: their logs, too."""
        return self.root / "jobs" / name

    def state(self, run: Run) -> State:
        """How far a training is.

        ``"trained"`` lacks its validation, ``"interrupted"`` has a checkpoint to go on from. nnU-Net's own
        trainers write straight into their files: one that a kill has cut off counts as not there.
        """
        fold = self.fold(run)
        if is_whole(fold / "checkpoint_final.pth"):
            return "trained" if read_summary(fold) is None else "finished"
        return "interrupted" if any(map(is_whole, fold.glob(CHECKPOINTS))) else "new"

    def waits(self, run: Run) -> bool:
        """Whether a cascade still lacks out-of-fold predictions: any fold of what it goes on from."""
        stem = (run.arm.trainer, run.arm.plans, run.repeat)
        return run.arm.is_cascade and any(
            self.state(other) != "finished"
            for other in self.matrix.runs
            if not other.arm.is_cascade and (other.arm.trainer, other.arm.plans, other.repeat) == stem
        )

    def command(self, run: Run, *, device: str) -> list[str]:
        """The stock command that begins a training, goes on with it, or validates it."""
        words = ["nnUNetv2_train", self.matrix.dataset, run.arm.configuration, str(run.fold)]
        words += ["-tr", self.matrix.trainer_to_type(run.arm.trainer), "-p", run.arm.plans, "-device", device]
        more = {"new": [], "interrupted": ["--c"], "trained": ["--val"], "finished": []}
        return words + more[self.state(run)]
