"""What benchmarks of translations share: options, the training with its beginning, and tables of errors."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from typed_commands import Work, print_machine

PLANS = "nnUNetTranslationPlans"


def add_arguments(parser: argparse.ArgumentParser, *, steps: int) -> None:
    """How long a translation learns, and what."""
    parser.add_argument("--steps", type=int, default=steps, help=f"of the translation ({steps})")
    parser.add_argument("--features", type=int, default=16, help="of the generators (16)")
    parser.add_argument("--blocks", type=int, default=3, help="of the generators (3)")
    parser.add_argument("--discriminator-features", type=int, default=32)
    parser.add_argument("--identity-weight", type=float, default=1.0)
    parser.add_argument("--structure-weight", type=float, default=0.0)
    parser.add_argument("--cycle-weight", type=float, default=10.0)
    parser.add_argument("--anchored", action="store_true", help="begin as a table of intensities")


def learn(
    work: Work,
    args: argparse.Namespace,
    *,
    pair: tuple[int, int],
    made: Mapping[str, int],
    names: Mapping[int, str],
    planned: Sequence[Any],
) -> None:
    """Plans, data, the translation, what an anchored one begins as, and the control.

    Args:
        work: of the MR.
        args: of :func:`add_arguments`.
        pair: datasets of MR and CT.
        made: number of the dataset that ``translation``, ``anchor`` and ``match`` write.
        names: of those datasets.
        planned: options of ``translate plan``.
    """
    work.once("fingerprints", "nnUNetv2_extract_fingerprint", "-d", *pair, "-np", 1)
    work.once("plan-translation", "nnunet_ext", "translate", "plan", *pair, *planned)
    preprocess = ("nnUNetv2_preprocess", "-d", *pair, "-plans_name", PLANS, "-c", "3d_fullres", "-np", 1)
    work.once("preprocess-translation", *preprocess)
    size = ("--features", args.features, "--blocks", args.blocks)
    size += ("--discriminator-features", args.discriminator_features)
    weights = ("--structure-weight", args.structure_weight, "--identity-weight", args.identity_weight)
    weights += ("--cycle-weight", args.cycle_weight, *(["--anchored"] if args.anchored else []))
    run = ("--picture-every", max(1, args.steps // 5), "--workers", 1, "--checkpoint-every", 100)
    train = ("nnunet_ext", "translate", "train", *pair, "--device", "cpu", *size, *weights, *run)
    for name, steps in {"translation": args.steps, **({"anchor": 1} if args.anchored else {})}.items():
        model, number = work.folder / name, made[name]
        work.once(f"train-{name}", *train, "--out", model, "--steps", steps)
        apply = ("nnunet_ext", "translate", "apply", model, pair[0], "--dataset-id", number)
        work.once(f"apply-{name}", *apply, "--name", names[number])
    match = ("nnunet_ext", "translate", "match", *pair, "--dataset-id", made["match"])
    work.once("match", *match, "--name", names[made["match"]])


def rows_of(args: argparse.Namespace, made: Mapping[str, int]) -> dict[str, int | None]:
    """What is compared: dataset by name, None for a gray image."""
    rows: dict[str, int | None] = {
        "translation": made["translation"],
        "histogram matching": made["match"],
        "a gray image": None,
    }
    return rows | ({"its beginning (one step)": made["anchor"]} if args.anchored else {})


def gray_of(files: Iterable[Path], *, body_hu: float) -> float:
    """Median HU of what lies above ``body_hu`` in CT images."""
    images = [sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in sorted(files)]
    return float(np.median(np.concatenate([image[image > body_hu] for image in images])))


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|)."""
    return 2 * float((one & other).sum()) / max(1.0, float(one.sum() + other.sum()))


def print_run(work: Work, settings: Mapping[str, Any]) -> None:
    """Machine, settings and cost."""
    print_machine()
    print(json.dumps(dict(settings)))
    seconds = float((work.folder / "done" / "train-translation").read_text())
    print(f"{seconds / settings['steps']:.2f} s a step of the translation, with its start")


def print_errors(rows: Mapping[str, Mapping[str, float]]) -> None:
    """One line a method."""
    metrics = list(next(iter(rows.values())))
    print(f"| | {' | '.join(metrics)} |\n|---|{'---|' * len(metrics)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[m]:.3g}' for m in metrics)} |")
