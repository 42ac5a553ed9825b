"""Memory of this process: what it held at most, and how the C library treats what is freed."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path
from types import TracebackType

# Parameters of glibc's mallopt (malloc.h), as nnunet_ext.commands.CPU_SETTINGS sets them by environment.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 1 << 28
_SAMPLE_S = 0.05


def peak_memory_mib() -> float | None:
    """The most that this process has held so far, in MiB; None where the system does not say.

    Example:
        >>> peak = peak_memory_mib()
        >>> peak is None or peak > 1
        True
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return found[0] / 1024 if found else None


class PeakMemory:
    """The most that this process held while a block ran: one case's part of a run's peak.

    Exact where it was more than ever before. Else it is the largest of samples, since the system counts from
    the start of the process, and to make it count anew would spoil what others measure of this process.

    Attributes:
        mib: after the block, in MiB; None where the system does not say.

    Example:
        >>> with PeakMemory() as peak:
        ...     block = bytearray(1000)
        >>> peak.mib is None or peak.mib > 1
        True
    """

    def __init__(self) -> None:
        self.mib: float | None = None
        self._before: float | None = None
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="peak memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._before = peak_memory_mib()
        if self._before is not None:
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is None:
            return
        self._ended.set()
        self._sampler.join()
        after = peak_memory_mib()
        if after is not None and after > self._before:
            self.mib = after

    def _sample(self) -> None:
        while True:
            self.mib = max(self.mib or 0.0, _held_memory_mib())
            if self._ended.wait(_SAMPLE_S):
                return


def _held_memory_mib() -> float:
    """What this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def keep_freed_memory() -> bool:
    """Tell glibc to keep the memory of freed tensors for the next ones.

    By default it gives every large block back and takes fresh pages, which the system has to zero, for the
    next layer. Measured in docs/benchmarks/allocation.md. The environment says the same to a process that has
    yet to start; this is for one that runs. Only for programs of our own: it changes the whole process.

    Returns:
        Whether there is a glibc that took it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _TOP_PAD_BYTES))
    taken = [mallopt(name, value) == 1 for name, value in settings]
    return all(taken)
