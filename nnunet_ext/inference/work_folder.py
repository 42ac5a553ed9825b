"""A folder for what is on its way, held by one run at a time."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORK = ".predicting"


class FolderInUseError(ValueError):
    """Another run writes to the same folder."""


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """The hidden folder in an output folder; what a killed run left there goes.

    Raises:
        FolderInUseError: another run holds it.
    """
    work = output / WORK
    while True:
        work.mkdir(parents=True, exist_ok=True)
        with (work / "lock").open("a") as lock:
            if not _is_held(lock.fileno(), work / "lock", output):
                continue
            for left in [*work.iterdir(), *output.glob(".writing-*")]:
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                elif left.name != "lock":
                    left.unlink()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
            return


def _is_held(descriptor: int, file: Path, output: Path) -> bool:
    """Take the lock; False where the file was removed by the run that held it before."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUseError(
            f"another run writes to {output}: wait for its end, or choose another folder"
        ) from error
    except OSError:  # this disk knows no locks
        return True
    return file.exists() and os.fstat(descriptor).st_ino == file.stat().st_ino
