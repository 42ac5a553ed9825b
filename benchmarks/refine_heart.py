"""The refiner on whole-heart phantoms: what it mends, what it leaves alone, and what it breaks.

    python benchmarks/refine_heart.py WORK [--cases 16] [--test-cases 12] [--size-vox 40 48 48] [--budget ...]

A first network (nnU-Net's own trainer, a small budget, two folds) on MR phantoms, whose blood has one tone in
all chambers; refiners on its out-of-fold errors; then, on phantoms that nobody has trained on:

- first: the first network, both folds; refined as the refiner decides, where it was unsure, everywhere, and
  by a refiner with a coarser local grid; nnU-Net's own connected components
  (nnUNetv2_determine_postprocessing on the same out-of-fold predictions);
- planted: the same probabilities with balls in which left and right chambers are exchanged, and with islands
  that are copies of real parts, made by other code than the refiner's own corruptions; refined, and
  connected components, which have seen as little of them;
- perfect: the same probabilities, where they are wrong exchanged with those of the right class: labels
  without an error, as sure as a trained network is. Refined with --force-refiner: nothing should change by
  more than 0.002 Dice.

All through commands that a user types; what is finished is not run again. Prints the held-out tables, then
mean Dice and HD95 over structures and the pooled WHS Dice, with the paired difference from the unrefined
predictions, its 95 % bootstrap interval and a verdict after Holm's correction.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from refined_model import CONFIGURATION, FIRST, FORCED, RefinedModel, Row
from typed_commands import Work

from nnunet_ext.phantoms.whole_heart import LABELS, make_whole_heart

PLANS = "nnUNetPlans"
LOOK_ALIKES = (("LA", "RA"), ("LV", "RV"))
ROWS = (
    *FIRST,
    Row("planted, refined", "planted", FORCED),
    Row("planted, refined everywhere", "planted", (*FORCED, "--everywhere")),
    Row("planted, local grid 2", "planted", FORCED, local_grid=2),
    Row("planted, components", "planted", None),
    Row("perfect, refined", "perfect", FORCED),
    Row("perfect, local grid 2", "perfect", FORCED, local_grid=2),
)


def write_phantoms(work: Work, *, cases: int, test_cases: int, size_vox: Sequence[int]) -> None:
    """Training and test cases; those that are there are kept."""
    names = [f"heart_{seed:02}" for seed in range(cases + test_cases)]
    for seed, name in enumerate(names):
        if not work.has_case(name):
            print(f"phantom {seed}", file=sys.stderr, flush=True)
            patient = make_whole_heart(seed=seed, modality="MR", size_vox=size_vox)
            work.write_case(patient, name, train=seed < cases)
    work.describe(channels=["MRI"], labels=LABELS, cases=names[:cases])


def make_predictions(model: RefinedModel, name: str, make: Callable[..., NDArray[np.float32]]) -> None:
    """A folder of probabilities that are made, as the predictor would leave it."""
    done = model.work.folder / "done" / f"make-{name}"
    if done.exists():
        return
    target, source = model.predictions / name, model.predictions / "first"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in ("dataset.json", "plans.json"):
        shutil.copy(source / file, target)
    for number, file in enumerate(sorted(source.glob("*.npz"))):
        image = sitk.ReadImage(str(model.work.folder / "references" / f"{file.stem}.nii.gz"))
        spacing_mm = tuple(float(s) for s in image.GetSpacing()[::-1])
        with np.load(file) as archive:
            first = archive["probabilities"]
        values = make(first, reference=sitk.GetArrayFromImage(image), spacing_mm=spacing_mm, seed=number)
        np.savez_compressed(target / file.name, probabilities=values.astype(np.float32))
        shutil.copy(file.with_suffix(".pkl"), target)
        labels = sitk.GetImageFromArray(values.argmax(0).astype(np.uint8))
        labels.CopyInformation(image)
        sitk.WriteImage(labels, str(target / f"{file.stem}.nii.gz"))
    done.touch()


def planted(
    first: NDArray[np.float32], *, spacing_mm: tuple[float, ...], seed: int, **others: Any
) -> NDArray[np.float32]:
    """The first network's probabilities with two balls of exchanged chambers and two islands."""
    rng = np.random.default_rng([2024, seed])
    made, labels = first.copy(), first.argmax(0)
    for one, other in LOOK_ALIKES:
        pair = [LABELS[one], LABELS[other]]
        ball = ball_around(some_voxel(labels == pair[rng.integers(2)], rng), labels.shape, spacing_mm, rng)
        made[pair] = np.where(ball, made[pair[::-1]], made[pair])
    for label in rng.choice(list(LABELS.values())[1:], 2, replace=False):
        middle, place = some_voxel(labels == label, rng), some_voxel(labels == 0, rng)
        ball = ball_around(place, labels.shape, spacing_mm, rng)
        made = np.where(ball, np.roll(first, place - middle, axis=(1, 2, 3)), made)
    return made


def some_voxel(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """One of a mask, or of the image where it is empty."""
    places = np.argwhere(mask if mask.any() else np.ones_like(mask))
    return np.asarray(places[rng.integers(len(places))])


def ball_around(
    center: NDArray[np.int64],
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Of 8 to 14 mm radius."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    away = sum(((axis - c) * s) ** 2 for axis, c, s in zip(axes, center, spacing_mm, strict=True))
    return np.asarray(away < rng.uniform(8.0, 14.0) ** 2)


def perfect(first: NDArray[np.float32], *, reference: NDArray[Any], **others: Any) -> NDArray[np.float32]:
    """Where the first network is wrong, its largest probability and the right class's change places.

    Example:
        >>> perfect(np.array([[[[0.7]]], [[[0.3]]]]), reference=np.array([[[1]]])).ravel().tolist()
        [0.3, 0.7]
    """
    made, largest = first.copy(), first.argmax(0)
    right = reference.astype(np.int64)
    np.put_along_axis(made, right[None], np.take_along_axis(first, largest[None], 0), 0)
    wrong = largest != right
    values = np.where(wrong, np.take_along_axis(first, right[None], 0)[0], made.max(0))
    np.put_along_axis(made, largest[None], values[None], 0)
    return made


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--cases", type=int, default=16, help="training phantoms (16)")
    parser.add_argument("--test-cases", type=int, default=12, help="unseen phantoms (12)")
    parser.add_argument("--size-vox", type=int, nargs=3, default=(40, 48, 48))
    parser.add_argument("--budget", default="10epochs_25iters", help="of the first network")
    parser.add_argument("--refiner-iterations", type=int, default=300, help="of each of its trainings (300)")
    args = parser.parse_args()
    work = Work(args.work.resolve(), 962, "Dataset962_HeartPhantom", image_by_image=False)
    work.folder.mkdir(parents=True, exist_ok=True)
    work.require_same({name: value for name, value in vars(args).items() if name != "work"})
    write_phantoms(work, cases=args.cases, test_cases=args.test_cases, size_vox=args.size_vox)
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number)
    work.preprocess(PLANS, CONFIGURATION)
    model = RefinedModel(work, trainer=f"nnUNetTrainer_{args.budget}_NoMirroring", plans=PLANS)
    model.train(iterations=args.refiner_iterations)
    make_predictions(model, "planted", planted)
    make_predictions(model, "perfect", perfect)
    model.refine(ROWS)
    model.print_held_out()
    model.print_table(ROWS)


if __name__ == "__main__":
    main()
