"""What became of a run and of its cases."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class CaseReport:
    """What became of a case.

    Attributes:
        name: of the case.
        status: ``"done"``, ``"skipped"`` (finished before) or ``"failed"``.
        seconds: of preprocessing, network, resampling and export.
        tiles: of the sliding window.
        constant_tiles: that were answered from memory.
        notes: what a reader should know.
        reason: why it failed.
        remedy: what to do.
        peak_memory_mib: while it was worked on, of the process that preprocesses and of the one with the
            network (:class:`~nnunet_ext.inference.memory.PeakMemory`); None where unknown.
    """

    name: str
    status: str
    seconds: dict[str, float] = field(default_factory=dict)
    tiles: int = 0
    constant_tiles: int = 0
    notes: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""
    peak_memory_mib: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class RunReport:
    """What became of a run.

    Attributes:
        cases: in order of their names.
        seconds: of the whole run, without loading the model.
        peak_memory_mib: of the process with the network and of the one that preprocesses; None where unknown.
        settings: what the results come from.
    """

    cases: tuple[CaseReport, ...]
    seconds: float
    peak_memory_mib: dict[str, float | None]
    settings: dict[str, Any]

    @property
    def failed(self) -> tuple[CaseReport, ...]:
        """Cases without a result."""
        return tuple(case for case in self.cases if case.status == "failed")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
