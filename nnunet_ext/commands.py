"""Commands of other programs as child processes: logged, followed line by line, ended with their workers."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

# For commands that train or predict on a CPU, unless the user's environment says otherwise.
CPU_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        # nnU-Net on a CPU computes with one thread a core beside its workers. Threads that wait by
        # spinning then keep the others from their work: 4 to 7 s a step on two busy cores, 1 to 3 s with
        # passive waiting.
        "OMP_WAIT_POLICY": "PASSIVE",
        # glibc gives the memory of every large tensor back at once and takes fresh pages, which the system
        # has to zero, for the next (docs/benchmarks/allocation.md).
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "268435456",
    }
)
# How long a child may take to end after SIGTERM before it is killed.
_GRACE_S = 10.0
_POLL_S = 0.1


class EnvironmentProblemError(RuntimeError):
    """Something is missing or in the way before any work started."""


class CommandStoppedError(RuntimeError):
    """A command was ended because somebody asked for it."""


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    Attributes:
        code: exit code; that of the signal, negative, if one ended it.
        seconds: how long it ran.
        peak_memory_gib: the most that the process itself held, workers not counted; None where the system
            does not say, as outside Linux.
    """

    code: int
    seconds: float
    peak_memory_gib: float | None


def find_command(name: str) -> Path:
    """The command ``name`` of this Python environment: beside the interpreter, else on PATH.

    Raises:
        EnvironmentProblemError: there is no such command.

    Example:
        >>> find_command("no-such-command")
        Traceback (most recent call last):
        nnunet_ext.commands.EnvironmentProblemError: ...
    """
    scripts = Path(sys.executable).parent
    found = shutil.which(name, path=str(scripts)) or shutil.which(name)
    if found is None:
        raise EnvironmentProblemError(
            f"expected the command {name} in {scripts} or on PATH, found none; install nnU-Net into this "
            f"environment: {shlex.quote(sys.executable)} -m pip install 'nnunetv2>=2.8,<3'"
        )
    return Path(found)


def run_logged(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    append: bool = False,
    stop: threading.Event | None = None,
    on_line: Callable[[str], None] | None = None,
    keep_open: Sequence[int] = (),
    cores: Collection[int] = (),
) -> Finished:
    """Run one command to its end; its output goes to ``log`` and, line by line, to ``on_line``.

    Whatever ends the wait, an exception too, ends the command and its workers.

    Args:
        command: program and arguments; the program is looked up with :func:`find_command`.
        log: file for stdout and stderr.
        environment: all variables of the child.
        append: write behind what is in the log, as for a command that goes on.
        stop: once another thread sets it, the command is ended.
        on_line: called with every line, for progress.
        keep_open: descriptors of files that the command gets too.
        cores: the only ones that it and its workers may use (Linux); none for all.

    Raises:
        EnvironmentProblemError: the program does not exist.
        CommandStoppedError: ``stop`` was set before it ended.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = run_logged(
        ...         [sys.executable, "-c", "print(1)"], log=Path(folder) / "log", environment=os.environ,
        ...         on_line=print,
        ...     )
        1
        >>> done.code
        0
    """
    program = str(find_command(command[0]))
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with (
        log.open("a" if append else "w", encoding="utf-8") as sink,
        log.open(encoding="utf-8", errors="replace") as reader,
    ):
        reader.seek(0, os.SEEK_END)
        # Straight to the file, not through a pipe: a pipe stays open, and we would wait, as long as any
        # worker lives, even after the command itself was killed for want of memory. The session of its own
        # lets us end all of them together.
        child = subprocess.Popen(
            [program, *command[1:]],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep_open,
        )
        try:
            if cores and hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(child.pid, cores)  # before it has made its first thread
            peak_gib = _follow(child, reader, on_line=on_line, stop=stop)
        finally:
            _end(child)
    return Finished(child.returncode, time.monotonic() - start, peak_gib)


def _follow(
    child: subprocess.Popen[bytes],
    reader: IO[str],
    *,
    on_line: Callable[[str], None] | None,
    stop: threading.Event | None,
) -> float | None:
    """Pass on what a child writes to its log until it ends; its peak memory in GiB."""
    pending = ""
    peak_gib: float | None = None
    while True:
        peak_gib = _high_water_gib(child.pid) or peak_gib
        code = child.poll()  # before reading, so that the last lines are read after the end
        *lines, pending = (pending + reader.read()).split("\n")
        if on_line is not None:
            for line in lines:
                on_line(line)
        if code is not None:
            return peak_gib
        if stop is not None and stop.is_set():
            raise CommandStoppedError(f"stopped: {child.args!r}")
        time.sleep(_POLL_S)


def _high_water_gib(pid: int) -> float | None:
    """The most that a running process has held so far.

    Not what ``wait4`` tells of it: that counts what its parent held when it was made.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) / 2**20 if found else None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Make sure that a child and its workers are gone."""
    if os.name == "nt":  # no process groups; nnU-Net's workers end with their parent's pipes
        child.kill()
        return
    for stop in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _GRACE_S
        try:
            os.killpg(child.pid, stop)
            while time.monotonic() < deadline:
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(_POLL_S)
        except ProcessLookupError:  # nobody of the group is left
            return
