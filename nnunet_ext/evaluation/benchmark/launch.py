"""Runs the trainings of a benchmark on this computer, with stock nnU-Net commands."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from nnunet_ext.commands import CPU_SETTINGS, run_logged
from nnunet_ext.evaluation.benchmark.gpu_memory import GpuMemory
from nnunet_ext.evaluation.benchmark.machine import machine
from nnunet_ext.evaluation.benchmark.matrix import Run
from nnunet_ext.evaluation.benchmark.places import CHECKPOINTS, Places, is_whole
from nnunet_ext.evaluation.benchmark.records import Record, read_record, record_of, save_record
from nnunet_ext.evaluation.benchmark.shares import Share
from nnunet_ext.lock import alone

logger = logging.getLogger(__name__)

# The variable by which our composed trainers, vanilla's too, take the precision of the forward pass on a CPU.
BFLOAT16 = "nnUNet_ext_bfloat16"
ALL = Share()
_LAST_LINES = 5


def train(
    run: Run,
    places: Places,
    *,
    device: str,
    environment: Mapping[str, str],
    share: Share = ALL,
    stop: threading.Event | None = None,
) -> Record:
    """Begin a training, go on with it, or only look at it, and write its record.

    A training that fails is recorded and raises nothing: the others go on.

    Args:
        run: which.
        places: where.
        device: nnU-Net's: ``cuda``, ``cpu`` or ``mps``.
        environment: variables of the command, with nnU-Net's folders and the hook.
        share: what it may use of this computer.
        stop: once set, the command is ended.

    Raises:
        CommandStoppedError: it was.
    """
    with alone(places.lock(run), what=run.name, stop=stop) as lock:
        if (before := finished(run, places)) is not None:
            return before
        keep_open = () if lock is None else (lock,)
        return _train(
            run,
            places,
            device=device,
            environment=environment,
            share=share,
            stop=stop,
            keep_open=keep_open,
        )


def _train(
    run: Run,
    places: Places,
    *,
    device: str,
    environment: Mapping[str, str],
    share: Share,
    stop: threading.Event | None,
    keep_open: Sequence[int],
) -> Record:
    variables = {**environment, "nnUNet_results": str(places.results(run.repeat))}
    if device == "cpu":
        variables = {**CPU_SETTINGS, **variables}
        variables[BFLOAT16] = "1" if places.matrix.precision == "bfloat16" else "0"
    if share.gpu:
        variables["CUDA_VISIBLE_DEVICES"] = share.gpu
    _put_aside(run, places)
    command = places.command(run, device=device)
    logger.info("%s: %s", run.name, " ".join(command))
    # Of several that this shell may use, nnU-Net takes the first.
    gpu = variables.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    with GpuMemory.watched(gpu if device == "cuda" else None) as memory:
        done = run_logged(
            command,
            log=places.log(run),
            environment=variables,
            append=True,
            stop=stop,
            keep_open=keep_open,
            cores=share.cores,
        )
    reason = ""
    if done.code != 0:
        reason = f"{command[0]} ended with exit code {done.code}: {_last_lines(places.log(run))}"
    elif places.state(run) != "finished":
        reason = f"{command[0]} ended well, and there is no validation in {places.fold(run)}"
    peaks = (done.peak_memory_gib, memory.peak_gib)
    return _recorded(run, places, reason=reason, peaks=peaks, cores=len(share.cores) or os.cpu_count())


def _put_aside(run: Run, places: Places) -> None:
    """Take away checkpoints that were cut off: nnU-Net would go on from them, and fail each time."""
    for file in places.fold(run).glob(CHECKPOINTS):
        if not is_whole(file):
            logger.warning("%s: %s was cut off while it was written, and is put aside", run.name, file)
            file.replace(file.with_name(f"{file.name}.cut_off"))


def finished(run: Run, places: Places) -> Record | None:
    """The record of a training that is finished, None for any other."""
    if places.state(run) != "finished":
        return None
    file = places.record(run)
    if file.is_file() and (before := read_record(file)).status == "finished":
        return before
    return _recorded(run, places, reason="", peaks=(None, None))  # killed before it could be written


def record_failure(run: Run, places: Places, *, reason: str) -> Record:
    """Write the record of a training that something around it made fail."""
    return _recorded(run, places, reason=reason, peaks=(None, None))


def train_all(
    runs: Sequence[Run],
    places: Places,
    *,
    device: str,
    environment: Mapping[str, str],
    shares: Sequence[Share] = (ALL,),
    progress: bool = False,
) -> list[Record]:
    """Run trainings, one in each share of this computer at a time.

    Args:
        runs: which, in this order.
        places: where.
        device: nnU-Net's.
        environment: variables of the commands.
        shares: of this computer; one, of all of it, for one training at a time.
        progress: show a progress bar on stderr.

    Returns:
        Their records, in the order of ``runs``.
    """
    from tqdm import tqdm

    # A cascade begins once what it goes on from has ended.
    waves = [list(wave) for _, wave in groupby(runs, key=lambda run: run.arm.is_cascade)]
    stop = threading.Event()
    free: queue.SimpleQueue[Share] = queue.SimpleQueue()
    for share in shares:
        free.put(share)

    def work(run: Run) -> Record:
        with _taken(free) as share:
            return train(run, places, device=device, environment=environment, share=share, stop=stop)

    records: dict[Run, Record] = {}
    pool = ThreadPoolExecutor(len(shares))
    try:
        with tqdm(total=len(runs), unit="run", disable=None if progress else True) as bar:
            for wave in waves:
                waiting = {pool.submit(work, run): run for run in wave}
                for future in as_completed(waiting):
                    record = records[waiting[future]] = future.result()
                    bar.update()
                    if record.status == "failed":
                        logger.error("%s failed: %s", record.run, record.reason)
    finally:  # after an interrupt nothing goes on, and nothing begins
        stop.set()
        pool.shutdown(cancel_futures=True)
    return [records[run] for run in runs]


@contextmanager
def _taken(free: queue.SimpleQueue[Share]) -> Iterator[Share]:
    share = free.get()
    try:
        yield share
    finally:
        free.put(share)


def _recorded(
    run: Run,
    places: Places,
    *,
    reason: str,
    peaks: tuple[float | None, float | None],
    cores: int | None = None,
) -> Record:
    record = record_of(
        run,
        places,
        reason=reason,
        # Times of trainings that had fewer cores than the computer has say nothing without it.
        machine={**machine(), "cores_used": cores},
        peak_memory_gib=peaks[0],
        peak_gpu_memory_gib=peaks[1],
    )
    save_record(record, places.record(run))
    return record


def _last_lines(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return " | ".join([line for line in lines if line][-_LAST_LINES:])
