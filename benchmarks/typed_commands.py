"""What long benchmarks share: commands that a user types, each run once, in one folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nnunet_ext.trainers.registry import hook_folder

from nnunet_ext.commands import CPU_SETTINGS
from nnunet_ext.phantoms.phantom import Patient


@dataclass(frozen=True)
class Work:
    """Folder of one benchmark.

    Attributes:
        folder: for everything.
        number: of the dataset.
        name: of the dataset.
    """

    folder: Path
    number: int
    name: str

    def environment(self) -> dict[str, str]:
        """nnU-Net's folders here, our trainers, and the settings for computing on a CPU."""
        folders = {f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")}
        return {
            **os.environ,
            **CPU_SETTINGS,
            **folders,
            "nnUNet_extTrainer": str(hook_folder()),
            "nnUNet_n_proc_DA": "2",
            "nnUNet_def_n_proc": "2",
        }

    def once(self, name: str, *words: Any) -> None:
        """Run a command into a log, unless it has ended well before."""
        done = self.folder / "done" / name
        if done.exists():
            return
        done.parent.mkdir(parents=True, exist_ok=True)
        print("+", *words, file=sys.stderr, flush=True)
        begin = time.perf_counter()
        with done.with_suffix(".log").open("w") as log:
            command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
            subprocess.run(command, env=self.environment(), stdout=log, stderr=subprocess.STDOUT, check=True)
        done.write_text(f"{time.perf_counter() - begin:.1f}")

    def write_case(self, patient: Patient, case: str, *, train: bool) -> None:
        """A phantom as nnU-Net's raw training case, or as a test image and its reference."""
        raw = self.folder / "raw" / self.name
        images = raw / "imagesTr" if train else self.folder / "images"
        labels = raw / "labelsTr" if train else self.folder / "references"
        arrays = {images / f"{case}_{n:04}.nii.gz": c.image for n, c in enumerate(patient.channels)}
        arrays[labels / f"{case}.nii.gz"] = patient.label
        for file, array in arrays.items():
            image = sitk.GetImageFromArray(array)
            image.SetSpacing([float(s) for s in reversed(patient.channels[0].spacing_mm)])
            file.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(file))

    def describe(self, *, channels: Sequence[str], labels: Mapping[str, int], cases: Sequence[str]) -> None:
        """``dataset.json``, and two folds: the fine stage needs coarse predictions of both."""
        raw = self.folder / "raw" / self.name
        description = {
            "channel_names": dict(enumerate(channels)),
            "labels": dict(labels),
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
        }
        (raw / "dataset.json").write_text(json.dumps(description))
        splits = [{"train": list(cases[1 - f :: 2]), "val": list(cases[f::2])} for f in (0, 1)]
        (raw / "splits_final.json").write_text(json.dumps(splits))

    def preprocess(self, plans: str, *configurations: str) -> None:
        """The data of configurations; what several share once."""
        content = json.loads((self.folder / "preprocessed" / self.name / f"{plans}.json").read_text())
        for configuration in configurations:
            data = content["configurations"][configuration]["data_identifier"]
            options = ("-d", self.number, "-plans_name", plans, "-c", configuration, "-np", 1)
            self.once(f"preprocess-{data}", "nnUNetv2_preprocess", *options)

    def train(self, trainer: str, plans: str, configuration: str, fold: int | str) -> None:
        """Train a fold, going on where it was interrupted."""
        command = ("nnUNetv2_train", self.number, configuration, fold, "-p", plans, "-tr", trainer)
        model = self.folder / "results" / self.name / f"{trainer}__{plans}__{configuration}" / f"fold_{fold}"
        more = ("--c",) if any(model.glob("checkpoint_*.pth")) else ()
        name = f"train-{self.number}-{trainer}-{plans}-{configuration}-{fold}"
        self.once(name, *command, "-device", "cpu", *more)

    def predict(
        self,
        way: str,
        *,
        trainer: str,
        plans: str,
        configuration: str,
        fold: int | str = 0,
        more: Sequence[Any] = (),
    ) -> dict[str, Any]:
        """Predict the test images with one fold and evaluate them: report and scores."""
        name = way.split(" (")[0].replace(" ", "-")
        out, report, scores = (self.folder / kind / name for kind in ("predicted", "reports", "scores"))
        for file in (report, scores):
            file.parent.mkdir(exist_ok=True)
        model = self.folder / "results" / self.name / f"{trainer}__{plans}__{configuration}"
        options = ("-f", fold, "--device", "cpu", "--threads", 2, "--report", report, "--no-pbar", *more)
        images = self.folder / "images"
        self.once(f"predict-{name}", "nnunet_ext", "predict", "-i", images, "-o", out, "-m", model, *options)
        judged = ("nnunet_ext", "evaluate", out, self.folder / "references", "--tubular", "--json", scores)
        self.once(f"evaluate-{name}", *judged)
        return {"report": json.loads(report.read_text()), "scores": json.loads(scores.read_text())}


def seconds_a_case(result: Mapping[str, Any]) -> str:
    """Mean seconds a case and their parts, and tiles, of what :meth:`Work.predict` gave."""
    cases = result["report"]["cases"]
    parts = {part: np.mean([c["seconds"].get(part, 0.0) for c in cases]) for part in cases[0]["seconds"]}
    shown = ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items())
    tiles = np.mean([case["tiles"] for case in cases])
    return f"{tiles:>8.0f}   {sum(parts.values()):.1f} ({shown})"


def print_machine() -> None:
    """One line."""
    versions = "".join(f", {name} {importlib.metadata.version(name)}" for name in ("nnunetv2", "torch"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores{versions}")
