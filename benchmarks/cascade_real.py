"""The ROI cascade on real patients, from plans to predictions of patients that nobody has trained on.

    python benchmarks/cascade_real.py WORK hippocampus .../Task04_Hippocampus
    python benchmarks/cascade_real.py WORK sarcoma .../sts_sarcoma

Hippocampi (T1 MRI of the Decathlon, 36x50x35 voxels of 1 mm) or soft-tissue sarcomas (CT with a radiotherapy
target, 55x155x160 voxels of 3.27x0.98x0.98 mm, planned at 3.27x2x2 mm). There is no tubular target on real
voxels at hand. nnU-Net's coarse stage in two folds, ResUNet in a box around what it finds, and ResUNet as a
plain 3d_fullres with the same budget of iterations and patches a step; each about 40 minutes on two cores
without bfloat16.

All through commands that a user types; what is finished is not run again, trainings go on from their last
checkpoint. Prints Dice and HD95 by structure (means over test patients), the recall ceiling of the patients
that the fine stage validates, tiles and seconds a case.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from typed_commands import Work, print_machine, seconds_a_case, shown_number

CASCADE, PLAIN = "nnUNetTrainerROICascade", "nnUNetTrainerResUNet"
CASCADE_PLANS, PLAIN_PLANS = "nnUNetRealCascadePlans", "nnUNetRealPlainPlans"
PREDICTED = "roi cascade"
# A patient: name, image and label map.
Patient = tuple[str, Path, Path]


@dataclass(frozen=True)
class Setting:
    """A set of real patients, and how it is trained.

    Attributes:
        number: of the dataset.
        channel: of the images.
        labels: by name.
        cases: training patients.
        test_cases: patients that are only predicted.
        spacing_mm: of the fine stage and of the plain network.
        coarse_spacing_mm: of the coarse stage.
        fine_patch: the box.
        memory_gb: target of nnU-Net's own plans.
        budget: of every training.
    """

    number: int
    channel: str
    labels: Mapping[str, int]
    cases: int
    test_cases: int
    spacing_mm: tuple[float, ...]
    coarse_spacing_mm: tuple[float, ...]
    fine_patch: tuple[int, ...]
    memory_gb: float
    budget: str


def hippocampi(source: Path) -> Iterator[Patient]:
    """The Decathlon's layout."""
    for label in sorted((source / "labelsTr").glob("hippocampus_*.nii.gz")):
        yield label.name.removesuffix(".nii.gz"), source / "imagesTr" / label.name, label


def sarcomas(source: Path) -> Iterator[Patient]:
    """A folder a patient, with the target on the CT."""
    for folder in sorted(f for f in source.glob("STS_*") if f.is_dir()):
        yield folder.name, folder / "CT_image.nii.gz", folder / "CT_mask.nii.gz"


SETS: Mapping[str, tuple[Callable[[Path], Iterator[Patient]], Setting]] = {
    "hippocampus": (
        hippocampi,
        Setting(
            number=963,
            channel="MRI",
            labels={"background": 0, "anterior": 1, "posterior": 2},
            cases=60,
            test_cases=20,
            spacing_mm=(1.0, 1.0, 1.0),
            coarse_spacing_mm=(2.0, 2.0, 2.0),
            fine_patch=(24, 40, 24),
            memory_gb=0.5,
            budget="10epochs_25iters",
        ),
    ),
    "sarcoma": (
        sarcomas,
        Setting(
            number=964,
            channel="CT",
            labels={"background": 0, "GTV": 1},
            cases=14,
            test_cases=6,
            spacing_mm=(3.27, 2.0, 2.0),
            coarse_spacing_mm=(6.54, 4.0, 4.0),
            fine_patch=(32, 48, 48),
            memory_gb=0.5,
            budget="8epochs_20iters",
        ),
    ),
}


def write_patients(work: Work, setting: Setting, patients: Iterator[Patient]) -> None:
    """nnU-Net's raw dataset and test images, of the first patients; those that are there are kept."""
    wanted = setting.cases + setting.test_cases
    chosen = list(itertools.islice(patients, wanted))
    if len(chosen) < wanted:
        raise SystemExit(f"expected {wanted} patients, found {len(chosen)}")
    # Every so many one to be tested, so that an order in the numbers does no harm.
    tested = {name for name, *_ in chosen[:: len(chosen) // setting.test_cases][: setting.test_cases]}
    for name, image_file, label_file in chosen:
        if not work.has_case(name):
            image, label = sitk.ReadImage(str(image_file)), sitk.ReadImage(str(label_file))
            if image.GetSize() != label.GetSize():
                raise SystemExit(f"{name}: image of {image.GetSize()} voxels, label map of {label.GetSize()}")
            work.write_images([image], sitk.Cast(label, sitk.sitkUInt8), name, train=name not in tested)
    training = [name for name, *_ in chosen if name not in tested]
    work.describe(channels=[setting.channel], labels=setting.labels, cases=training)


def plan(work: Work, setting: Setting) -> None:
    """Fingerprint, nnU-Net's plans, ours, and the data of all of them."""
    work.once("fingerprint", "nnUNetv2_extract_fingerprint", "-d", work.number, "-np", 2)
    target = ("-gpu_memory_target", setting.memory_gb)
    work.once("plan", "nnUNetv2_plan_experiment", "-d", work.number, *target)
    ours = ("--network", "ResUNet", "--spacing-mm", *setting.spacing_mm)
    ours += ("--match-vanilla-gb", setting.memory_gb, "--batch-size", 2)
    work.plan(PLAIN_PLANS, *ours)
    coarse = ("--coarse", "--coarse-spacing-mm", *setting.coarse_spacing_mm)
    work.plan(CASCADE_PLANS, *ours, *coarse, "--fine-patch", *setting.fine_patch)
    work.preprocess(PLAIN_PLANS, "3d_fullres")
    work.preprocess(CASCADE_PLANS, "3d_lowres", "3d_fullres")


def train_and_predict(work: Work, budget: str) -> dict[str, dict[str, Any]]:
    """Both folds of the coarse stage, fold 0 of the rest; every way over the test patients."""
    cascade, plain = (f"{name}_{budget}_NoMirroring" for name in (CASCADE, PLAIN))
    work.train(cascade, CASCADE_PLANS, "3d_lowres", 1)
    coarse = {"trainer": cascade, "plans": CASCADE_PLANS, "configuration": "3d_lowres"}
    ways = {
        "coarse stage alone": coarse,
        PREDICTED: {**coarse, "configuration": "3d_cascade_fullres"},
        "plain 3d_fullres": {"trainer": plain, "plans": PLAIN_PLANS, "configuration": "3d_fullres"},
    }
    found = {}
    for way, model in ways.items():
        work.train(model["trainer"], model["plans"], model["configuration"], 0)
        found[way] = work.predict(way, **model)
    return found


def ceiling_of_validation(work: Work, budget: str) -> float | None:
    """What the fine stage reports of the patients that it validates."""
    folder = work.model(f"{CASCADE}_{budget}_NoMirroring", CASCADE_PLANS, "3d_cascade_fullres")
    report = json.loads((folder / "fold_0" / "cascade_validation.json").read_text())
    ceiling: float | None = report["mean"]["validation"]["recall_ceiling"]
    return ceiling


def print_table(
    found: Mapping[str, Mapping[str, Any]], labels: Mapping[str, int], *, ceiling: float | None
) -> None:
    """One line a way."""
    print_machine()
    columns = [(name, metric) for metric in ("Dice", "hd95_mm") for name in labels if name != "background"]
    named = "".join(f"{f'{name} {metric}':>20}" for name, metric in columns)
    print(f"{'':<20}{named}{'ceiling':>10}{'tiles':>8}   seconds a case")
    for way, result in found.items():
        mean = result["scores"]["mean"]
        scores = "".join(shown_number(mean[str(labels[n])].get(metric), 20, 3) for n, metric in columns)
        of_way = ceiling if way == PREDICTED else None
        print(f"{way:<20}{scores}{shown_number(of_way, 10)}{seconds_a_case(result)}")
    for case in found[PREDICTED]["report"]["cases"]:
        for note in case["notes"]:
            print(f"{case['name']}: {note}")


def main() -> None:
    """Do what is left to do, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for everything")
    parser.add_argument("patients", choices=SETS)
    parser.add_argument("source", type=Path, help="folder of the patients")
    parser.add_argument("--budget", help="of every training, instead of the set's: 10epochs_25iters")
    args = parser.parse_args()
    patients, setting = SETS[args.patients]
    setting = replace(setting, budget=args.budget or setting.budget)
    name = f"Dataset{setting.number}_Real{args.patients.capitalize()}"
    work = Work(args.work.resolve(), setting.number, name, one_precision=True, image_by_image=False)
    work.require_same(asdict(setting))
    write_patients(work, setting, patients(args.source))
    plan(work, setting)
    found = train_and_predict(work, setting.budget)
    print_table(found, setting.labels, ceiling=ceiling_of_validation(work, setting.budget))


if __name__ == "__main__":
    main()
