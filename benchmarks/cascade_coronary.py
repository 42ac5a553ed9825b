"""The skeleton cascade on coronary phantoms: what it costs and gives against other ways to train.

    python benchmarks/cascade_coronary.py WORK [--setting small] [--budget 10epochs_25iters]

Paper 000's comparison at an equal budget of iterations, and what looking along skeletons spares:

- two stages: nnUNetTrainerSkeletonCascade, AGUNet in patches of 32^3, merged by the maximum or a Gaussian;
- the same fine network and weights over the whole image (`--everywhere`);
- direct: its coarse stage alone, the image reduced to half its voxels along each axis;
- slices: nnU-Net's 2d;
- tiled patches: AGUNet in patches of 32^3 anywhere, without a coarse stage.

Voxels of 0.5 x 0.35 x 0.35 mm, vessels of 1 to 4 mm. ``full`` has 256 x 512 x 512 of them, about 4 hours on
two cores without bfloat16, of which two scans of one image in 14 415 tiles take an hour and a half. ``small``
is cut out of such phantoms where most vessels are, about 45 minutes; voxels and vessels are as large.

All through commands that a user types; what is finished is not run again, trainings go on from their last
checkpoint. Everything but the coarse stage is trained on the half of the cases that coarse fold 0 is trained
on. Predictions are of phantoms that nobody has trained on, without mirroring, at step 0.5. Prints Dice,
clDice, recall and precision (means over test cases) beside the paper's Dice, the recall ceiling, tiles and
seconds a case, and how the cascade compares with its fine network everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from cascade_ways import COARSE_FOLDS, FOLD, ceiling_of, splits_of
from numpy.typing import NDArray
from scipy import ndimage
from typed_commands import Work, print_machine, seconds_a_case, shown_number

from nnunet_ext.phantoms.coronary import make_coronary

WHOLE_VOX, SPACING_MM = (256, 512, 512), (0.5, 0.35, 0.35)
WATCHED, WATCHED_VOX = "coronary_watched", (64, 96, 96)  # what trainings validate: large images take an hour
CASCADE, TILED, SLICES = "nnUNetTrainerSkeletonCascade", "nnUNetTrainerAGUNet", "nnUNetTrainer"
CASCADE_PLANS, TILED_PLANS = "nnUNetCoronaryCascadePlans", "nnUNetCoronaryTiledPlans"
METRICS = ("Dice", "cl_dice", "recall", "precision")
TWO_STAGES, EVERYWHERE, DIRECT = "two stages", "its fine network everywhere", "direct (coarse alone)"
PAPER_DICE = {TWO_STAGES: 0.7950, DIRECT: 0.7533, "slices (2d)": 0.7156, "tiled patches": 0.6872}


@dataclass(frozen=True)
class Setting:
    """How large the benchmark is.

    Attributes:
        size_vox: of the images.
        cases: training phantoms.
        test_cases: unseen phantoms.
        coarse_grid: of the images in the coarse stage.
        patch: edge of the fine patch.
        batch: fine patches a step.
        memory_gb: target of nnU-Net's own plans, which decides the coarse stage's patch.
        budget: of every training.
    """

    size_vox: tuple[int, ...] = WHOLE_VOX
    cases: int = 6
    test_cases: int = 1
    coarse_grid: tuple[int, ...] = (128, 256, 256)
    patch: int = 32
    batch: int = 8
    memory_gb: float = 1.0
    budget: str = "10epochs_25iters"


SETTINGS = {
    "full": Setting(),
    "small": Setting(
        size_vox=(160, 192, 192),
        cases=4,
        coarse_grid=(80, 96, 96),
        batch=2,
        memory_gb=0.5,
        budget="10epochs_20iters",
    ),
}


def write_phantoms(work: Work, setting: Setting) -> None:
    """Training and test cases; those that are there are kept."""
    names = [f"coronary_{seed:02}" for seed in range(setting.cases + setting.test_cases)]
    for seed, name in enumerate([*names, WATCHED]):
        if work.has_case(name):
            continue
        print(f"phantom {seed}", file=sys.stderr, flush=True)
        patient = make_coronary(seed=seed, size_vox=WHOLE_VOX, spacing_mm=SPACING_MM)
        size = WATCHED_VOX if name == WATCHED else setting.size_vox
        is_test = name in names[setting.cases :]
        work.write_case(patient, name, train=not is_test, box=fullest_box(patient.label, size))
    training = names[: setting.cases]
    work.describe(
        channels=["CT"],
        labels={"background": 0, "coronary_artery": 1},
        cases=[*training, WATCHED],
        splits=splits_of(training, watched=WATCHED),
    )


def fullest_box(label: NDArray[np.uint8], size: Sequence[int], *, step: int = 4) -> tuple[slice, ...]:
    """The box of a size that holds most of what is labeled, to ``step`` voxels.

    Example:
        >>> label = np.zeros((8, 8, 40), np.uint8)
        >>> label[:, :, 30:] = 1
        >>> fullest_box(label, (8, 8, 8))[2].start >= 28
        True
    """
    few = (label[::step, ::step, ::step] > 0).astype(np.float32)
    held = ndimage.uniform_filter(few, [max(1, n // step) for n in size], mode="constant")
    center = np.array(np.unravel_index(held.argmax(), held.shape)) * step
    lows = [int(np.clip(c - n // 2, 0, end - n)) for c, n, end in zip(center, size, label.shape, strict=True)]
    return tuple(slice(low, low + n) for low, n in zip(lows, size, strict=True))


def plan(work: Work, setting: Setting) -> None:
    """Fingerprint, nnU-Net's plans, ours, and the data of all of them."""
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    target = ("-gpu_memory_target", setting.memory_gb)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number, *target)
    shape = (setting.patch,) * 3
    ours = ("--network", "AGUNet", "--match-vanilla-gb", setting.memory_gb, "--batch-size", setting.batch)
    stages = ("--coarse", "--coarse-grid", *setting.coarse_grid, "--fine-patch", *shape)
    work.plan(CASCADE_PLANS, *ours, *stages)
    work.plan(TILED_PLANS, *ours, "--patch-size", *shape)
    work.preprocess("nnUNetPlans", "2d", "3d_fullres")
    work.preprocess(CASCADE_PLANS, "3d_lowres", "3d_fullres")
    work.preprocess(TILED_PLANS, "3d_fullres")


def train_and_predict(work: Work, budget: str) -> dict[str, dict[str, Any]]:
    """Both folds of the coarse stage, one of the rest; every way over the test cases."""
    cascade, tiled, slices = (f"{name}_{budget}_NoMirroring" for name in (CASCADE, TILED, SLICES))
    for fold in COARSE_FOLDS:
        work.train(cascade, CASCADE_PLANS, "3d_lowres", fold)
    coarse = {"trainer": cascade, "plans": CASCADE_PLANS, "configuration": "3d_lowres", "fold": 0}
    fine = {**coarse, "configuration": "3d_cascade_fullres", "fold": FOLD}
    with_coarse = ("--coarse-folds", 0)
    ways: dict[str, dict[str, Any]] = {
        DIRECT: coarse,
        TWO_STAGES: {**fine, "more": with_coarse},
        "two stages, Gaussian merge": {**fine, "more": (*with_coarse, "--merge", "gaussian")},
        "slices (2d)": {"trainer": slices, "plans": "nnUNetPlans", "configuration": "2d", "fold": FOLD},
        "tiled patches": {
            "trainer": tiled,
            "plans": TILED_PLANS,
            "configuration": "3d_fullres",
            "fold": FOLD,
        },
        EVERYWHERE: {**fine, "more": (*with_coarse, "--everywhere")},
    }
    found = {}
    for way, model in ways.items():  # the long scans come last
        work.train(model["trainer"], model["plans"], model["configuration"], model["fold"])
        found[way] = work.predict(way, **model)
    return found


def print_table(found: Mapping[str, Mapping[str, Any]], *, ceiling: float | None) -> None:
    """One line a way, and the cascade beside its fine network everywhere."""
    print_machine()
    columns = (*METRICS, "paper 000", "ceiling")
    print(f"{'':<30}" + "".join(f"{name:>10}" for name in columns) + f"{'tiles':>8}   seconds a case")
    for way, result in found.items():
        (mean,) = result["scores"]["mean"].values()
        of_way = ceiling if way.startswith(TWO_STAGES) else None
        shown = [*(mean.get(name) for name in METRICS), PAPER_DICE.get(way), of_way]
        print(f"{way:<30}{''.join(shown_number(n, 10) for n in shown)}{seconds_a_case(result)}")
    dice = {way: next(iter(r["scores"]["mean"].values()))["Dice"] for way, r in found.items()}
    parts = {
        way: [case["seconds"] for case in found[way]["report"]["cases"]] for way in (TWO_STAGES, EVERYWHERE)
    }
    network = {
        way: sum(s.get("coarse", 0) + s.get("proposals", 0) + s["network"] for s in seconds)
        for way, seconds in parts.items()
    }
    total = {way: sum(sum(s.values()) for s in seconds) for way, seconds in parts.items()}
    print(
        f"against its fine network everywhere: {network[EVERYWHERE] / network[TWO_STAGES]:.1f} times faster "
        f"in networks and proposals, {total[EVERYWHERE] / total[TWO_STAGES]:.1f} with reading, resampling "
        f"and export; Dice {(dice[TWO_STAGES] or 0) - (dice[EVERYWHERE] or 0):+.4f}"
    )


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--setting", choices=SETTINGS, default="full", help="(full)")
    parser.add_argument("--budget", help="of every training, instead of the setting's: 10epochs_25iters")
    parser.add_argument("--test-cases", type=int, help="unseen phantoms, instead of the setting's")
    args = parser.parse_args()
    changed = {name: value for name in ("budget", "test_cases") if (value := getattr(args, name)) is not None}
    setting = replace(SETTINGS[args.setting], **changed)
    work = Work(args.work.resolve(), 961, "Dataset961_CoronaryPhantom", one_precision=True)
    work.require_same(asdict(setting))
    write_phantoms(work, setting)
    plan(work, setting)
    found = train_and_predict(work, setting.budget)
    named = {"kind": "skeleton", "plans": CASCADE_PLANS, "coarse_way": DIRECT, "result": found[TWO_STAGES]}
    print_table(found, ceiling=ceiling_of(work, **named))


if __name__ == "__main__":
    main()
