"""Gives trainings to a cluster, as one array of jobs, and waits for them."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nnunet_ext.commands import EnvironmentProblemError
from nnunet_ext.evaluation.benchmark.launch import finished
from nnunet_ext.evaluation.benchmark.live_jobs import live_jobs
from nnunet_ext.evaluation.benchmark.matrix import Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import read_record
from nnunet_ext.evaluation.benchmark.resources import Resources
from nnunet_ext.evaluation.benchmark.tickets import Ticket, log_file, read_ticket, result_file, save_ticket
from nnunet_ext.evaluation.benchmark.training_job import TrainingJob

if TYPE_CHECKING:
    from submitit import AutoExecutor

logger = logging.getLogger(__name__)

# Other variables are the job's own: Slurm says which GPU it has.
_CARRIED = ("nnUNet_", "OMP_WAIT_POLICY")
# How often a job may come to its time limit: 1000 epochs on a slow GPU with a short limit, and an end.
_TIME_LIMITS = 30
# One question a cluster, however many jobs; a file on a network drive shows up within this time.
_INTERVAL_S = {"slurm": 30.0, "local": 0.5}


@dataclass(frozen=True)
class Submitted:
    """The jobs of a benchmark.

    Attributes:
        new: of trainings that were submitted just now.
        before: of those that were there already.
        waiting: cascades that cannot begin before other trainings have ended.
    """

    new: Mapping[Run, Ticket]
    before: Mapping[Run, Ticket]
    waiting: tuple[Run, ...] = ()


def submit_missing(
    places: Places,
    *,
    device: str,
    environment: Mapping[str, str],
    resources: Resources,
    among: Sequence[Run] | None = None,
) -> Submitted:
    """Submit every training that could begin and is neither finished nor in a job, as one array.

    Args:
        places: of the benchmark; every computer of the cluster has to see this folder.
        device: nnU-Net's.
        environment: variables, of which a job gets nnU-Net's and ours.
        resources: what each job asks for.
        among: trainings to look at; None for all.

    Raises:
        EnvironmentProblemError: there is no such cluster here, or it refuses the jobs.
    """
    among = places.matrix.runs if among is None else among
    before = {run: job.ticket for run, job in live_jobs(places, among).items()}
    missing = [run for run in among if run not in before and finished(run, places) is None]
    waiting = tuple(run for run in missing if places.waits(run))
    runs = [run for run in missing if run not in waiting]
    if not runs:
        return Submitted({}, before, waiting)
    name = f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"
    carried = {"nnUNet_n_proc_DA": str(resources.cpus)}
    carried |= {key: value for key, value in environment.items() if key.startswith(_CARRIED)}
    # Before they begin: a job that finds another submission here does nothing. So of two commands that are
    # typed at once, the later one's jobs train.
    for run in runs:
        save_ticket(Ticket(name, resources.cluster), places.ticket(run))
    try:
        executor = _executor(places, name, device=device, resources=resources)
        jobs = executor.submit_array([TrainingJob(run, places, device, carried, name) for run in runs])
    except (RuntimeError, OSError) as error:
        raise EnvironmentProblemError(f"--cluster {resources.cluster} takes no jobs: {error}") from error
    new = {run: Ticket(name, resources.cluster, job.job_id) for run, job in zip(runs, jobs, strict=True)}
    for run, ticket in new.items():
        save_ticket(ticket, places.ticket(run))
    return Submitted(new, before, waiting)


def wait_for(runs: Iterable[Run], places: Places, *, progress: bool = False) -> dict[Run, str]:
    """Wait until the jobs of some trainings have ended.

    Args:
        runs: which.
        places: where.
        progress: show a progress bar on stderr.

    Returns:
        For each training that did not finish, why.
    """
    from tqdm import tqdm

    tickets = {run: ticket for run in runs if (ticket := read_ticket(run, places)) is not None}
    interval_s = max((_INTERVAL_S[ticket.cluster] for ticket in tickets.values()), default=0.0)
    missed = dict.fromkeys(tickets, 0)  # looks in a row that did not find the job
    reasons: dict[Run, str] = {}
    with tqdm(total=len(missed), unit="run", disable=None if progress else True) as bar:
        while missed:
            for run in _ended(missed, tickets, places, bar):
                del missed[run]
                bar.update()
                if reason := _failure(run, tickets[run], places):
                    reasons[run] = reason
                    logger.error("%s failed: %s", run.name, reason)
            if missed:
                time.sleep(interval_s)
    return reasons


def _executor(places: Places, name: str, *, device: str, resources: Resources) -> AutoExecutor:
    import submitit

    # It sets up logging to stdout, where our results go.
    logging.getLogger("submitit").handlers.clear()
    executor = submitit.AutoExecutor(
        places.submission(name), cluster=resources.cluster, slurm_max_num_timeout=_TIME_LIMITS
    )
    executor.update_parameters(**resources.parameters(name=places.root.name, device=device))
    return executor


def _ended(missed: dict[Run, int], tickets: Mapping[Run, Ticket], places: Places, bar: Any) -> list[Run]:
    """Trainings whose job has ended since the last look; counts in ``missed``."""
    try:
        live = live_jobs(places, missed)
    except EnvironmentProblemError as error:  # a cluster that is busy answers later
        logger.warning("%s", error)
        return []
    running = sum(job.state == "running" for job in live.values())
    bar.set_postfix_str(f"{running} running, {len(live) - running} queued")
    ended = []
    for run in missed:
        missed[run] = 0 if run in live else missed[run] + 1
        # Twice: what the job wrote last may take a moment to show up on a network drive.
        if missed[run] > 1 or (missed[run] and result_file(tickets[run], places).is_file()):
            ended.append(run)
    return ended


def _failure(run: Run, ticket: Ticket, places: Places) -> str:
    """Why a training whose job has ended is not finished; ``""`` where it is."""
    from submitit.core.utils import pickle_load

    if finished(run, places) is not None:
        return ""
    result = result_file(ticket, places)
    if not result.is_file():
        reason = f"its job {ticket.job} could not begin, or was killed"
    else:
        outcome, said = pickle_load(result)
        failed = outcome == "success" and said == "failed"
        reason = read_record(places.record(run)).reason if failed else str(said).strip().splitlines()[-1]
    return f"{reason} (what the job said: {log_file(ticket, places)})"
