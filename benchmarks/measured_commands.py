"""A command with its time, its lines, and the memory of all its processes."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_S = 0.25
SHARE = 1 / 20  # of a core, at most, for sampling


@dataclass
class Measured:
    """One command.

    Attributes:
        wall_s: from start to end.
        parts_s: of it.
        peak_mib: of all its processes together.
        note: tiles, for ours.
    """

    wall_s: float = 0.0
    parts_s: dict[str, float] = field(default_factory=dict)
    peak_mib: float = 0.0
    note: str = ""


def run(
    command: list[str], environment: dict[str, str], log: Path
) -> tuple[Measured, list[tuple[float, str]]]:
    """Run a command; its lines with their times, and its peak of memory."""
    start = time.perf_counter()
    child = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    measured, ended = Measured(), threading.Event()
    sampler = threading.Thread(target=_sample, args=(child.pid, measured, ended))
    sampler.start()
    assert child.stdout is not None
    lines = [(time.perf_counter() - start, line) for line in child.stdout]
    code = child.wait()
    measured.wall_s = time.perf_counter() - start
    ended.set()
    sampler.join()
    log.write_text("".join(f"{when:8.1f} {line}" for when, line in lines))
    if code:
        raise SystemExit(f"{command} ended with {code}:\n{log.read_text()[-3000:]}")
    return measured, lines


def _sample(pid: int, measured: Measured, ended: threading.Event) -> None:
    wait = SAMPLE_S
    while not ended.wait(wait):
        begin = time.perf_counter()
        measured.peak_mib = max(measured.peak_mib, sum(map(_pss_kib, _tree(pid))) / 1024)
        # The system counts every page: of gigabytes that takes a good part of a second.
        wait = max(SAMPLE_S, (time.perf_counter() - begin) / SHARE)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
    except OSError:
        return


def _pss_kib(pid: int) -> int:
    """Memory of a process; pages that several share are counted in parts."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
