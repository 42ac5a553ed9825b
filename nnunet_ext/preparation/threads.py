"""One thread for what must come out alike on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk


@contextmanager
def one_thread() -> Iterator[None]:
    """Let ITK's filters run in one thread.

    N4 and registration add up floating-point numbers in an order that depends on the number of threads
    (measured with SimpleITK 2.5.7: N4 on one thread and on two differs in the seventh digit). The setting is
    of the whole process, so it is put back; cases, not voxels, are what to spread over cores. Filters'
    own ``SetNumberOfWorkUnits`` does not reach the filters inside N4.

    Example:
        >>> with one_thread():
        ...     sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        1
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
