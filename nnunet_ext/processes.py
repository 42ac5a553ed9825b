"""Work on many cases, in processes of their own where that pays."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

CASES_A_PROCESS = 8  # a process takes seconds to start: fewer cases are done here

Case = TypeVar("Case")
Result = TypeVar("Result")


def for_each_case(
    function: Callable[[Case], Result],
    cases: Sequence[Case],
    *,
    processes: int,
    description: str,
    progress: bool = True,
) -> list[Result]:
    """Call a function for each case, with a bar.

    Args:
        function: other processes must be able to import it.
        cases: to call it with.
        processes: at most.
        description: of the bar.
        progress: show the bar.

    Returns:
        What it returned, in the order of the cases.

    Raises:
        BrokenProcessPool: a process was killed.

    Example:
        >>> for_each_case(abs, [-1, 2], processes=4, description="Sizes", progress=False)
        [1, 2]
    """
    workers = min(processes, len(cases) // CASES_A_PROCESS)
    hidden = not progress or not cases
    if workers <= 1:
        return list(tqdm(map(function, cases), total=len(cases), desc=description, disable=hidden))
    # Unlike multiprocessing's pool, it does not wait forever for a worker that was killed.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(tqdm(pool.map(function, cases), total=len(cases), desc=description, disable=hidden))
