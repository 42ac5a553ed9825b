"""What benchmarks of the refiner share: a first network's folds, refiners on them, and tables of both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typed_commands import Work, print_machine

from nnunet_ext.evaluation.statistics import compare, corrected
from nnunet_ext.refinement.held_out import Table

CONFIGURATION = "3d_fullres"
METRICS = {"Dice": True, "HD95 mm": False, "WHS": True}  # name, and whether higher is better


@dataclass(frozen=True)
class Row:
    """Predictions and what they came from.

    Attributes:
        name: of the row.
        source: name of the predictions that were refined or postprocessed.
        more: options of ``refine apply``; None for nnU-Net's connected components.
        local_grid: of the refiner.
    """

    name: str
    source: str
    more: tuple[str, ...] | None
    local_grid: int = 1


FORCED = ("--force-refiner",)
# Of the first network's own predictions.
FIRST = (
    Row("first, as it decides", "first", ()),
    Row("first, refined", "first", FORCED),
    Row("first, refined everywhere", "first", (*FORCED, "--everywhere")),
    Row("first, local grid 2", "first", FORCED, local_grid=2),
    Row("first, components", "first", None),
)
LOCAL_GRIDS = sorted({row.local_grid for row in FIRST})


class RefinedModel:
    """A first network in two folds, its refiners, and what they make of predictions.

    Args:
        work: folder of the benchmark.
        trainer: of the first network.
        plans: of the first network.
    """

    def __init__(self, work: Work, *, trainer: str, plans: str) -> None:
        self.work = work
        self.trainer = trainer
        self.plans = plans
        self.model = work.model(trainer, plans, CONFIGURATION)
        self.predictions = work.folder / "predicted"

    def train(self, *, iterations: int) -> None:
        """Both folds with their probabilities, a refiner for each local grid, and the test images."""
        work = self.work
        for fold in (0, 1):
            work.train(self.trainer, self.plans, CONFIGURATION, fold, "--npz")
        named = ("-c", CONFIGURATION, "-tr", self.trainer, "-p", self.plans, "--no-pbar")
        for grid in LOCAL_GRIDS:
            options = ("--iterations", iterations, "--local-grid", grid, "--out", self.refiner(grid))
            work.once(f"refine-train-{grid}", "nnunet_ext", "refine", "train", work.number, *named, *options)
        folders = ("-i", work.folder / "images", "-o", self.predictions / "first", "-m", self.model)
        work.once(
            "predict-first",
            *("nnunet_ext", "predict", *folders, "--save-probabilities", "--device", "cpu", "--no-pbar"),
        )

    def refiner(self, local_grid: int) -> Path:
        """Its folder."""
        return self.work.folder / f"refiner-{local_grid}"

    def refine(self, rows: Sequence[Row]) -> None:
        """Every row's predictions."""
        for row in rows:
            if row.more is None:
                self._components(row)
                continue
            folders = (self.predictions / row.source, "-o", self.predictions / slug(row.name))
            refiner = ("--refiner", self.refiner(row.local_grid), "--no-pbar", *row.more)
            self.work.once(f"apply-{slug(row.name)}", "nnunet_ext", "refine", "apply", *folders, *refiner)

    def _components(self, row: Row) -> None:
        """nnU-Net's decision about connected components, on the same out-of-fold predictions."""
        gathered, work = self.work.folder / "out-of-fold", self.work
        named = ("-c", CONFIGURATION, "-tr", self.trainer, "-p", self.plans, "-f", 0, 1)
        plans = ("-plans_json", self.model / "plans.json", "-dataset_json", self.model / "dataset.json")
        references = work.folder / "preprocessed" / work.name / "gt_segmentations"
        if not (work.folder / "done" / "gather").exists():  # it refuses a folder that is there
            shutil.rmtree(gathered, ignore_errors=True)
        gather = ("nnUNetv2_accumulate_crossval_results", work.number, *named, "-o", gathered)
        work.once("gather", *gather)
        decide = ("nnUNetv2_determine_postprocessing", "-i", gathered, "-ref", references, *plans, "-np", 2)
        work.once("decide-components", *decide)
        folders = ("-i", self.predictions / row.source, "-o", self.predictions / slug(row.name))
        options = ("-pp_pkl_file", gathered / "postprocessing.pkl", "-np", 2, *plans)
        work.once(f"apply-{slug(row.name)}", "nnUNetv2_apply_postprocessing", *folders, *options)

    def scores(self, name: str) -> dict[str, dict[str, float]]:
        """Of each case: Dice and HD95 over structures, Dice of each structure, and WHS."""
        file = self.work.folder / "scores" / f"{slug(name)}.json"
        file.parent.mkdir(exist_ok=True)
        folders = (self.predictions / slug(name), self.work.folder / "references")
        options = ("--dataset-json", self.model / "dataset.json", "--json", file)
        self.work.once(f"evaluate-{slug(name)}", "nnunet_ext", "evaluate", *folders, *options)
        found = {}
        for case in json.loads(file.read_text())["metric_per_case"]:
            structures: Mapping[str, Mapping[str, Any]] = case["metrics"]
            found[case["case"]] = {
                "Dice": _mean([s["Dice"] for s in structures.values()]),
                "HD95 mm": _mean([s["hd95_mm"] for s in structures.values()]),
                "WHS": float(case["pooled"]["Dice"]),
                **{f"Dice {key}": _mean([s["Dice"]]) for key, s in structures.items()},
            }
        return found

    def changed_voxels(self, name: str) -> float | None:
        """Mean over cases, of a row that a refiner made."""
        file = self.predictions / slug(name) / "refinement_ext.json"
        if not file.is_file():
            return None
        cases = json.loads(file.read_text())["cases"]
        return float(np.mean([case["changes"]["voxels"] for case in cases if case["changes"]]))

    def print_held_out(self) -> None:
        """What ``refine train`` found, and how long it took."""
        for grid in LOCAL_GRIDS:
            content = json.loads((self.refiner(grid) / "refiner.json").read_text())
            seconds = (self.work.folder / "done" / f"refine-train-{grid}").read_text()
            threshold = content["unsure_below"]
            print(f"\nlocal grid {grid}: trained in {float(seconds):.0f} s, unsure below {threshold}")
            for way in ("unsure", "everywhere"):
                table = Table.from_dict({k: v for k, v in content["held_out"][way].items() if k != "gains"})
                print(f"held-out cases, {way}: {'gains' if table.gains else 'does not gain'}")
                print("\n".join(table.lines()))

    def print_table(self, rows: Sequence[Row]) -> None:
        """One line for each row, with its difference from the predictions that it came from."""
        print_machine()
        scores = {name: self.scores(name) for row in rows for name in (row.source, row.name)}
        for metric, higher in METRICS.items():
            compared = corrected(
                [
                    compare(
                        *(_column(scores[name], metric) for name in (row.name, row.source)),
                        metric=metric,
                        structure="all",
                        higher_is_better=higher,
                    )
                    for row in rows
                ]
            )
            print(f"\n{metric:<34}{'mean':>9}{'difference':>12}{'95 % interval':>22}{'voxels':>8}  verdict")
            shown: set[str] = set()
            for row, found in zip(rows, compared, strict=True):
                if row.source not in shown:
                    print(f"{row.source:<34}{np.nanmean(_column(scores[row.source], metric)):>9.4f}")
                    shown.add(row.source)
                low, high = found.interval
                voxels = self.changed_voxels(row.name)
                print(
                    f"{row.name:<34}{np.nanmean(_column(scores[row.name], metric)):>9.4f}"
                    f"{found.difference:>+12.4f}{f'{low:+.4f} {high:+.4f}':>22}"
                    f"{'-' if voxels is None else format(voxels, '.0f'):>8}  {found.verdict}"
                )
        print("\nlargest loss of a structure's Dice in a case")
        for row in rows:
            print(f"{row.name:<34}{largest_loss(scores[row.source], scores[row.name]):>9.4f}")


def largest_loss(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> float:
    """Of any structure in any case; 0 where none fell.

    Example:
        >>> largest_loss({"a": {"Dice 1": 0.9, "Dice": 0.9}}, {"a": {"Dice 1": 0.8, "Dice": 0.1}})
        0.1
    """
    losses = [
        case[name] - after[key][name]
        for key, case in before.items()
        for name in case
        if name.startswith("Dice ") and np.isfinite([case[name], after[key][name]]).all()
    ]
    return round(max(0.0, *losses), 6)


def slug(name: str) -> str:
    """For file names.

    Example:
        >>> slug("first, refined")
        'first-refined'
    """
    return name.replace(", ", "-").replace(" ", "-")


def _mean(values: Sequence[float | None]) -> float:
    """Of those that there are; nan where there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _column(scores: Mapping[str, Mapping[str, float]], metric: str) -> Any:
    return np.array([[case[metric]] for _, case in sorted(scores.items())])
