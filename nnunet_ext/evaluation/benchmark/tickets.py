"""Which job of a cluster a training was given to, kept so that no training is given to two."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.evaluation.benchmark.matrix import Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.files import write_text

Cluster = Literal["slurm", "local"]


@dataclass(frozen=True)
class Ticket:
    """The job that a training was given to last. Any other that comes to it does nothing.

    Attributes:
        submission: name of the submission, with all the jobs that were submitted together.
        cluster: ``"slurm"``, or ``"local"`` for processes of this computer.
        job: its id there; ``""`` until the cluster has told it.
    """

    submission: str
    cluster: Cluster
    job: str = ""


def save_ticket(ticket: Ticket, file: Path) -> None:
    """Write a ticket, see :func:`read_ticket`."""
    write_text(file, json.dumps(asdict(ticket)) + "\n")


def read_ticket(run: Run, places: Places) -> Ticket | None:
    """The ticket of a training, None for one that was given to no job.

    Example:
        >>> import tempfile
        >>> from nnunet_ext.evaluation.benchmark.matrix import Matrix
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     places = Places(Path(folder), Matrix("Dataset004_X", ()))
        ...     run, other, *_ = places.matrix.runs
        ...     save_ticket(Ticket("20250102-030405-abcdef", "slurm", "77_0"), places.ticket(run))
        ...     read_ticket(run, places), read_ticket(other, places)
        (Ticket(submission='20250102-030405-abcdef', cluster='slurm', job='77_0'), None)
    """
    file = places.ticket(run)
    return Ticket(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def result_file(ticket: Ticket, places: Places) -> Path:
    """Where submitit writes how a job ended; one that was killed, or goes on later, has none."""
    from submitit.core.utils import JobPaths

    return JobPaths(places.submission(ticket.submission), ticket.job).result_pickle


def log_file(ticket: Ticket, places: Places) -> Path:
    """What a job itself said, beside what its training said."""
    from submitit.core.utils import JobPaths

    return JobPaths(places.submission(ticket.submission), ticket.job).stderr
