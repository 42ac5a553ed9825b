"""The refiner on whole-heart phantoms: what it mends, what it leaves alone, and what it breaks.

    python benchmarks/refine_heart.py WORK [--cases 16] [--test-cases 12] [--size-vox 56 64 64] [--budget ...]

A first network (nnU-Net's own trainer, a small budget, two folds) on CT phantoms whose chambers have one
signal; a refiner on its out-of-fold errors; then, on phantoms that nobody has trained on:

- first: the first network, both folds; refined where it was unsure, and everywhere; nnU-Net's own connected
  components (nnUNetv2_determine_postprocessing on the same out-of-fold predictions);
- planted: the same probabilities with left and right chambers exchanged in a part, and with islands; refined,
  and connected components;
- perfect: probabilities of a network that is right everywhere, softened at borders; refined with
  --force-refiner: nothing should change by more than 0.002 Dice.

All through commands that a user types; what is finished is not run again. Prints mean Dice and HD95 over
structures and the pooled WHS Dice, with the paired difference from the unrefined predictions and its 95 %
bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from typed_commands import Work, print_machine

from nnunet_ext.evaluation.statistics import compare
from nnunet_ext.phantoms.whole_heart import LABELS, make_whole_heart
from nnunet_ext.refinement.corruption import Anatomy, swapped_look_alikes, with_island

CONFIGURATION, PLANS = "3d_fullres", "nnUNetPlans"
LOOK_ALIKES = (("LA", "RA"), ("LV", "RV"))
# What belongs to which predictions: name, the unrefined one, options of apply or the postprocessing.
REFINED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "first, refined": ("first", ("--force-refiner",)),
    "first, refined everywhere": ("first", ("--force-refiner", "--everywhere")),
    "planted, refined": ("planted", ("--force-refiner",)),
    "planted, refined everywhere": ("planted", ("--force-refiner", "--everywhere")),
    "perfect, refined": ("perfect", ("--force-refiner",)),
}
COMPONENTS = {"first, components": "first", "planted, components": "planted"}


class Heart:
    """The benchmark in its folder."""

    def __init__(self, work: Work, budget: str) -> None:
        self.work = work
        self.trainer = f"nnUNetTrainer_{budget}_NoMirroring"
        self.model = work.folder / "results" / work.name / f"{self.trainer}__{PLANS}__{CONFIGURATION}"
        self.preprocessed = work.folder / "preprocessed" / work.name
        self.predictions = work.folder / "predicted"

    def write_phantoms(self, *, cases: int, test_cases: int, size_vox: Sequence[int]) -> None:
        """Training and test cases; those that are there are kept."""
        names = [f"heart_{seed}" for seed in range(cases + test_cases)]
        for seed, name in enumerate(names):
            if not any(self.work.folder.glob(f"**/{name}.nii.gz")):
                print(f"phantom {seed}", file=sys.stderr, flush=True)
                patient = make_whole_heart(seed=seed, size_vox=size_vox)
                self.work.write_case(patient, name, train=seed < cases)
        self.work.describe(channels=["CT"], labels=LABELS, cases=names[:cases])

    def train(self, refiner_iterations: int) -> None:
        """The first network's two folds with their probabilities, and the refiner."""
        work = self.work
        work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
        work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number)
        work.preprocess(PLANS, CONFIGURATION)
        for fold in (0, 1):
            command = ("nnUNetv2_train", work.number, CONFIGURATION, fold, "-tr", self.trainer, "--npz")
            more = ("--c",) if any((self.model / f"fold_{fold}").glob("checkpoint_*.pth")) else ()
            work.once(f"train-{fold}", *command, "-device", "cpu", *more)
        named = ("-c", CONFIGURATION, "-tr", self.trainer, "--iterations", refiner_iterations)
        work.once("refine-train", "nnunet_ext", "refine", "train", work.number, *named, "--no-pbar")

    def predict(self) -> None:
        """All predictions of the test images."""
        first = ("-i", self.work.folder / "images", "-o", self.predictions / "first", "-m", self.model)
        options = ("--save-probabilities", "--device", "cpu", "--no-pbar")
        self.work.once("predict-first", "nnunet_ext", "predict", *first, *options)
        for name, make in (("planted", planted), ("perfect", perfect)):
            self._once(f"make-{name}", lambda name=name, make=make: self._made(name, make))
        for name, (source, more) in REFINED.items():
            folders = (self.predictions / source, "-o", self.predictions / slug(name))
            refiner = ("--refiner", self.model / "refiner", "--no-pbar", *more)
            self.work.once(f"apply-{slug(name)}", "nnunet_ext", "refine", "apply", *folders, *refiner)
        self._components()

    def _components(self) -> None:
        """nnU-Net's decision about connected components, on the same out-of-fold predictions."""
        gathered = self.work.folder / "out-of-fold"
        named = ("-c", CONFIGURATION, "-tr", self.trainer, "-p", PLANS, "-f", 0, 1)
        gather = ("nnUNetv2_accumulate_crossval_results", self.work.number, *named, "-o", gathered)
        self.work.once("gather", *gather)
        references = ("-ref", self.preprocessed / "gt_segmentations")
        plans = ("-plans_json", self.model / "plans.json", "-dataset_json", self.model / "dataset.json")
        decide = ("nnUNetv2_determine_postprocessing", "-i", gathered, *references, *plans, "-np", 2)
        self.work.once("decide-components", *decide)
        for name, source in COMPONENTS.items():
            folders = ("-i", self.predictions / source, "-o", self.predictions / slug(name))
            options = ("-pp_pkl_file", gathered / "postprocessing.pkl", "-np", 2, *plans)
            self.work.once(f"components-{slug(name)}", "nnUNetv2_apply_postprocessing", *folders, *options)

    def scores(self, name: str) -> dict[str, dict[str, float]]:
        """Of each case: Dice and HD95 over structures, and WHS."""
        file = self.work.folder / "scores" / f"{slug(name)}.json"
        file.parent.mkdir(exist_ok=True)
        folders = (self.predictions / slug(name), self.work.folder / "references")
        options = ("--dataset-json", self.model / "dataset.json", "--json", file)
        self.work.once(f"evaluate-{slug(name)}", "nnunet_ext", "evaluate", *folders, *options)
        found = {}
        for case in json.loads(file.read_text())["metric_per_case"]:
            structures = list(case["metrics"].values())
            found[case["case"]] = {
                "Dice": float(np.mean([s["Dice"] for s in structures])),
                "HD95 mm": float(np.mean([s["hd95_mm"] for s in structures])),
                "WHS": float(case["pooled"]["Dice"]),
            }
        return found

    def _made(self, name: str, make: Callable[..., NDArray[np.float32]]) -> None:
        """A folder of probabilities that are made, as the predictor would leave it."""
        target, source = self.predictions / name, self.predictions / "first"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for file in ("dataset.json", "plans.json"):
            shutil.copy(source / file, target)
        for number, file in enumerate(sorted(source.glob("*.npz"))):
            image = sitk.ReadImage(str(self.work.folder / "references" / f"{file.stem}.nii.gz"))
            reference = sitk.GetArrayFromImage(image)
            spacing_mm = tuple(float(s) for s in image.GetSpacing()[::-1])
            with np.load(file) as archive:
                first = archive["probabilities"]
            values = make(first, reference=reference, spacing_mm=spacing_mm, seed=number)
            np.savez_compressed(target / file.name, probabilities=values.astype(np.float32))
            shutil.copy(file.with_suffix(".pkl"), target)
            labels = sitk.GetImageFromArray(values.argmax(0).astype(np.uint8))
            labels.CopyInformation(image)
            sitk.WriteImage(labels, str(target / f"{file.stem}.nii.gz"))

    def _once(self, name: str, step: Callable[[], None]) -> None:
        done = self.work.folder / "done" / name
        if not done.exists():
            print("+", name, file=sys.stderr, flush=True)
            step()
            done.touch()


def planted(
    first: NDArray[np.float32], *, spacing_mm: tuple[float, ...], seed: int, **others: Any
) -> NDArray[np.float32]:
    """The first network's probabilities with two exchanges of chambers and two islands."""
    names = list(LABELS)
    weights = np.zeros((len(names), len(names)))
    for one, other in LOOK_ALIKES:
        weights[names.index(one), names.index(other)] = weights[names.index(other), names.index(one)] = 1
    members = tuple((value,) for value in LABELS.values())
    anatomy = Anatomy(spacing_mm, members, False, weights, radius_mm=(6.0, 12.0))
    rng = np.random.default_rng([2024, seed])
    for kind in (swapped_look_alikes, swapped_look_alikes, with_island, with_island):
        first = kind(first, rng, anatomy)
    return first


def perfect(first: NDArray[np.float32], *, reference: NDArray[Any], **others: Any) -> NDArray[np.float32]:
    """Right everywhere, and less sure at borders, as a trained network is."""
    sharp = np.stack([reference == label for label in range(len(first))]).astype(np.float32)
    soft = np.stack([ndimage.gaussian_filter(channel, 0.8) for channel in sharp])
    return np.asarray(0.55 * sharp + 0.45 * soft / soft.sum(0))


def slug(name: str) -> str:
    """For file names."""
    return name.replace(", ", "-").replace(" ", "-")


def print_table(heart: Heart) -> None:
    """One line for each folder of predictions, with differences from the unrefined one."""
    print_machine()
    pairs = {
        **{name: name for name in ("first", "planted", "perfect")},
        **{name: source for name, (source, _) in REFINED.items()},
        **COMPONENTS,
    }
    scores = {name: heart.scores(name) for name in pairs}
    for metric, higher in (("Dice", True), ("HD95 mm", False), ("WHS", True)):
        print(f"\n{metric:<30}{'mean':>9}{'difference':>12}{'95 % interval':>22}{'worst case':>12}  verdict")
        for name in sorted(pairs):
            before, after = (
                np.array([case[metric] for _, case in sorted(scores[which].items())])
                for which in (pairs[name], name)
            )
            line = f"{name:<30}{after.mean():>9.4f}"
            if name != pairs[name]:
                found = compare(after, before, metric=metric, higher_is_better=higher)
                low, high = found.interval
                worst = (after - before).min() if higher else (after - before).max()
                interval = f"{low:+.4f} {high:+.4f}"
                line += f"{found.difference:>+12.4f}{interval:>22}{worst:>+12.4f}  {found.verdict}"
            print(line)


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--cases", type=int, default=16, help="training phantoms (16)")
    parser.add_argument("--test-cases", type=int, default=12, help="unseen phantoms (12)")
    parser.add_argument("--size-vox", type=int, nargs=3, default=(56, 64, 64))
    parser.add_argument("--budget", default="10epochs_25iters", help="of the first network")
    parser.add_argument("--refiner-iterations", type=int, default=500, help="of each of its trainings (500)")
    args = parser.parse_args()
    heart = Heart(Work(args.work.resolve(), 962, "Dataset962_HeartPhantom"), args.budget)
    heart.write_phantoms(cases=args.cases, test_cases=args.test_cases, size_vox=args.size_vox)
    heart.train(args.refiner_iterations)
    heart.predict()
    print_table(heart)


if __name__ == "__main__":
    main()
