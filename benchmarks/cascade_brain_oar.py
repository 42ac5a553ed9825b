"""The ROI cascade on brain phantoms by size of the crop, against the same network on the whole image.

    python benchmarks/cascade_brain_oar.py WORK [--cases 8] [--budget 8epochs_25iters]

Paper 003's comparison: ResUNet in boxes of 32x128x128, 32x96x96 and 16x64x64 voxels around each orbit and the
chiasm, all three behind the same coarse folds, and ResUNet as a plain 3d_fullres. Images of 80x256x256 voxels
of 1.25x0.8x0.8 mm (CT, T1w, T2w), as the paper's after its preparation.

All through commands that a user types; what is finished is not run again. The budget of iterations and the
batch are equal, so a smaller crop sees fewer voxels. Predictions are of phantoms that nobody has trained on,
without mirroring. Prints Dice by structure (means over test cases), HD95 in mm and seconds a case.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typed_commands import Work, print_machine, seconds_a_case

from nnunet_ext.phantoms.brain_oar import LABELS, make_brain_oar

SIZE_VOX, SPACING_MM = (80, 256, 256), (1.25, 0.8, 0.8)
CROPS_VOX = ((32, 128, 128), (32, 96, 96), (16, 64, 64))
GROUPS = ("left=Eye_L,Lens_L,OpticNrv_L", "right=Eye_R,Lens_R,OpticNrv_R", "chiasm=OpticChiasm")
CASCADE, PLAIN = "nnUNetTrainerROICascade", "nnUNetTrainerResUNet"
PLAIN_PLANS = "nnUNetBrainPlainPlans"


def write_phantoms(work: Work, *, cases: int, test_cases: int, size_vox: Sequence[int]) -> None:
    """Training and test cases; those that are there are kept."""
    names = [f"brain_{seed:02}" for seed in range(cases + test_cases)]
    for seed, name in enumerate(names):
        if any(work.folder.glob(f"**/{name}.nii.gz")):
            continue
        print(f"phantom {seed}", file=sys.stderr, flush=True)
        patient = make_brain_oar(seed=seed, size_vox=size_vox, spacing_mm=SPACING_MM)
        work.write_case(patient, name, train=seed < cases)
    work.describe(channels=["CT", "T1w", "T2w"], labels=LABELS, cases=names[:cases])


def plan(work: Work, *, batch: int, memory_gb: float) -> list[str]:
    """Plans for every crop, with one coarse stage; their names."""
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number, "-gpu_memory_target", memory_gb)
    ours = ("nnunet_ext", "plan", work.number, "--network", "ResUNet", "--match-vanilla-gb", memory_gb)
    ours += ("--spacing-mm", *SPACING_MM)
    work.once("plan-plain", *ours, "--plans-name", PLAIN_PLANS)
    groups = [word for group in GROUPS for word in ("--group", group)]
    coarse = ("--coarse", "--coarse-spacing-mm", 2.5, 1.6, 1.6, *groups, "--batch-size", batch)
    names = []
    for crop in CROPS_VOX:
        name = f"nnUNetBrain{'x'.join(map(str, crop))}Plans"
        work.once(f"plan-{name}", *ours, *coarse, "--fine-patch", *crop, "--plans-name", name)
        names.append(name)
    work.preprocess(PLAIN_PLANS, "3d_fullres")
    work.preprocess(names[0], "3d_lowres", "3d_fullres")
    return names


def share_coarse_stage(work: Work, *, trainer: str, first: str, other: str) -> None:
    """Let other plans use the coarse folds of the first: the stage is the same in all of them."""
    files = [work.folder / "preprocessed" / work.name / f"{plans}.json" for plans in (first, other)]
    ours, theirs = (json.loads(file.read_text())["configurations"]["3d_lowres"] for file in files)
    if ours != theirs:
        raise SystemExit(f"3d_lowres differs between {files[0]} and {files[1]}")
    results = work.folder / "results" / work.name
    link = results / f"{trainer}__{other}__3d_lowres"
    if not link.exists():
        link.symlink_to(results / f"{trainer}__{first}__3d_lowres")


def train_and_predict(work: Work, plans: Sequence[str], budget: str) -> dict[str, dict[str, Any]]:
    """Both folds of the coarse stage, fold 0 of the rest; every way over the test cases."""
    cascade, plain = (f"{name}_{budget}_NoMirroring" for name in (CASCADE, PLAIN))
    for fold in (0, 1):
        work.train(cascade, plans[0], "3d_lowres", fold)
    found = {}
    for name, crop in zip(plans, CROPS_VOX, strict=True):
        if name != plans[0]:
            share_coarse_stage(work, trainer=cascade, first=plans[0], other=name)
        work.train(cascade, name, "3d_cascade_fullres", 0)
        way = f"boxes of {'x'.join(map(str, crop))}"
        found[way] = work.predict(way, trainer=cascade, plans=name, configuration="3d_cascade_fullres")
    work.train(plain, PLAIN_PLANS, "3d_fullres", 0)
    found["plain 3d_fullres"] = work.predict(
        "plain 3d_fullres", trainer=plain, plans=PLAIN_PLANS, configuration="3d_fullres"
    )
    found["coarse stage alone"] = work.predict(
        "coarse stage alone", trainer=cascade, plans=plans[0], configuration="3d_lowres"
    )
    return found


def print_table(found: dict[str, dict[str, Any]]) -> None:
    """One line a way, for Dice and for HD95."""
    print_machine()
    structures = [name for name in LABELS if name != "background"]
    for metric in ("Dice", "hd95_mm"):
        print(
            f"{metric:<24}" + "".join(f"{name:>12}" for name in structures) + f"{'tiles':>8}   seconds a case"
        )
        for way, result in found.items():
            mean = result["scores"]["mean"]
            scores = [mean[str(LABELS[name])].get(metric) for name in structures]
            shown = "".join(f"{'-' if s is None else format(s, '.3f'):>12}" for s in scores)
            print(f"{way:<24}{shown}{seconds_a_case(result)}")


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--cases", type=int, default=8, help="training phantoms (8)")
    parser.add_argument("--test-cases", type=int, default=4, help="unseen phantoms (4)")
    parser.add_argument("--size-vox", type=int, nargs=3, default=SIZE_VOX)
    parser.add_argument("--batch", type=int, default=2, help="fine patches a step (2)")
    parser.add_argument("--memory-gb", type=float, default=2.0, help="target of nnU-Net's own plans (2)")
    parser.add_argument("--budget", default="8epochs_25iters", help="of every training")
    args = parser.parse_args()
    work = Work(args.work.resolve(), 962, "Dataset962_BrainPhantom")
    write_phantoms(work, cases=args.cases, test_cases=args.test_cases, size_vox=args.size_vox)
    print_table(train_and_predict(work, plan(work, batch=args.batch, memory_gb=args.memory_gb), args.budget))


if __name__ == "__main__":
    main()
