"""MR to CT on whole-heart phantoms: error against the true CT, and what synthetic cases do for a CT network.

    python benchmarks/translate_heart.py WORK [--steps 3000] [--budget 6epochs_25iters]

MR and CT phantoms of different patients. A CycleGAN of stated size and length learns MR to CT; its control
gives the MR the histogram of CT. Both are compared with the true CT of the MR's patients, which nobody was
shown: mean absolute error in HU within the body, of all and of each tissue, and Dice of what a threshold
finds in the true and in the synthetic image. Beside them stand a gray image (the median HU of real CT's
bodies) and, for anchored generators, what they are before they learn anything: what is no better than these
has learned nothing. Settings are tried on other patients (``--first-seed 1100``) than those of the report.

Then paper 001's ablation: nnUNetTrainerMAUNet trained (fold all) on the real CT with 0, 10, 50 and 100 % of
the synthetic cases, and with 50 and 100 % of the control's, at equal budget, without mirroring; Dice on CT of
further patients, with the paired difference from real CT alone.

All through commands that a user types; what is finished is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from learned_translation import add_arguments, dice, gray_of, learn, print_errors, print_run, rows_of
from typed_commands import Work

from nnunet_ext.evaluation.statistics import compare, corrected
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.whole_heart import LABELS, Modality, make_whole_heart

MR, CT, SYNTHETIC, MATCHED, ANCHOR = 971, 972, 973, 974, 975
NAMES = {
    MR: "HeartMR",
    CT: "HeartCT",
    SYNTHETIC: "SyntheticCT",
    MATCHED: "MatchedMR",
    ANCHOR: "AnchorAlone",
}
MADE = {"translation": SYNTHETIC, "match": MATCHED, "anchor": ANCHOR}
# Number of the mixed dataset: source of its synthetic cases, and their fraction.
MIXES = {
    980: (SYNTHETIC, 0.0),
    981: (SYNTHETIC, 0.1),
    982: (SYNTHETIC, 0.5),
    983: (SYNTHETIC, 1.0),
    984: (MATCHED, 0.5),
    985: (MATCHED, 1.0),
}
# Of MR patients, CT patients and unseen CT patients, beyond the first seed: no one is two of them.
SEEDS = {"MR": 0, "CT": 100, "test": 200}
WINDOW_HU = (-1024.0, 1024.0)
# HU above or below which a structure is found: lungs and air in the body, bone and contrast agent.
THRESHOLDS = {"lung": (-1100.0, -500.0), "bone and blood": (150.0, 3100.0)}
OUTSIDE = (Material.AIR, Material.COUCH, Material.FOAM)
TISSUES: Mapping[str, tuple[Material, ...]] = {
    "lung": (Material.LUNG,),
    "fat": (Material.FAT,),
    "muscle": (Material.MUSCLE,),
    "bone": (Material.COMPACT_BONE, Material.SPONGY_BONE),
    "myocardium": (Material.LV_MYOCARDIUM, Material.OTHER_MYOCARDIUM),
    "left ventricle": (Material.LEFT_VENTRICLE,),
    "right ventricle": (Material.RIGHT_VENTRICLE,),
}


def dataset(folder: Path, number: int, name: str | None = None) -> Work:
    """A dataset of this benchmark."""
    return Work(folder, number, f"Dataset{number}_{name or NAMES[number]}", image_by_image=False)


def write_phantoms(
    folder: Path, *, cases: int, test_cases: int, size_vox: Sequence[int], first_seed: int
) -> None:
    """Both datasets, unseen CT, and the true CT of the MR's patients on the MR's grid."""
    spacing_mm = [mm / n for mm, n in zip((170.0, 225.28, 225.28), size_vox, strict=True)]

    def patient(seed: int, modality: Modality) -> Any:
        return make_whole_heart(seed=seed, modality=modality, size_vox=size_vox, spacing_mm=spacing_mm)

    if (folder / "phantoms").exists():
        return
    for number, modality in ((MR, "MR"), (CT, "CT")):
        work = dataset(folder, number)
        names = [f"{modality.lower()}_{n:02}" for n in range(cases)]
        for n, name in enumerate(names):
            seed = first_seed + SEEDS[modality] + n
            work.write_case(patient(seed, modality), name, train=True)  # type: ignore[arg-type]
        work.describe(channels=[modality], labels=LABELS, cases=names)
        (folder / "raw" / work.name / "splits_final.json").unlink()  # fold all
    for n in range(test_cases):
        unseen = patient(first_seed + SEEDS["test"] + n, "CT")
        dataset(folder, CT).write_case(unseen, f"test_{n:02}", train=False)
    for n in range(cases):
        true = patient(first_seed + SEEDS["MR"] + n, "CT").channels[0]
        (folder / "true_ct").mkdir(exist_ok=True)
        np.savez_compressed(folder / "true_ct" / f"mr_{n:02}.npz", hu=true.image, tissue=true.tissue)
    (folder / "phantoms").touch()


def translate(folder: Path, args: argparse.Namespace) -> None:
    """Plans, data, the translation, and all kinds of synthetic CT."""
    spacing_mm = [round(mm / n, 4) for mm, n in zip((170.0, 225.28, 225.28), args.size_vox, strict=True)]
    planned = ("--spacing-mm", *spacing_mm, "--patch-size", *args.patch_size, "--window", *WINDOW_HU)
    learn(dataset(folder, MR), args, pair=(MR, CT), made=MADE, names=NAMES, planned=planned)


def errors(folder: Path, number: int | None, *, gray: float) -> dict[str, float]:
    """Of a dataset's synthetic CT, or of a gray image, means over cases; HU are clipped to the window."""
    found: dict[str, list[float]] = {}
    for file in sorted((folder / "true_ct").glob("*.npz")):
        with np.load(file) as saved:
            true, tissue = saved["hu"].astype(np.float32).clip(*WINDOW_HU), saved["tissue"]
        body = ~np.isin(tissue, OUTSIDE)
        if number is None:
            synthetic = np.full(true.shape, gray, np.float32)
        else:
            image = (
                folder / "raw" / f"Dataset{number}_{NAMES[number]}" / "imagesTr" / f"{file.stem}_0000.nii.gz"
            )
            synthetic = sitk.GetArrayFromImage(sitk.ReadImage(str(image))).astype(np.float32).clip(*WINDOW_HU)
        away = np.abs(true - synthetic)
        found.setdefault("MAE in the body (HU)", []).append(float(away[body].mean()))
        for name, materials in TISSUES.items():
            found.setdefault(f"MAE, {name}", []).append(float(away[np.isin(tissue, materials)].mean()))
        for structure, (low, high) in THRESHOLDS.items():
            masks = [(image > low) & (image < high) & body for image in (true, synthetic)]
            found.setdefault(f"Dice of {structure}", []).append(dice(*masks))
    return {metric: float(np.mean(values)) for metric, values in found.items()}


def train_arms(folder: Path, budget: str) -> dict[str, dict[str, Any]]:
    """The ablation: scores of every arm on unseen CT."""
    found = {}
    trainer = f"nnUNetTrainerMAUNet_{budget}_NoMirroring"
    for number, (source, fraction) in MIXES.items():
        way = "real CT alone" if not fraction else f"{NAMES[source]} {fraction:.0%}"
        work = dataset(folder, number, "Mixed")
        mixing = (
            "nnunet_ext",
            "translate",
            "mix",
            CT,
            source,
            "--fraction",
            fraction,
            "--dataset-id",
            number,
        )
        work.once(f"mix-{number}", *mixing)
        planning = ("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "3d_fullres")
        work.once(f"plan-{number}", *planning, "-npfp", 1, "-np", 1)
        work.train(trainer, "nnUNetPlans", "3d_fullres", "all")
        found[way] = work.predict(
            way, trainer=trainer, plans="nnUNetPlans", configuration="3d_fullres", fold="all"
        )
    return found


def print_scores(found: Mapping[str, Mapping[str, Any]]) -> None:
    """One line an arm: Dice of each structure and their mean; then each arm against real CT alone."""
    structures = [name for name in LABELS if name != "background"]
    print(f"\n| arm | {' | '.join(structures)} | mean |\n|---|{'---|' * (len(structures) + 1)}")
    of_cases: dict[str, list[float]] = {}
    for way, result in found.items():
        scores = result["scores"]
        means = [scores["mean"][str(LABELS[name])]["Dice"] or 0.0 for name in structures]
        print(f"| {way} | {' | '.join(f'{m:.3f}' for m in means)} | {np.mean(means):.3f} |")
        cases = sorted(scores["metric_per_case"], key=lambda case: str(case["case"]))
        of_cases[way] = [
            float(np.mean([case["metrics"][str(LABELS[name])]["Dice"] or 0.0 for name in structures]))
            for case in cases
        ]
    first, *others = of_cases
    for comparison in corrected(
        [
            compare(
                np.array(of_cases[way])[:, None],
                np.array(of_cases[first])[:, None],
                names=(way, first),
                structure="all structures",
            )
            for way in others
        ]
    ):
        print(f"- {comparison.sentence}")


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("--cases", type=int, default=8, help="training phantoms of each modality (8)")
    parser.add_argument("--test-cases", type=int, default=10, help="unseen CT phantoms (10)")
    parser.add_argument("--size-vox", type=int, nargs=3, default=(40, 48, 48))
    parser.add_argument("--patch-size", type=int, nargs=3, default=(40, 48, 48))
    add_arguments(parser, steps=3000)
    parser.add_argument("--first-seed", type=int, default=100, help="of the phantoms (100)")
    parser.add_argument("--budget", default="6epochs_25iters", help="of every training")
    parser.add_argument("--no-downstream", action="store_true", help="stop after the translation")
    args = parser.parse_args()
    folder = args.work.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {k: v for k, v in vars(args).items() if k not in ("work", "no_downstream")}
    dataset(folder, MR).require_same(settings)
    phantoms = {name: settings[name] for name in ("cases", "test_cases", "size_vox", "first_seed")}
    write_phantoms(folder, **phantoms)
    translate(folder, args)
    print_run(dataset(folder, MR), settings)
    gray = gray_of((folder / "raw" / dataset(folder, CT).name / "imagesTr").glob("*.nii.gz"), body_hu=-500.0)
    rows = rows_of(args, MADE)
    print_errors({name: errors(folder, number, gray=gray) for name, number in rows.items()})
    if not args.no_downstream:
        print_scores(train_arms(folder, args.budget))


if __name__ == "__main__":
    main()
