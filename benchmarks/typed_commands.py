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
from nnunet_ext.trainers.precision import VARIABLE
from nnunet_ext.trainers.registry import hook_folder

from nnunet_ext.commands import CPU_SETTINGS
from nnunet_ext.files import whole_file, write_text
from nnunet_ext.phantoms.phantom import Patient
from nnunet_ext.precision import cpu_computes_bfloat16

SHOWN_LINES = 30  # of the log of a command that failed
Box = tuple[slice, ...]
WHOLE: Box = (slice(None),) * 3


@dataclass(frozen=True)
class Work:
    """Folder of one benchmark.

    Attributes:
        folder: for everything.
        number: of the dataset.
        name: of the dataset.
        one_precision: vanilla trainers compute in bfloat16, too, where ours do.
        image_by_image: each image is predicted by a command of its own. Where a run is cut off, the times of
            those that were finished are kept; small images take less time than a command's start.
    """

    folder: Path
    number: int
    name: str
    one_precision: bool = False
    image_by_image: bool = True

    def environment(self) -> dict[str, str]:
        """nnU-Net's folders here, our trainers, and the settings for computing on a CPU."""
        folders = {f"nnUNet_{name}": str(self.folder / name) for name in ("raw", "preprocessed", "results")}
        precision = {VARIABLE: "1" if cpu_computes_bfloat16() else "0"} if self.one_precision else {}
        return {
            **precision,
            **os.environ,
            **CPU_SETTINGS,
            **folders,
            "nnUNet_extTrainer": str(hook_folder()),
            "nnUNet_n_proc_DA": "2",
            "nnUNet_def_n_proc": "2",
        }

    def require_same(self, settings: Mapping[str, Any]) -> None:
        """Go on with what is in the folder only if it was begun with the same settings."""
        file, now = self.folder / "settings.json", json.loads(json.dumps(dict(settings), default=str))
        before = json.loads(file.read_text()) if file.is_file() else now
        if before != now:
            changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            raise SystemExit(
                f"{self.folder} was begun with another {', '.join(changed)} ({before}): take another folder"
            )
        write_text(file, json.dumps(now, indent=1) + "\n")

    def once(self, name: str, *words: Any) -> None:
        """Run a command into a log, unless it has ended well before."""
        done = self.folder / "done" / name
        if done.exists():
            return
        done.parent.mkdir(parents=True, exist_ok=True)
        print("+", *words, file=sys.stderr, flush=True)
        begin, log = time.perf_counter(), done.with_name(f"{name}.log")
        with log.open("a") as sink:
            command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
            code = subprocess.run(
                command, env=self.environment(), stdout=sink, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])
            raise SystemExit(f"{' '.join(map(str, words))} ended with {code}; the end of {log}:\n{end}")
        write_text(done, f"{time.perf_counter() - begin:.1f}")

    def write_case(self, patient: Patient, case: str, *, train: bool, box: Box = WHOLE) -> None:
        """A phantom, or a box of it, as nnU-Net's raw training case, or as a test image and its reference."""

        def image_of(array: Any) -> sitk.Image:
            image = sitk.GetImageFromArray(np.ascontiguousarray(array[box]))
            image.SetSpacing([float(s) for s in reversed(patient.channels[0].spacing_mm)])
            return image

        images = [image_of(channel.image) for channel in patient.channels]
        self.write_images(images, image_of(patient.label), case, train=train)

    def write_images(
        self, images: Sequence[sitk.Image], label: sitk.Image, case: str, *, train: bool
    ) -> None:
        """A case; its label map comes last, so that a case that has one is whole."""
        raw = self.folder / "raw" / self.name
        folders = (
            (raw / "imagesTr", raw / "labelsTr")
            if train
            else (self.folder / "images", self.folder / "references")
        )
        files = {folders[0] / f"{case}_{n:04}.nii.gz": image for n, image in enumerate(images)}
        files[folders[1] / f"{case}.nii.gz"] = label
        for file, image in files.items():
            with whole_file(file, staging=self.folder / "writing") as temporary:
                sitk.WriteImage(image, str(temporary))

    def has_case(self, case: str) -> bool:
        """Whether it was written before."""
        folders = (self.folder / "raw" / self.name / "labelsTr", self.folder / "references")
        return any((folder / f"{case}.nii.gz").is_file() for folder in folders)

    def describe(
        self,
        *,
        channels: Sequence[str],
        labels: Mapping[str, int],
        cases: Sequence[str],
        splits: Sequence[Mapping[str, Sequence[str]]] | None = None,
    ) -> None:
        """``dataset.json`` and the folds; two, where none are given, each of one half of the cases."""
        raw = self.folder / "raw" / self.name
        description = {
            "channel_names": dict(enumerate(channels)),
            "labels": dict(labels),
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
        }
        (raw / "dataset.json").write_text(json.dumps(description))
        halves = [{"train": list(cases[1 - f :: 2]), "val": list(cases[f::2])} for f in (0, 1)]
        (raw / "splits_final.json").write_text(json.dumps(halves if splits is None else list(splits)))

    def plan(self, plans: str, *options: Any) -> None:
        """``nnunet_ext plan``, which never writes over plans that are there."""
        if not (self.folder / "preprocessed" / self.name / f"{plans}.json").is_file():
            self.once(f"plan-{plans}", "nnunet_ext", "plan", self.number, *options, "--plans-name", plans)

    def preprocess(self, plans: str, *configurations: str) -> None:
        """The data of configurations; what several share once."""
        content = json.loads((self.folder / "preprocessed" / self.name / f"{plans}.json").read_text())
        for configuration in configurations:
            data = content["configurations"][configuration]["data_identifier"]
            options = ("-d", self.number, "-plans_name", plans, "-c", configuration, "-np", 1)
            self.once(f"preprocess-{data}", "nnUNetv2_preprocess", *options)

    def model(self, trainer: str, plans: str, configuration: str) -> Path:
        """Folder of a model."""
        return self.folder / "results" / self.name / f"{trainer}__{plans}__{configuration}"

    def train(self, trainer: str, plans: str, configuration: str, fold: int | str, *options: Any) -> None:
        """Train a fold, going on where it was interrupted."""
        command = ("nnUNetv2_train", self.number, configuration, fold, "-p", plans, "-tr", trainer)
        folder = self.model(trainer, plans, configuration) / f"fold_{fold}"
        more = ("--c",) if any(folder.glob("checkpoint_*.pth")) else ()
        name = f"train-{self.number}-{trainer}-{plans}-{configuration}-{fold}"
        self.once(name, *command, "-device", "cpu", *options, *more)

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
        name = way_name(way)
        model = self.model(trainer, plans, configuration)
        out, scores = self.folder / "predicted" / name, self.folder / "scores" / name
        options = ("-m", model, "-f", fold, "--device", "cpu", "--threads", 2, "--no-pbar", "--overwrite")
        reported: list[dict[str, Any]] = []
        for part, images in self._images().items():
            report = self.folder / "reports" / f"{name}{part}.json"
            typed = ("nnunet_ext", "predict", "-i", *images, "-o", out, *options, "--report", report, *more)
            self.once(f"predict-{name}{part}", *typed)
            reported += json.loads(report.read_text())["cases"]
        judged = ("nnunet_ext", "evaluate", out, self.folder / "references", "--tubular", "--json", scores)
        self.once(f"evaluate-{name}", *judged)
        return {"report": {"cases": reported}, "scores": json.loads(scores.read_text())}

    def _images(self) -> dict[str, list[Path]]:
        """What each command predicts, by the end of its name."""
        folder = self.folder / "images"
        if not self.image_by_image:
            return {"": [folder]}
        references = sorted((self.folder / "references").glob("*.nii.gz"))
        cases = [file.name.removesuffix(".nii.gz") for file in references]
        return {f"-{case}": sorted(folder.glob(f"{case}_????.nii.gz")) for case in cases}


def way_name(way: str) -> str:
    """Of files: what stands before a bracket.

    Example:
        >>> way_name("direct (coarse alone)")
        'direct'
    """
    return way.split(" (")[0].replace(" ", "-").replace(",", "")


def seconds_a_case(result: Mapping[str, Any]) -> str:
    """Mean seconds a case and their parts, and tiles, of what :meth:`Work.predict` gave."""
    cases = result["report"]["cases"]
    parts = {part: np.mean([c["seconds"].get(part, 0.0) for c in cases]) for part in cases[0]["seconds"]}
    shown = ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items())
    tiles = np.mean([case["tiles"] for case in cases])
    return f"{tiles:>8.0f}   {sum(parts.values()):.1f} ({shown})"


def shown_number(value: float | None, width: int, digits: int = 4) -> str:
    """A number in a column, or a dash where there is none.

    Example:
        >>> shown_number(None, 6), shown_number(0.5, 6, 2)
        ('     -', '  0.50')
    """
    return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"


def print_machine() -> None:
    """One line."""
    versions = "".join(f", {name} {importlib.metadata.version(name)}" for name in ("nnunetv2", "torch"))
    precision = "bfloat16" if cpu_computes_bfloat16() else "float32"
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores{versions}; training of our "
        f"trainers in {os.environ.get(VARIABLE) or precision}, prediction in float32"
    )
