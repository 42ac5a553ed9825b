"""The skeleton cascade on coronary phantoms: what it costs and gives against other ways to train.

    python benchmarks/cascade_coronary.py WORK [--cases 6] [--size-vox 256 512 512] [--budget ...]

Paper 000's comparison at an equal budget of iterations, and what looking along skeletons spares:

- two stages: nnUNetTrainerSkeletonCascade, AGUNet in patches of 32^3;
- direct: its coarse stage alone, the image reduced to a quarter of its voxels and more;
- slices: nnU-Net's 2d;
- tiled patches: AGUNet in patches of 32^3 anywhere, without a coarse stage;
- the same fine network and weights over the whole image (`--everywhere`).

All through commands that a user types; what is finished is not run again. Two folds: the fine stage needs
coarse predictions of both. Predictions are of phantoms that nobody has trained on, without mirroring, at step
0.5. Prints a table of Dice, clDice, recall and precision (means over test cases) and of seconds a case.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nnunet_ext.trainers.registry import hook_folder

from nnunet_ext.commands import CPU_SETTINGS
from nnunet_ext.phantoms.coronary import make_coronary

NUMBER, NAME = 961, "Dataset961_CoronaryPhantom"
SPACING_MM = (0.5, 0.35, 0.35)
CASCADE, TILED, SLICES = "nnUNetTrainerSkeletonCascade", "nnUNetTrainerAGUNet", "nnUNetTrainer"
CASCADE_PLANS, TILED_PLANS = "nnUNetCoronaryCascadePlans", "nnUNetCoronaryTiledPlans"
METRICS = ("Dice", "cl_dice", "recall", "precision")


def environment(work: Path) -> dict[str, str]:
    """nnU-Net's folders below ``work``, our trainers, and the settings for computing on a CPU."""
    folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    return {
        **os.environ,
        **CPU_SETTINGS,
        **folders,
        "nnUNet_extTrainer": str(hook_folder()),
        "nnUNet_n_proc_DA": "2",
        "nnUNet_def_n_proc": "2",
    }


def run_once(work: Path, name: str, *words: Any) -> None:
    """Run a command into a log, unless it has ended well before."""
    done = work / "done" / name
    if done.exists():
        return
    done.parent.mkdir(exist_ok=True)
    print("+", *words, file=sys.stderr, flush=True)
    begin = time.perf_counter()
    with (work / "done" / f"{name}.log").open("w") as log:
        command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
        subprocess.run(command, env=environment(work), stdout=log, stderr=subprocess.STDOUT, check=True)
    done.write_text(f"{time.perf_counter() - begin:.1f}")


def write_phantoms(work: Path, *, cases: int, test_cases: int, size_vox: Sequence[int]) -> None:
    """Training cases as nnU-Net's raw dataset, test cases beside it, two folds."""
    raw = work / "raw" / NAME
    folders = {True: (raw / "imagesTr", raw / "labelsTr"), False: (work / "images", work / "references")}
    for seed in range(cases + test_cases):
        images, labels = folders[seed < cases]
        if (labels / f"coronary_{seed}.nii.gz").exists():
            continue
        print(f"phantom {seed}", file=sys.stderr, flush=True)
        patient = make_coronary(seed=seed, size_vox=size_vox, spacing_mm=SPACING_MM)
        for array, file in (
            (patient.reference.image, images / f"coronary_{seed}_0000.nii.gz"),
            (patient.label, labels / f"coronary_{seed}.nii.gz"),
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing([float(s) for s in reversed(SPACING_MM)])
            file.parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(file))
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "coronary_artery": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    names = [f"coronary_{seed}" for seed in range(cases)]
    splits = [{"train": names[1 - f :: 2], "val": names[f::2]} for f in (0, 1)]
    (raw / "splits_final.json").write_text(json.dumps(splits))


def plan_and_preprocess(work: Path, *, grid: Sequence[int], patch: int, batch: int, memory_gb: float) -> None:
    """Fingerprint, nnU-Net's plans, ours, and the data of all of them."""
    memory = ("--match-vanilla-gb", memory_gb)
    run_once(work, "fingerprint", "nnUNetv2_extract_fingerprint", "-d", NUMBER, "-np", 2)
    run_once(work, "plan", "nnUNetv2_plan_experiment", "-d", NUMBER, "-gpu_memory_target", memory_gb)
    shape = (patch,) * 3
    ours = ("nnunet_ext", "plan", NUMBER, "--network", "AGUNet", *memory, "--batch-size", batch)
    cascade = ("--coarse", "--coarse-grid", *grid, "--fine-patch", *shape, "--plans-name", CASCADE_PLANS)
    run_once(work, "plan-cascade", *ours, *cascade)
    run_once(work, "plan-tiled", *ours, "--patch-size", *shape, "--plans-name", TILED_PLANS)
    for plans, configurations in (
        ("nnUNetPlans", ("2d", "3d_fullres")),
        (CASCADE_PLANS, ("3d_lowres", "3d_fullres")),
        (TILED_PLANS, ("3d_fullres",)),
    ):
        for configuration in configurations:
            content = json.loads((work / "preprocessed" / NAME / f"{plans}.json").read_text())
            data = content["configurations"][configuration]["data_identifier"]
            options = ("-d", NUMBER, "-plans_name", plans, "-c", configuration, "-np", 1)
            run_once(work, f"preprocess-{data}", "nnUNetv2_preprocess", *options)


def train(work: Path, budget: str) -> None:
    """Both folds of the coarse stage, and fold 0 of everything else."""
    for trainer, plans, configuration, fold in (
        (CASCADE, CASCADE_PLANS, "3d_lowres", 0),
        (CASCADE, CASCADE_PLANS, "3d_lowres", 1),
        (CASCADE, CASCADE_PLANS, "3d_cascade_fullres", 0),
        (TILED, TILED_PLANS, "3d_fullres", 0),
        (SLICES, "nnUNetPlans", "2d", 0),
    ):
        name = f"{trainer}_{budget}_NoMirroring"
        command = ("nnUNetv2_train", NUMBER, configuration, fold, "-p", plans, "-tr", name, "-device", "cpu")
        model = work / "results" / NAME / f"{name}__{plans}__{configuration}" / f"fold_{fold}"
        more = ("--c",) if any(model.glob("checkpoint_*.pth")) else ()
        run_once(work, f"train-{trainer}-{configuration}-{fold}", *command, *more)


def predict(work: Path, budget: str) -> dict[str, dict[str, Any]]:
    """Every way over the test cases: metrics and seconds."""
    ways = {
        "two stages": (CASCADE, CASCADE_PLANS, "3d_cascade_fullres", ()),
        "its fine network everywhere": (CASCADE, CASCADE_PLANS, "3d_cascade_fullres", ("--everywhere",)),
        "direct (coarse alone)": (CASCADE, CASCADE_PLANS, "3d_lowres", ()),
        "tiled patches": (TILED, TILED_PLANS, "3d_fullres", ()),
        "slices (2d)": (SLICES, "nnUNetPlans", "2d", ()),
    }
    found = {}
    for way, (trainer, plans, configuration, more) in ways.items():
        name = way.split(" (")[0].replace(" ", "-")
        out, report, scores = (work / kind / name for kind in ("predicted", "reports", "scores"))
        for folder in (report, scores):
            folder.parent.mkdir(exist_ok=True)
        model = work / "results" / NAME / f"{trainer}_{budget}_NoMirroring__{plans}__{configuration}"
        options = ("-f", 0, "--device", "cpu", "--threads", 2, "--report", report, "--no-pbar", *more)
        command = ("nnunet_ext", "predict", "-i", work / "images", "-o", out, "-m", model, *options)
        run_once(work, f"predict-{name}", *command)
        judged = ("nnunet_ext", "evaluate", out, work / "references", "--tubular", "--json", scores)
        run_once(work, f"evaluate-{name}", *judged)
        found[way] = {"report": json.loads(report.read_text()), "scores": json.loads(scores.read_text())}
    return found


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """One line a way."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", end="")
    print(*(f", {name} {importlib.metadata.version(name)}" for name in ("nnunetv2", "torch")), sep="")
    print(f"{'':<30}" + "".join(f"{name:>10}" for name in METRICS) + f"{'tiles':>8}   seconds a case")
    for way, result in found.items():
        (mean,) = result["scores"]["mean"].values()
        cases = result["report"]["cases"]
        parts = {
            part: np.mean([case["seconds"].get(part, 0.0) for case in cases]) for part in cases[0]["seconds"]
        }
        tiles = np.mean([case["tiles"] for case in cases])
        shown = ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items())
        scores = "".join(f"{mean.get(name, float('nan')):>10.4f}" for name in METRICS)
        print(f"{way:<30}{scores}{tiles:>8.0f}   {sum(parts.values()):.1f} ({shown})")


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
    args.work = args.work.resolve()
    write_phantoms(args.work, cases=args.cases, test_cases=args.test_cases, size_vox=args.size_vox)
    plan_and_preprocess(
        args.work, grid=args.coarse_grid, patch=args.patch, batch=args.batch, memory_gb=args.memory_gb
    )
    train(args.work, args.budget)
    print_table(predict(args.work, args.budget))


if __name__ == "__main__":
    main()
