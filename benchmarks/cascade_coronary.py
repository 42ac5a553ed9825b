"""The skeleton cascade on coronary phantoms: what it costs and gives against other ways to train.

    python benchmarks/cascade_coronary.py WORK [--cases 6] [--size-vox 256 512 512] [--budget ...]

Paper 000's comparison at an equal budget of iterations, and what looking along skeletons spares:

- two stages: nnUNetTrainerSkeletonCascade, AGUNet in patches of 32^3;
- direct: its coarse stage alone, the image reduced to a quarter of its voxels and more;
- slices: nnU-Net's 2d;
- tiled patches: AGUNet in patches of 32^3 anywhere, without a coarse stage;
- the same fine network and weights over the whole image (`--everywhere`).

All through commands that a user types; what is finished is not run again. Predictions are of phantoms that
nobody has trained on, without mirroring, at step 0.5. Prints a table of Dice, clDice, recall and precision
(means over test cases) and of seconds a case.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typed_commands import Work, print_machine, seconds_a_case

from nnunet_ext.phantoms.coronary import make_coronary

SPACING_MM = (0.5, 0.35, 0.35)
CASCADE, TILED, SLICES = "nnUNetTrainerSkeletonCascade", "nnUNetTrainerAGUNet", "nnUNetTrainer"
CASCADE_PLANS, TILED_PLANS = "nnUNetCoronaryCascadePlans", "nnUNetCoronaryTiledPlans"
METRICS = ("Dice", "cl_dice", "recall", "precision")


def write_phantoms(work: Work, *, cases: int, test_cases: int, size_vox: Sequence[int]) -> None:
    """Training and test cases; those that are there are kept."""
    names = [f"coronary_{seed}" for seed in range(cases + test_cases)]
    for seed, name in enumerate(names):
        if any(work.folder.glob(f"**/{name}.nii.gz")):
            continue
        print(f"phantom {seed}", file=sys.stderr, flush=True)
        patient = make_coronary(seed=seed, size_vox=size_vox, spacing_mm=SPACING_MM)
        work.write_case(patient, name, train=seed < cases)
    work.describe(channels=["CT"], labels={"background": 0, "coronary_artery": 1}, cases=names[:cases])


def plan(work: Work, *, grid: Sequence[int], patch: int, batch: int, memory_gb: float) -> None:
    """Fingerprint, nnU-Net's plans, ours, and the data of all of them."""
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number, "-gpu_memory_target", memory_gb)
    shape, memory = (patch,) * 3, ("--match-vanilla-gb", memory_gb)
    ours = ("nnunet_ext", "plan", work.number, "--network", "AGUNet", *memory, "--batch-size", batch)
    stages = ("--coarse", "--coarse-grid", *grid, "--fine-patch", *shape, "--plans-name", CASCADE_PLANS)
    work.once("plan-cascade", *ours, *stages)
    work.once("plan-tiled", *ours, "--patch-size", *shape, "--plans-name", TILED_PLANS)
    work.preprocess("nnUNetPlans", "2d", "3d_fullres")
    work.preprocess(CASCADE_PLANS, "3d_lowres", "3d_fullres")
    work.preprocess(TILED_PLANS, "3d_fullres")


def train_and_predict(work: Work, budget: str) -> dict[str, dict[str, Any]]:
    """Both folds of the coarse stage, fold 0 of the rest; every way over the test cases."""
    cascade, tiled, slices = (f"{name}_{budget}_NoMirroring" for name in (CASCADE, TILED, SLICES))
    for trainer, plans, configuration, fold in (
        (cascade, CASCADE_PLANS, "3d_lowres", 0),
        (cascade, CASCADE_PLANS, "3d_lowres", 1),
        (cascade, CASCADE_PLANS, "3d_cascade_fullres", 0),
        (tiled, TILED_PLANS, "3d_fullres", 0),
        (slices, "nnUNetPlans", "2d", 0),
    ):
        work.train(trainer, plans, configuration, fold)
    fine = {"trainer": cascade, "plans": CASCADE_PLANS, "configuration": "3d_cascade_fullres"}
    ways: dict[str, dict[str, Any]] = {
        "two stages": fine,
        "its fine network everywhere": {**fine, "more": ("--everywhere",)},
        "direct (coarse alone)": {**fine, "configuration": "3d_lowres"},
        "tiled patches": {"trainer": tiled, "plans": TILED_PLANS, "configuration": "3d_fullres"},
        "slices (2d)": {"trainer": slices, "plans": "nnUNetPlans", "configuration": "2d"},
    }
    return {way: work.predict(way, **model) for way, model in ways.items()}


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """One line a way."""
    print_machine()
    print(f"{'':<30}" + "".join(f"{name:>10}" for name in METRICS) + f"{'tiles':>8}   seconds a case")
    for way, result in found.items():
        (mean,) = result["scores"]["mean"].values()
        scores = "".join(f"{mean.get(name, float('nan')):>10.4f}" for name in METRICS)
        print(f"{way:<30}{scores}{seconds_a_case(result)}")


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--cases", type=int, default=6, help="training phantoms (6)")
    parser.add_argument("--test-cases", type=int, default=1, help="unseen phantoms (1)")
    parser.add_argument("--size-vox", type=int, nargs=3, default=(256, 512, 512))
    parser.add_argument("--coarse-grid", type=int, nargs=3, default=(128, 256, 256))
    parser.add_argument("--patch", type=int, default=32, help="edge of the fine patch (32)")
    parser.add_argument("--batch", type=int, default=8, help="fine patches a step (8)")
    parser.add_argument("--memory-gb", type=float, default=2.0, help="target of nnU-Net's own plans (2)")
    parser.add_argument("--budget", default="10epochs_25iters", help="of every training")
    args = parser.parse_args()
    work = Work(args.work.resolve(), 961, "Dataset961_CoronaryPhantom")
    write_phantoms(work, cases=args.cases, test_cases=args.test_cases, size_vox=args.size_vox)
    plan(work, grid=args.coarse_grid, patch=args.patch, batch=args.batch, memory_gb=args.memory_gb)
    print_table(train_and_predict(work, args.budget))


if __name__ == "__main__":
    main()
