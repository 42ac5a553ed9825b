"""The folder of a longer job: where its steps keep what they make, and which of them are finished."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_ext.files import write_text

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workplace:
    """Where a job keeps everything it makes.

    Attributes:
        root: folder of the job; nothing is written outside it.
    """

    root: Path

    @property
    def raw(self) -> Path:
        """nnU-Net's raw datasets."""
        return self.root / "nnUNet_raw"

    @property
    def preprocessed(self) -> Path:
        """nnU-Net's preprocessed datasets."""
        return self.root / "nnUNet_preprocessed"

    @property
    def results(self) -> Path:
        """nnU-Net's trained models."""
        return self.root / "nnUNet_results"

    @property
    def predictions(self) -> Path:
        """Segmentations of the unseen cases."""
        return self.root / "predictions"

    @property
    def patients(self) -> Path:
        """Patients as their clinic keeps them."""
        return self.root / "patients"

    @property
    def keys(self) -> Path:
        """Which case is which patient."""
        return self.root / "keys"

    @property
    def structures(self) -> Path:
        """Segmentations as RTSTRUCT."""
        return self.root / "structures"

    @property
    def logs(self) -> Path:
        """One log file a step."""
        return self.root / "logs"

    @property
    def markers(self) -> Path:
        """One marker file a finished step."""
        return self.root / "finished_steps"

    def is_finished(self, step: str) -> bool:
        """True if ``step`` ended well in this or an earlier run."""
        return (self.markers / f"{step}.json").is_file()

    def mark_finished(self, step: str, *, seconds: float) -> None:
        """Remember that ``step`` ended well."""
        write_json(self.markers / f"{step}.json", {"step": step, "seconds": round(seconds, 1)})

    def clear(self) -> None:
        """Remove what the job made, and nothing else that may lie in its folder."""
        # Markers first: an interrupted removal must not look finished.
        nnunet = (self.predictions, self.results, self.preprocessed, self.raw)
        for folder in (self.markers, self.structures, *nnunet, self.keys, self.patients, self.logs):
            if folder.is_dir():
                shutil.rmtree(folder)

    def run_once(self, step: str, *, work: Callable[[], None], say: Say) -> None:
        """Do ``work`` unless an earlier run finished it, and say how long it took."""
        if self.is_finished(step):
            say("  finished by an earlier run")
            return
        start = time.monotonic()
        work()
        seconds = time.monotonic() - start
        self.mark_finished(step, seconds=seconds)
        say(f"  done in {seconds:.0f} s")

    def seconds(self) -> dict[str, float]:
        """Duration of each finished step, in the order in which they ended."""
        files = sorted(self.markers.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        records = [json.loads(path.read_text(encoding="utf-8")) for path in files]
        return {record["step"]: float(record["seconds"]) for record in records}


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write ``content`` as JSON; ``path`` appears only when it is whole."""
    write_text(path, json.dumps(content, indent=2) + "\n")
