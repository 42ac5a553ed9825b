"""Paper 001's table of interactions on any dataset: plain, +AG, +PAB, +SCN, +synthetic CT, and pairs of them.

    python benchmarks/refine_interactions.py DATASET --out FOLDER [--mixed DATASET2] [--budget 100epochs]

Needs a dataset that is planned and preprocessed (``nnUNetv2_plan_and_preprocess -d DATASET -c 3d_fullres``)
and nnU-Net's environment variables: MM-WHS of a hospital, or the phantoms that ``benchmarks/refine_heart.py
WORK`` leaves (``export nnUNet_raw=WORK/raw nnUNet_preprocessed=WORK/preprocessed
nnUNet_results=WORK/results``). DATASET2 is the same one with synthetic cases in its training folds
(``nnunet_ext translate mix``), preprocessed with the same plans.

All four networks are one, with plugs left out (``nnUNetTrainerMAUNet_..._NoAG_NoPAB`` and so on), at one
budget, through ``nnUNetv2_train --npz`` on every fold; SCN is ``nnunet_ext refine train`` on each. Every
number is of validation cases by networks and refiners that were not trained on them: +SCN is the refiner's
held-out table. Prints mean Dice over structures and cases, and for every row the paired difference from the
plain network with its 95 % bootstrap interval. What is finished is not run again; what was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nnunet_ext.trainers.registry import hook_folder
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from typed_commands import print_machine

from nnunet_ext.commands import CPU_SETTINGS
from nnunet_ext.evaluation.statistics import compare

# What is in the network, by what is left out of its name.
NETWORKS = {"plain": "_NoAG_NoPAB", "+AG": "_NoPAB", "+PAB": "_NoAG", "+AG +PAB": ""}
Scores = dict[str, float]


@dataclass(frozen=True)
class Bench:
    """What all trainings share."""

    configuration: str
    plans: str
    budget: str
    device: str
    iterations: int
    out: Path

    def run(self, name: str, *words: object) -> None:
        """A command, into a log."""
        self.out.mkdir(parents=True, exist_ok=True)
        print("+", *words, file=sys.stderr, flush=True)
        command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
        hooks = [os.environ.get("nnUNet_extTrainer", ""), str(hook_folder())]
        settings = CPU_SETTINGS if self.device == "cpu" else {}
        environment = {
            **os.environ,
            **settings,
            "nnUNet_extTrainer": os.pathsep.join(h for h in hooks if h),
        }
        with (self.out / f"{name}.log").open("w") as log:
            subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)

    def scores(self, dataset: str, left_out: str) -> tuple[Scores, Scores]:
        """Mean Dice of each validation case: of the network, and refined."""
        trainer = f"nnUNetTrainerMAUNet_{self.budget}{left_out}"
        results = Path(os.environ["nnUNet_results"]) / dataset
        model = results / f"{trainer}__{self.plans}__{self.configuration}"
        splits = json.loads(
            (Path(os.environ["nnUNet_preprocessed"]) / dataset / "splits_final.json").read_text()
        )
        for fold, split in enumerate(splits):
            self._train(model, dataset, trainer, fold, split["val"])
        named = ("-c", self.configuration, "-tr", trainer, "-p", self.plans, "--device", self.device)
        options = ("--iterations", self.iterations, "--no-pbar")
        if not (model / "refiner" / "refiner.json").is_file():
            words = ("nnunet_ext", "refine", "train", dataset, *named, *options)
            self.run(f"{dataset}-{trainer}-refine", *words)
        cases = json.loads((model / "refiner" / "refiner.json").read_text())["held_out"]["cases"]
        before, after = (
            {case["name"]: mean_dice(case[when]) for case in cases} for when in ("before", "unsure")
        )
        return before, after

    def _train(self, model: Path, dataset: str, trainer: str, fold: int, validation: list[str]) -> None:
        folder = model / f"fold_{fold}"
        if all((folder / "validation" / f"{case}.npz").is_file() for case in validation):
            return
        words = [
            "nnUNetv2_train",
            dataset,
            self.configuration,
            fold,
            "-tr",
            trainer,
            "-p",
            self.plans,
            "--npz",
        ]
        if (folder / "checkpoint_final.pth").is_file():
            words.append("--val")
        elif any(folder.glob("checkpoint_*.pth")):
            words.append("--c")
        self.run(f"{dataset}-{trainer}-{fold}", *words, "-device", self.device)


def mean_dice(structures: dict[str, float | None]) -> float:
    """Over the structures that are there."""
    return float(np.mean([dice for dice in structures.values() if dice is not None]))


def main() -> None:
    """Train what is left to train, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="number or name")
    parser.add_argument("--mixed", help="the same dataset with synthetic cases in its training folds")
    parser.add_argument("-c", dest="configuration", default="3d_fullres")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans")
    parser.add_argument("--budget", default="100epochs", help="of every network (100epochs)")
    parser.add_argument("--refiner-iterations", type=int, default=1000, help="of each training (1000)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, required=True, help="for logs")
    args = parser.parse_args()
    bench = Bench(args.configuration, args.plans, args.budget, args.device, args.refiner_iterations, args.out)
    rows: dict[str, Scores] = {}
    for suffix, dataset in (("", args.dataset), (" +synthetic", args.mixed)):
        if dataset is None:
            continue
        for name, left_out in NETWORKS.items():
            before, after = bench.scores(maybe_convert_to_dataset_name(dataset), left_out)
            rows[f"{name}{suffix}"], rows[f"{name} +SCN{suffix}"] = before, after
    print_machine()
    cases = sorted(set.intersection(*(set(row) for row in rows.values())))
    plain = np.array([rows["plain"][case] for case in cases])
    print(f"{len(cases)} cases\n{'':<32}{'Dice':>8}{'difference':>12}{'95 % interval':>20}  verdict")
    for name, row in rows.items():
        values = np.array([row[case] for case in cases])
        found = compare(values, plain)
        interval = f"{found.interval[0]:+.4f} {found.interval[1]:+.4f}"
        print(f"{name:<32}{values.mean():>8.4f}{found.difference:>+12.4f}{interval:>20}  {found.verdict}")


if __name__ == "__main__":
    main()
