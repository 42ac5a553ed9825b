"""The ROI cascade on brain phantoms by size of the crop, against the same network on the whole image.

    python benchmarks/cascade_brain_oar.py WORK [--setting small] [--budget 8epochs_25iters]

Paper 003's comparison: ResUNet in boxes of three sizes around each orbit and the chiasm, all three behind the
same coarse folds, and ResUNet as a plain 3d_fullres. ``full`` has the paper's images and boxes (80x256x256
voxels of 1.25x0.8x0.8 mm, CT, T1w, T2w; boxes of 32x128x128, 32x96x96 and 16x64x64), about 5 hours on two
cores without bfloat16; ``small`` images of 48x160x160 voxels of 2x1.25x1.25 mm and boxes of nearly as many
millimeters (24x80x80, 24x64x64, 16x48x48), about 45 minutes.

All through commands that a user types; what is finished is not run again, trainings go on from their last
checkpoint. The budget of iterations and the batch are equal, so a smaller crop sees fewer voxels; everything
but the coarse stage is trained on the half of the cases that coarse fold 0 is trained on. Predictions are of
phantoms that nobody has trained on, without mirroring. Prints Dice by structure (means over test cases), HD95
in mm, the recall ceiling and seconds a case.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cascade_ways import COARSE_FOLDS, FOLD, ceiling_of, splits_of
from typed_commands import Work, print_machine, seconds_a_case, shown_number

from nnunet_ext.phantoms.brain_oar import LABELS, make_brain_oar

GROUPS = ("left=Eye_L,Lens_L,OpticNrv_L", "right=Eye_R,Lens_R,OpticNrv_R", "chiasm=OpticChiasm")
CASCADE, PLAIN = "nnUNetTrainerROICascade", "nnUNetTrainerResUNet"
PLAIN_PLANS = "nnUNetBrainPlainPlans"
COARSE_ALONE, EVERYWHERE = "coarse stage alone", "plain 3d_fullres"


@dataclass(frozen=True)
class Setting:
    """How large the benchmark is.

    Attributes:
        size_vox: of the images.
        spacing_mm: of the images.
        coarse_spacing_mm: of the coarse stage.
        crops_vox: sizes of the boxes, each a fine patch.
        cases: training phantoms.
        test_cases: unseen phantoms.
        batch: fine patches a step.
        memory_gb: target of nnU-Net's own plans: coarse patch, and what the largest crop has to fit into.
        plain_memory_gb: the same for the plain network: about as many voxels a step as the largest crop.
        budget: of every training.
    """

    size_vox: tuple[int, ...] = (80, 256, 256)
    spacing_mm: tuple[float, ...] = (1.25, 0.8, 0.8)
    coarse_spacing_mm: tuple[float, ...] = (2.5, 2.4, 2.4)
    crops_vox: tuple[tuple[int, ...], ...] = ((32, 128, 128), (32, 96, 96), (16, 64, 64))
    cases: int = 8
    test_cases: int = 4
    batch: int = 2
    memory_gb: float = 4.0
    plain_memory_gb: float = 2.0
    budget: str = "8epochs_25iters"


SETTINGS = {
    "full": Setting(),
    "small": Setting(
        size_vox=(48, 160, 160),
        spacing_mm=(2.0, 1.25, 1.25),
        coarse_spacing_mm=(4.0, 3.2, 3.2),
        crops_vox=((24, 80, 80), (24, 64, 64), (16, 48, 48)),
        test_cases=2,
        memory_gb=1.0,
        plain_memory_gb=0.5,
        budget="9epochs_10iters",
    ),
}


def write_phantoms(work: Work, setting: Setting) -> None:
    """Training and test cases; those that are there are kept."""
    names = [f"brain_{seed:02}" for seed in range(setting.cases + setting.test_cases)]
    for seed, name in enumerate(names):
        if work.has_case(name):
            continue
        print(f"phantom {seed}", file=sys.stderr, flush=True)
        patient = make_brain_oar(seed=seed, size_vox=setting.size_vox, spacing_mm=setting.spacing_mm)
        work.write_case(patient, name, train=seed < setting.cases)
    training = names[: setting.cases]
    splits = splits_of(training, watched=training[0])
    work.describe(channels=["CT", "T1w", "T2w"], labels=LABELS, cases=training, splits=splits)


def plan(work: Work, setting: Setting) -> list[str]:
    """Plans for every crop, with one coarse stage; their names."""
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    target = ("-gpu_memory_target", setting.memory_gb)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number, *target)
    ours = ("--network", "ResUNet", "--spacing-mm", *setting.spacing_mm)
    work.plan(PLAIN_PLANS, *ours, "--match-vanilla-gb", setting.plain_memory_gb)
    groups = [word for group in GROUPS for word in ("--group", group)]
    coarse = ("--coarse", "--coarse-spacing-mm", *setting.coarse_spacing_mm, *groups)
    coarse += ("--match-vanilla-gb", setting.memory_gb, "--batch-size", setting.batch)
    names = []
    for crop in setting.crops_vox:
        names.append(f"nnUNetBrain{by(crop)}Plans")
        work.plan(names[-1], *ours, *coarse, "--fine-patch", *crop)
    work.preprocess(PLAIN_PLANS, "3d_fullres")
    for name in names:
        work.preprocess(name, "3d_lowres", "3d_fullres")
    return names


def by(size: Sequence[int]) -> str:
    """A size as the paper writes it.

    Example:
        >>> by((16, 64, 64))
        '16x64x64'
    """
    return "x".join(map(str, size))


def share_coarse_stage(work: Work, *, trainer: str, first: str, other: str) -> None:
    """Let other plans use the coarse folds of the first: the stage is the same in all of them.

    Records and predictions are shared with the folder. Proposals that are kept beside them are of one size of
    windows, and each training or validation computes its own where the last one was of another size: a second
    a case.
    """
    files = [work.folder / "preprocessed" / work.name / f"{plans}.json" for plans in (first, other)]
    ours, theirs = (json.loads(file.read_text())["configurations"]["3d_lowres"] for file in files)
    if ours != theirs:
        raise SystemExit(f"3d_lowres differs between {files[0]} and {files[1]}")
    link = work.model(trainer, other, "3d_lowres")
    if not link.exists():
        link.symlink_to(work.model(trainer, first, "3d_lowres").name)


def train_and_predict(work: Work, setting: Setting, plans: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Both folds of the coarse stage, one of the rest; every way over the test cases."""
    cascade, plain = (f"{name}_{setting.budget}_NoMirroring" for name in (CASCADE, PLAIN))
    for fold in COARSE_FOLDS:
        work.train(cascade, plans[0], "3d_lowres", fold)
    coarse = {"trainer": cascade, "plans": plans[0], "configuration": "3d_lowres"}
    found = {COARSE_ALONE: work.predict(COARSE_ALONE, **coarse)}
    for name, crop in zip(plans, setting.crops_vox, strict=True):
        if name != plans[0]:
            share_coarse_stage(work, trainer=cascade, first=plans[0], other=name)
        work.train(cascade, name, "3d_cascade_fullres", FOLD)
        fine = {"trainer": cascade, "plans": name, "configuration": "3d_cascade_fullres", "fold": FOLD}
        way = f"boxes of {by(crop)}"
        found[way] = work.predict(way, **fine, more=("--coarse-folds", 0))
    work.train(plain, PLAIN_PLANS, "3d_fullres", FOLD)
    whole = {"trainer": plain, "plans": PLAIN_PLANS, "configuration": "3d_fullres", "fold": FOLD}
    found[EVERYWHERE] = work.predict(EVERYWHERE, **whole)
    return found


def print_table(found: Mapping[str, Mapping[str, Any]], *, ceilings: Mapping[str, float | None]) -> None:
    """One line a way, for Dice and for HD95."""
    print_machine()
    structures = [name for name in LABELS if name != "background"]
    for metric in ("Dice", "hd95_mm"):
        columns = "".join(f"{name:>12}" for name in (*structures, "ceiling"))
        print(f"{metric:<24}{columns}{'tiles':>8}   seconds a case")
        for way, result in found.items():
            mean = result["scores"]["mean"]
            scores = [mean[str(LABELS[name])].get(metric) for name in structures]
            shown = "".join(shown_number(s, 12, 3) for s in (*scores, ceilings.get(way)))
            print(f"{way:<24}{shown}{seconds_a_case(result)}")


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--setting", choices=SETTINGS, default="full", help="(full)")
    parser.add_argument("--budget", help="of every training, instead of the setting's: 8epochs_25iters")
    args = parser.parse_args()
    setting = SETTINGS[args.setting]
    setting = replace(setting, budget=args.budget or setting.budget)
    work = Work(args.work.resolve(), 962, "Dataset962_BrainPhantom", one_precision=True)
    work.require_same(asdict(setting))
    write_phantoms(work, setting)
    plans = plan(work, setting)
    found = train_and_predict(work, setting, plans)
    ceilings = {}
    for name, crop in zip(plans, setting.crops_vox, strict=True):
        way = f"boxes of {by(crop)}"
        named = {"kind": "roi", "plans": name, "coarse_way": COARSE_ALONE, "result": found[way]}
        ceilings[way] = ceiling_of(work, **named)
    print_table(found, ceilings=ceilings)


if __name__ == "__main__":
    main()
