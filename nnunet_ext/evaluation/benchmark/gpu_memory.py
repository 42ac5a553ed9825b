"""The most memory that a GPU had in use while something ran, as nvidia-smi sees it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_INTERVAL_S = 5.0


class GpuMemory:
    """Looks at a GPU from time to time.

    Attributes:
        peak_gib: the most that was in use, by whomever; None where it could not be asked.
    """

    def __init__(self, gpu: str | None) -> None:
        self.peak_gib: float | None = None
        self._gpu = gpu
        self._stop = threading.Event()

    @classmethod
    @contextmanager
    def watched(cls, gpu: str | None) -> Iterator[GpuMemory]:
        """Watch a GPU while the block runs.

        Args:
            gpu: its number, ``""`` for the first; None watches nothing.

        Example:
            >>> with GpuMemory.watched(None) as memory:
            ...     pass
            >>> memory.peak_gib is None
            True
        """
        memory = cls(gpu)
        if gpu is None:
            yield memory
            return
        watcher = threading.Thread(target=memory._watch, daemon=True)
        watcher.start()
        try:
            yield memory
        finally:
            memory._stop.set()
            watcher.join()

    def _watch(self) -> None:
        while True:
            try:
                self._look()
            except (OSError, ValueError, subprocess.SubprocessError):
                return  # no nvidia-smi, or it says nothing
            if self._stop.wait(_INTERVAL_S):
                return

    def _look(self) -> None:
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        command += ["-i", self._gpu or "0"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        used_gib = float(said.strip()) / 1024
        self.peak_gib = used_gib if self.peak_gib is None else max(self.peak_gib, used_gib)
