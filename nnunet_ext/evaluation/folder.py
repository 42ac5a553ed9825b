"""Evaluates folders of label maps, case by case over several processes; a bad case is its own."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial

from tqdm import tqdm

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.evaluation.cases import Case
from nnunet_ext.evaluation.compare import score_case
from nnunet_ext.evaluation.label_maps import read_pair
from nnunet_ext.evaluation.scores import CaseScores, Settings
from nnunet_ext.evaluation.structures import LabelTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """What became of one case: scores, or why there are none.

    Attributes:
        case: name and files.
        scores: None where the case failed.
        error: code, reason and remedy where it did.
    """

    case: Case
    scores: CaseScores | None = None
    error: tuple[str, str, str] | None = None


def evaluate_cases(
    cases: Sequence[Case],
    *,
    table: LabelTable,
    settings: Settings | None = None,
    workers: int = 1,
    progress: bool = False,
) -> tuple[CaseResult, ...]:
    """Score many cases.

    Args:
        cases: from :func:`~nnunet_ext.evaluation.cases.find_cases`.
        table: what the values mean.
        settings: None takes the defaults.
        workers: processes; 1 works in this one.
        progress: show a progress bar on stderr.

    Returns:
        A result for every case, in their order.

    Raises:
        ValueError: less than one worker.

    Example:
        >>> lonely = Case("a", prediction=None, reference=None)
        >>> evaluate_cases([lonely], table=LabelTable((), ()))[0].error[0]
        'no-prediction'
    """
    if workers < 1:
        raise ValueError(f"expected at least one worker, got {workers}")
    evaluate = partial(evaluate_case, table=table, settings=settings or Settings())
    done = tqdm(
        _results(evaluate, cases, workers=workers),
        total=len(cases),
        desc="evaluate",
        unit="case",
        disable=None if progress else True,
    )
    results = {result.case.name: result for result in done}
    for case in cases:
        if error := results[case.name].error:
            logger.warning("%s failed: %s: %s; %s", case.name, *error)
    return tuple(results[case.name] for case in cases)


def evaluate_case(case: Case, *, table: LabelTable, settings: Settings) -> CaseResult:
    """Score one case, or say why not.

    Args:
        case: its files.
        table: what the values mean.
        settings: of the run.

    Returns:
        The result; nothing that a file holds makes it raise.

    Example:
        >>> from pathlib import Path
        >>> case = Case("a", Path("missing.nii.gz"), Path("missing.nii.gz"))
        >>> evaluate_case(case, table=LabelTable((), ()), settings=Settings()).error[0]
        'unreadable'
    """
    try:
        if case.prediction is None:
            remedy = "predict it, or compare what was predicted alone (--only-predicted)"
            raise CaseError("no-prediction", reason="there is no prediction of its name", remedy=remedy)
        if case.reference is None:
            remedy = "take the prediction away, or add its reference"
            raise CaseError("no-reference", reason="there is no reference of its name", remedy=remedy)
        pair = read_pair(case.prediction, case.reference)
        scores = score_case(
            pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, table=table, settings=settings
        )
        return CaseResult(case, scores)
    except CaseError as error:
        return CaseResult(case, error=(error.code, error.reason, error.remedy))
    except MemoryError:
        return CaseResult(case, error=("out-of-memory", "memory ran out", "use fewer workers (--workers)"))
    except Exception as error:  # whatever a file makes a library do, it is this case's alone
        logger.debug("%s", case.name, exc_info=True)
        reason = f"it could not be read or compared ({type(error).__name__}: {error})"
        return CaseResult(case, error=("unreadable", reason, "look at the files"))


def _results(
    evaluate: Callable[[Case], CaseResult], cases: Sequence[Case], *, workers: int
) -> Iterator[CaseResult]:
    if workers == 1 or len(cases) < 2:
        yield from map(evaluate, cases)
        return
    context = multiprocessing.get_context("spawn")  # threads of SimpleITK do not survive a fork
    pool = ProcessPoolExecutor(min(workers, len(cases)), mp_context=context)
    try:
        running = {pool.submit(evaluate, case): case for case in cases}
        for future in as_completed(running):
            yield _result_of(future, running[future])
    finally:  # an interrupt begins no other case
        pool.shutdown(cancel_futures=True)


def _result_of(future: Future[CaseResult], case: Case) -> CaseResult:
    try:
        return future.result()
    except BrokenProcessPool:  # a worker that the system ends takes the cases of the whole pool with it
        reason, remedy = "a worker was ended, most likely for memory", "use fewer workers (--workers)"
        return CaseResult(case, error=("worker-died", reason, remedy))
