"""MR to CT on whole-heart phantoms: error against the true CT, and what synthetic cases do for a CT network.

    python benchmarks/translate_heart.py WORK [--steps 3000] [--budget 6epochs_25iters]

MR and CT phantoms of different patients. A CycleGAN of stated size and length learns MR to CT; its control
gives the MR the histogram of CT. Both are compared with the true CT of the MR's patients, which nobody was
shown: mean absolute error in HU within the body, and Dice of what a threshold finds in the true and in the
synthetic image.

Then paper 001's ablation: nnUNetTrainerMAUNet trained (fold all) on the real CT with 0, 10, 50 and 100 % of
the synthetic cases, and with 50 and 100 % of the control's, at equal budget, without mirroring; Dice on CT of
further patients. All through commands that a user types; what is finished is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from typed_commands import Work, print_machine

from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.whole_heart import LABELS, Modality, make_whole_heart

MR, CT, SYNTHETIC, MATCHED = 971, 972, 973, 974
NAMES = {MR: "HeartMR", CT: "HeartCT", SYNTHETIC: "SyntheticCT", MATCHED: "MatchedMR"}
PLANS = "nnUNetTranslationPlans"
# Number of the mixed dataset: source of its synthetic cases, and their fraction.
MIXES = {
    980: (SYNTHETIC, 0.0),
    981: (SYNTHETIC, 0.1),
    982: (SYNTHETIC, 0.5),
    983: (SYNTHETIC, 1.0),
    984: (MATCHED, 0.5),
    985: (MATCHED, 1.0),
}
# Seeds of MR patients, CT patients and unseen CT patients: no one is two of them.
FIRST_SEED = {"MR": 100, "CT": 200, "test": 300}
# HU above or below which a structure is found: lungs and air in the body, bone and contrast agent.
THRESHOLDS = {"lung": (-1100.0, -500.0), "bone and blood": (150.0, 3100.0)}
OUTSIDE = (Material.AIR, Material.COUCH, Material.FOAM)


def dataset(folder: Path, number: int, name: str | None = None) -> Work:
    """A dataset of this benchmark."""
    return Work(folder, number, f"Dataset{number}_{name or NAMES[number]}")


def write_phantoms(folder: Path, *, cases: int, test_cases: int, size_vox: Sequence[int]) -> None:
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
            work.write_case(patient(FIRST_SEED[modality] + n, modality), name, train=True)  # type: ignore[arg-type]
        work.describe(channels=[modality], labels=LABELS, cases=names)
        (folder / "raw" / work.name / "splits_final.json").unlink()  # fold all
    for n in range(test_cases):
        dataset(folder, CT).write_case(patient(FIRST_SEED["test"] + n, "CT"), f"test_{n:02}", train=False)
    for n in range(cases):
        true = patient(FIRST_SEED["MR"] + n, "CT").channels[0]
        (folder / "true_ct").mkdir(exist_ok=True)
        body = ~np.isin(true.tissue, OUTSIDE)
        np.savez_compressed(folder / "true_ct" / f"mr_{n:02}.npz", hu=true.image, body=body)
    (folder / "phantoms").touch()


def translate(folder: Path, args: argparse.Namespace) -> None:
    """Plans, data, the translation, and both kinds of synthetic CT."""
    work = dataset(folder, MR)
    spacing_mm = [round(mm / n, 4) for mm, n in zip((170.0, 225.28, 225.28), args.size_vox, strict=True)]
    work.once("fingerprints", "nnUNetv2_extract_fingerprint", "-d", MR, CT, "-np", 1)
    options = ("--spacing-mm", *spacing_mm, "--patch-size", *args.patch_size, "--window", -1024, 1024)
    work.once("plan-translation", "nnunet_ext", "translate", "plan", MR, CT, *options)
    preprocess = ("nnUNetv2_preprocess", "-d", MR, CT, "-plans_name", PLANS, "-c", "3d_fullres", "-np", 1)
    work.once("preprocess-translation", *preprocess)
    size = ("--features", args.features, "--blocks", args.blocks)
    size += ("--discriminator-features", args.discriminator_features)
    train = ("nnunet_ext", "translate", "train", MR, CT, "--out", folder / "translation", "--device", "cpu")
    run = ("--steps", args.steps, "--picture-every", max(1, args.steps // 5), "--workers", 1)
    more = ("--structure-weight", args.structure_weight, "--identity-weight", args.identity_weight)
    more += (*(["--anchored"] if args.anchored else []), "--checkpoint-every", 100)
    work.once("translate", *train, *size, *run, *more)
    work.once(
        "apply", "nnunet_ext", "translate", "apply", folder / "translation", MR, "--dataset-id", SYNTHETIC
    )
    work.once("match", "nnunet_ext", "translate", "match", MR, CT, "--dataset-id", MATCHED)


def errors(folder: Path, number: int, name: str) -> dict[str, float]:
    """Of the synthetic CT of a dataset, means over cases."""
    found: dict[str, list[float]] = {}
    images = folder / "raw" / f"Dataset{number}_{name}" / "imagesTr"
    for file in sorted((folder / "true_ct").glob("*.npz")):
        with np.load(file) as saved:
            true, body = saved["hu"].astype(np.float32), saved["body"]
        synthetic = sitk.GetArrayFromImage(sitk.ReadImage(str(images / f"{file.stem}_0000.nii.gz")))
        found.setdefault("MAE in the body (HU)", []).append(
            float(np.abs(np.clip(true, -1024, 1024) - synthetic)[body].mean())
        )
        for structure, (low, high) in THRESHOLDS.items():
            masks = [(image > low) & (image < high) & body for image in (true, synthetic)]
            found.setdefault(f"Dice of {structure}", []).append(dice(*masks))
    return {metric: float(np.mean(values)) for metric, values in found.items()}


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|)."""
    return 2 * float((one & other).sum()) / max(1.0, float(one.sum() + other.sum()))


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


def print_errors(rows: Mapping[str, Mapping[str, float]]) -> None:
    """One line a method."""
    metrics = list(next(iter(rows.values())))
    print(f"| | {' | '.join(metrics)} |\n|---|{'---|' * len(metrics)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[m]:.3g}' for m in metrics)} |")


def print_scores(found: Mapping[str, Mapping[str, Any]]) -> None:
    """One line an arm: Dice of each structure and their mean with its standard error over cases."""
    structures = [name for name in LABELS if name != "background"]
    print(f"\n| arm | {' | '.join(structures)} | mean |\n|---|{'---|' * (len(structures) + 1)}")
    for way, result in found.items():
        scores = result["scores"]
        means = [scores["mean"][str(LABELS[name])]["Dice"] or 0.0 for name in structures]
        print(f"| {way} | {' | '.join(f'{m:.3f}' for m in means)} | {np.mean(means):.3f} |")


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
    parser.add_argument("--steps", type=int, default=3000, help="of the translation (3000)")
    parser.add_argument("--features", type=int, default=16, help="of the generators (16)")
    parser.add_argument("--blocks", type=int, default=4, help="of the generators (4)")
    parser.add_argument("--discriminator-features", type=int, default=32)
    parser.add_argument("--identity-weight", type=float, default=1.0)
    parser.add_argument("--structure-weight", type=float, default=0.0)
    parser.add_argument("--anchored", action="store_true", help="begin as a table of intensities")
    parser.add_argument("--budget", default="6epochs_25iters", help="of every training")
    parser.add_argument("--no-downstream", action="store_true", help="stop after the translation")
    args = parser.parse_args()
    folder = args.work.resolve()
    write_phantoms(folder, cases=args.cases, test_cases=args.test_cases, size_vox=args.size_vox)
    translate(folder, args)
    print_machine()
    print(json.dumps({k: v for k, v in vars(args).items() if k != "work"}), file=sys.stderr)
    print_errors(
        {
            "translation": errors(folder, SYNTHETIC, NAMES[SYNTHETIC]),
            "histogram matching": errors(folder, MATCHED, NAMES[MATCHED]),
        }
    )
    if not args.no_downstream:
        print_scores(train_arms(folder, args.budget))


if __name__ == "__main__":
    main()
