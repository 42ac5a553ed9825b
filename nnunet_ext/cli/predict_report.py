"""What the verb predict says of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.inference.report import RunReport


def described(report: RunReport, *, device: str) -> dict[str, Any]:
    """The report as plain values, with what it was computed with."""
    from importlib.metadata import version

    import torch

    import nnunet_ext

    return {
        **report.as_dict(),
        "versions": {
            "nnunet_ext": nnunet_ext.__version__,
            "nnunetv2": version("nnunetv2"),
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        },
        "device": device,
        "threads": torch.get_num_threads(),
    }


def summary(report: RunReport, output: Path) -> str:
    """The report as lines, one a case."""
    lines = []
    for case in report.cases:
        if case.status == "done":
            times = ", ".join(f"{part} {value:.1f} s" for part, value in case.seconds.items())
            tiles = f"{case.tiles} tiles, {case.constant_tiles} of them constant"
            held = [f"{part} {mib:.0f} MiB" for part, mib in case.peak_memory_mib.items() if mib is not None]
            memory = f"; peak memory {', '.join(held)}" if held else ""
            lines.append(f"{case.name}: {times}; {tiles}{memory}")
        elif case.status == "skipped":
            lines.append(f"{case.name}: finished before")
        else:
            lines.append(f"{case.name}: FAILED: {case.reason}; {case.remedy}")
        lines.extend(f"  {note}" for note in case.notes)
    done = sum(case.status != "failed" for case in report.cases)
    lines.append(f"{done} of {len(report.cases)} cases are in {output}")
    return "\n".join(lines)
