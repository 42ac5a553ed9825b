"""Converts many cases at once, and keeps what becomes of each."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from nnunet_ext.dataset_conversion.declaration import Conversion, SourceCase
from nnunet_ext.dataset_conversion.key_file import KeyFile
from nnunet_ext.dataset_conversion.one_case import convert_case
from nnunet_ext.dataset_conversion.records import CaseResult, finished, remove_outputs
from tqdm import tqdm

logger = logging.getLogger(__name__)


def run_cases(
    conversion: Conversion,
    named: Mapping[str, SourceCase],
    key: KeyFile,
    *,
    workers: int,
    progress: bool,
) -> dict[str, CaseResult]:
    """Convert every case that was not finished before.

    Args:
        conversion: the run.
        named: cases by their names in the dataset.
        key: takes up who the patients are.
        workers: processes; 1 works in this one.
        progress: show a progress bar on stderr.

    Returns:
        The result of every case, by name.

    Raises:
        OSError: the dataset or the key cannot be written.
    """
    shown = tqdm(
        _results(conversion, named, salt=key.salt, workers=workers),
        total=len(named),
        desc=conversion.converter.title,
        unit="case",
        disable=None if progress else True,
    )
    return {result.case: _noted(result, key, conversion.dataset) for result in shown}


def _results(
    conversion: Conversion, named: Mapping[str, SourceCase], *, salt: str, workers: int
) -> Iterator[CaseResult]:
    todo = {}
    for name, case in named.items():
        if earlier := finished(conversion, name, case, salt=salt):
            yield earlier
        else:
            todo[name] = case
    if workers == 1 or len(todo) < 2:
        for name, case in todo.items():
            yield convert_case(conversion, name, case, salt=salt)
        return
    context = multiprocessing.get_context("spawn")  # threads of SimpleITK do not survive a fork
    pool = ProcessPoolExecutor(min(workers, len(todo)), mp_context=context)
    try:
        running: dict[Future[CaseResult], str] = {
            pool.submit(convert_case, conversion, name, case, salt=salt): name for name, case in todo.items()
        }
        for future in as_completed(running):
            yield _result_of(future, running[future], todo)
    finally:  # an interrupt waits for the cases that are being written, and begins no other
        pool.shutdown(cancel_futures=True)


def _result_of(future: Future[CaseResult], name: str, todo: Mapping[str, SourceCase]) -> CaseResult:
    """A worker that the system killed takes the cases of the whole pool with it: they are done next time."""
    try:
        return future.result()
    except BrokenProcessPool:
        error = ("worker-died", "a worker was ended, most likely for memory", "run again with fewer workers")
        return CaseResult(name, todo[name].is_training, "", error=error)


def _noted(result: CaseResult, key: KeyFile, dataset: Path) -> CaseResult:
    """Keep in the key what belongs there, and take what was refused out of the dataset."""
    entry = key.cases[result.case]
    for name, value in (("patient", result.patient), ("series", result.series)):
        if value:
            entry[name] = key.hashed(value)
    if result.patient or result.error:  # else it was finished before, and so was its entry
        entry.pop("details", None)
    if result.private:
        entry["details"] = result.private
    if result.patient or result.private:
        key.save(dataset=dataset)
    if result.error is not None:
        remove_outputs(dataset, result.case)
        logger.warning("%s refused: %s: %s; %s", result.case, *result.error)
    return result
