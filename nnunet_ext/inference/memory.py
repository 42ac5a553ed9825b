"""Memory of this process: what it held at most, and how the C library treats what is freed."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

# Parameters of glibc's mallopt (malloc.h), as nnunet_ext.commands.CPU_SETTINGS sets them by environment.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_TOP_PAD_BYTES = 1 << 28


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
