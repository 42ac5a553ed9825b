"""A process that preprocesses the next case while the network is busy with this one.

It also keeps the memory that preprocessing takes (cubic splines of whole volumes) apart: all of it goes with
the process.
"""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from nnunet_ext.inference.cases import CaseError, CaseFiles, Preparation, PreparedCase, prepare_case
from nnunet_ext.inference.memory import peak_memory_mib

_NOTHING = torch.empty(0)


class PreparationWorker:
    """Prepares one case at a time in a process of its own; a context manager that ends it.

    Args:
        preparation: of the model.
        folder: for preprocessed volumes, on their way.
    """

    def __init__(self, preparation: Preparation, folder: Path) -> None:
        self._preparation = preparation
        self._folder = folder
        self._process: Any = None
        self._connection: Connection | None = None
        self.peak_memory_mib: float | None = None

    def __enter__(self) -> PreparationWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, case: CaseFiles) -> None:
        """Start with a case; :meth:`take` it before the next."""
        if self._process is None:
            self._start()
        assert self._connection is not None  # made by _start
        with suppress(ConnectionError):  # its process has died: take() says so
            self._connection.send(case)

    def take(self, case: CaseFiles) -> PreparedCase:
        """The case that was submitted last, once it is ready.

        Raises:
            CaseError: it cannot be prepared, or the process was ended from outside.
        """
        if self._connection is None:
            raise CaseError("it was never submitted", "submit it first")
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            self.close()
            raise CaseError(
                "the process that preprocessed it was ended from outside, most likely for memory",
                "close other programs, or use a machine with more memory",
            ) from error
        if isinstance(answer, CaseError):
            raise answer
        prepared, self.peak_memory_mib = answer
        return _taken(prepared)

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        # Not forked: torch's threads do not survive that.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._preparation, self._folder), daemon=True
        )
        self._process.start()
        theirs.close()  # so that its end is the end of the pipe


def _serve(connection: Connection, preparation: Preparation, folder: Path) -> None:
    """The process: prepare what comes until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    torch.set_num_threads(1)
    number = 0
    while True:
        try:
            case = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer: Any = (_put(prepare_case(case, preparation), folder, number), peak_memory_mib())
            number += 1
        except CaseError as error:
            answer = error
        except Exception as error:  # one case's, whatever it is; the others go on
            answer = CaseError(
                f"preprocessing failed ({type(error).__name__}: {error})", f"is there room in {folder}?"
            )
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionError):
            return


@dataclass(frozen=True)
class _Put:
    """A prepared case on its way: its volume lies in a file."""

    case: PreparedCase
    file: Path
    coarse: _Put | None


def _put(case: PreparedCase, folder: Path, number: int | str) -> _Put:
    file = folder / f"prepared-{number}.npy"
    np.save(file, case.data.numpy())
    coarse = None if case.coarse is None else _put(case.coarse, folder, f"{number}-coarse")
    return _Put(replace(case, data=_NOTHING, coarse=None), file, coarse)


def _taken(put: _Put) -> PreparedCase:
    # Pages come from the file as tiles are cut; nothing is written back.
    data = torch.from_numpy(np.load(put.file, mmap_mode="c"))
    put.file.unlink()
    return replace(put.case, data=data, coarse=None if put.coarse is None else _taken(put.coarse))
