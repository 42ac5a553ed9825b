"""What one job of a cluster does: one training, just as on one computer."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_ext.commands import CommandStoppedError
from nnunet_ext.evaluation.benchmark.launch import record_failure, train
from nnunet_ext.evaluation.benchmark.matrix import Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.shares import Share
from nnunet_ext.evaluation.benchmark.tickets import read_ticket

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

logger = logging.getLogger(__name__)

# How long to wait for the end that SIGTERM announces: longer than Slurm's KillWait (30 s) and the grace
# times of preemption that are usual.
_LAST_S = 900.0


@dataclass(frozen=True)
class TrainingJob:
    """Begins a training or goes on with it, in a fresh process on any computer that sees the same folders.

    Attributes:
        run: which.
        places: where.
        device: nnU-Net's.
        environment: variables of nnU-Net and ours, put over those of the job.
        submission: in which it was submitted, see :class:`~.tickets.Ticket`.
    """

    run: Run
    places: Places
    device: str
    environment: Mapping[str, str]
    submission: str

    def __call__(self) -> str:
        """Train; returns how it ended.

        Raises:
            CommandStoppedError: the cluster asked for its end, which has not come.
        """
        ticket = read_ticket(self.run, self.places)
        if ticket is None or ticket.submission != self.submission:
            return "given to another job"
        asked = threading.Event()
        # Slurm sends SIGTERM to nnU-Net too: that is no failure of the training.
        before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
        try:
            status = self._train(asked)
        finally:
            signal.signal(signal.SIGTERM, before)
        if asked.is_set():
            # A job that ended by itself now would be done with, and not be queued again.
            if ticket.cluster == "slurm":
                time.sleep(_LAST_S)
            raise CommandStoppedError(f"{self.run.name} was stopped by SIGTERM")
        return status

    def checkpoint(self) -> DelayedSubmission:
        """What submitit queues again when the job is preempted or its time is over.

        The same: nnU-Net's own checkpoints say where to go on.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _train(self, asked: threading.Event) -> str:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "") if self.device == "cuda" else ""
        try:
            record = train(
                self.run,
                self.places,
                device=self.device,
                environment={**os.environ, **self.environment},
                share=Share(visible.split(",")[0]),
                stop=asked,
            )
        except CommandStoppedError:
            return "stopped"
        except Exception as error:  # such as submitit's, for a job whose time was over too often
            record_failure(self.run, self.places, reason=str(error))
            raise
        return record.status
