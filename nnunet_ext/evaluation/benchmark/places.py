"""Where a benchmark keeps its trainings, and how far each of them is, told by nnU-Net's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.evaluation.benchmark.matrix import Matrix, Run

State = Literal["new", "interrupted", "trained", "finished"]


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

        ``"trained"`` lacks its validation, ``"interrupted"`` has a checkpoint to go on from.
        """
        fold = self.fold(run)
        if (fold / "checkpoint_final.pth").is_file():
            return "finished" if (fold / "validation" / "summary.json").is_file() else "trained"
        return "interrupted" if any(fold.glob("checkpoint_*.pth")) else "new"

    def command(self, run: Run, *, device: str) -> list[str]:
        """The stock command that begins a training, goes on with it, or validates it."""
        words = ["nnUNetv2_train", self.matrix.dataset, run.arm.configuration, str(run.fold)]
        words += ["-tr", self.matrix.trainer_to_type(run.arm.trainer), "-p", run.arm.plans, "-device", device]
        more = {"new": [], "interrupted": ["--c"], "trained": ["--val"], "finished": []}
        return words + more[self.state(run)]
