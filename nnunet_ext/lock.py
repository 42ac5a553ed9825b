"""One process at a time for a training: one that was killed may have left another behind, alive."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_ext.commands import CommandStoppedError

logger = logging.getLogger(__name__)

_POLL_S = 1.0


@contextmanager
def alone(file: Path, *, what: str, stop: threading.Event | None = None) -> Iterator[int | None]:
    """Hold a lock; wait where another process holds it.

    The lock belongs to an open file. A command that gets that file keeps the lock until it ends, also when
    the process that started it is killed.

    Args:
        file: is made where it is missing, and stays.
        what: in words, for the log.
        stop: once set, the wait is given up.

    Yields:
        The file's descriptor, to be passed on to the command; None on Windows and on disks without locks.

    Raises:
        CommandStoppedError: ``stop`` was set.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, alone(Path(folder) / "a.lock", what="a") as held:
        ...     held is None or held > 2
        True
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        yield opened.fileno() if _locked(opened.fileno(), what=what, stop=stop) else None


def _locked(descriptor: int, *, what: str, stop: threading.Event | None) -> bool:
    """Wait for the lock; False where there are none."""
    if sys.platform == "win32":
        return False
    import fcntl

    stop = stop or threading.Event()
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not told:
                logger.warning("%s is in another process, perhaps of an earlier call: waiting for it", what)
                told = True
        except OSError:  # this disk knows no locks
            return False
        if stop.wait(_POLL_S):
            raise CommandStoppedError(f"stopped while {what} was in another process")
