"""The refiner on real hippocampi, whose anterior part lies before the posterior one: before and after.

    python benchmarks/refine_hippocampus.py WORK .../Task04_Hippocampus [--budget 10epochs_25iters]

All cases of the Decathlon's Task04 (T1 MRI, about 36x50x35 voxels of 1 mm). Every fourth is tested alone; the
others are in two folds of nnU-Net's own trainer at 2 mm, whose out-of-fold probabilities refiners learn from.
Test cases are predicted by both folds and refined as the refiner decides, where the network was unsure,
everywhere, and with a coarser local grid, beside nnU-Net's own connected components, decided on the same
out-of-fold predictions.

All through commands that a user types; what is finished is not run again. Prints the held-out tables, and
what :mod:`refine_heart` prints of test cases.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import SimpleITK as sitk
from cascade_real import hippocampi
from refined_model import CONFIGURATION, FIRST, RefinedModel
from typed_commands import Work

PLANS = "nnUNet2mmPlans"


def write_patients(work: Work, source: Path) -> None:
    """Every fourth patient to be tested; those that are there are kept."""
    patients = list(hippocampi(source))
    tested = {name for name, *_ in patients[::4]}
    for name, image_file, label_file in patients:
        if not work.has_case(name):
            image, label = (sitk.ReadImage(str(file)) for file in (image_file, label_file))
            work.write_images([image], sitk.Cast(label, sitk.sitkUInt8), name, train=name not in tested)
    training = [name for name, *_ in patients if name not in tested]
    work.describe(channels=["MRI"], labels={"background": 0, "anterior": 1, "posterior": 2}, cases=training)


def main() -> None:
    """Do what is left to do, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("source", type=Path, help="Task04_Hippocampus")
    parser.add_argument("--budget", default="10epochs_25iters", help="of the first network")
    parser.add_argument(
        "--refiner-iterations", type=int, default=1000, help="of each of its trainings (1000)"
    )
    args = parser.parse_args()
    work = Work(args.work.resolve(), 965, "Dataset965_RefineHippocampus", image_by_image=False)
    work.folder.mkdir(parents=True, exist_ok=True)
    work.require_same({"budget": args.budget, "refiner_iterations": args.refiner_iterations})
    write_patients(work, args.source)
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    spacing = ("-overwrite_target_spacing", 2, 2, 2, "-overwrite_plans_name", PLANS)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number, *spacing)
    work.preprocess(PLANS, CONFIGURATION)
    model = RefinedModel(work, trainer=f"nnUNetTrainer_{args.budget}", plans=PLANS)
    model.train(iterations=args.refiner_iterations)
    model.refine(FIRST)
    model.print_held_out()
    model.print_table(FIRST)


if __name__ == "__main__":
    main()
