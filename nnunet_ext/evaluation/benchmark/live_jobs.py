"""Which jobs of a benchmark are queued or running. One that its cluster has forgotten is gone.

submitit asks Slurm's accounting, which tells nothing of a job that was submitted a moment ago, and on many
clusters nothing at all: a training could be given to two jobs. Slurm's queue always knows.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.commands import EnvironmentProblemError
from nnunet_ext.evaluation.benchmark.matrix import Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.tickets import Ticket, read_ticket, result_file

# States of a job that has not begun, or begins again; every other one of the queue holds a node.
_QUEUED = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_TIMEOUT_S = 120


@dataclass(frozen=True)
class LiveJob:
    """A job that has not ended.

    Attributes:
        ticket: of its training.
        state: as it is now.
    """

    ticket: Ticket
    state: Literal["queued", "running"]


def live_jobs(places: Places, runs: Iterable[Run] | None = None) -> dict[Run, LiveJob]:
    """The jobs of a benchmark that have not ended.

    Args:
        places: of the benchmark.
        runs: trainings to look at; None for all.

    Raises:
        EnvironmentProblemError: Slurm cannot be asked.
    """
    tickets = {run: read_ticket(run, places) for run in (places.matrix.runs if runs is None else runs)}
    asked = {run: ticket for run, ticket in tickets.items() if ticket and _may_live(run, ticket, places)}
    slurm = _slurm_states([ticket.job for ticket in asked.values() if ticket.cluster == "slurm"])
    found: dict[Run, LiveJob] = {}
    for run, ticket in asked.items():
        if ticket.cluster == "slurm" and ticket.job in slurm:
            state = slurm[ticket.job]
            found[run] = LiveJob(ticket, "queued" if state in _QUEUED else "running")
        elif ticket.cluster == "local" and _is_controller(ticket, places):
            found[run] = LiveJob(ticket, "running")
    return found


def _may_live(run: Run, ticket: Ticket, places: Places) -> bool:
    """Whether nothing on disk says that a job has ended."""
    done = places.state(run) == "finished" and places.record(run).is_file()
    return bool(ticket.job) and not done and not result_file(ticket, places).is_file()


def _slurm_states(jobs: Sequence[str]) -> Mapping[str, str]:
    """States of those of some jobs that are in Slurm's queue."""
    arrays = sorted({job.partition("_")[0] for job in jobs})
    if not arrays:
        return {}
    command = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(arrays)}"]
    # Variables such as SQUEUE_STATES say what it shows to a user.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, env=variables, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _cannot_ask(str(error)) from error
    if said.returncode == 0:
        return dict(line.split(maxsplit=1) for line in said.stdout.splitlines() if line.strip())
    if "Invalid job id" not in said.stderr:
        raise _cannot_ask(said.stderr.strip())
    # Slurm has forgotten it; of several, the others may still be there.
    return {} if len(arrays) == 1 else {j: s for a in arrays for j, s in _slurm_states([a]).items()}


def _cannot_ask(why: str) -> EnvironmentProblemError:
    return EnvironmentProblemError(
        f"expected squeue to tell whether the jobs of this benchmark have ended, got: {why}. Type this on "
        "the cluster; where they have all ended, remove DIR/jobs/*.json"
    )


def _is_controller(ticket: Ticket, places: Places) -> bool:
    """Whether the process of a local job runs; its number may belong to another one by now."""
    if Path("/proc/self/cmdline").is_file():
        try:
            words = Path(f"/proc/{ticket.job}/cmdline").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
    else:
        listed = ["ps", "-ww", "-o", "args=", "-p", ticket.job]
        words = subprocess.run(listed, capture_output=True, text=True, check=False).stdout
    return str(places.submission(ticket.submission)) in words
