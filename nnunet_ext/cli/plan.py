"""The verb ``plan``: nnU-Net plans for one of our networks."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Sequence
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.cascade.settings import COARSE, FINE
from nnunet_ext.cli.plan_coarse import (
    CASCADES,
    add_coarse_arguments,
    coarse_request,
    kind_of,
    wrong_coarse_value,
)
from nnunet_ext.presets import Preset
from nnunet_ext.regimes import REGIMES, Regime
from nnunet_ext.trainers.registry import SINGLE_STAGE

if TYPE_CHECKING:
    from nnunet_ext.planning.request import Planned, PlannedConfiguration, PlanRequest

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Plan a dataset for one of our networks. nnU-Net's planner decides spacing and topology; patch and batch are
the largest with which a training step of the network keeps no more memory than a step of nnU-Net's own
network with the patch and batch that the same memory target gives it. A batch covers 5 % of the dataset at
most, as in nnU-Net. Memory is traced, not guessed: no GPU is needed.

With --gpu-memory-gb the budget is the most that a step holds at once, instead of nnU-Net's step; workspaces
of cuDNN are not in it. Where patch and batch are both given and no memory, they are planned whatever they
need, with a warning.

The plans are written beside nnU-Net's, which stay as they are. Where the preprocessed data of other plans
would be the same, they are used, and there is nothing to preprocess.

With --coarse the plans get the two stages of a cascade, 3d_lowres with nnU-Net's own network and
3d_cascade_fullres, which looks at patches that the coarse result proposes (docs/cascade.md).
"""
EPILOG = """\
examples:
  nnUNetv2_plan_and_preprocess -d 4                 # once: nnU-Net's fingerprint, plans and data
  nnunet_ext plan 4 --network RASUNet
  nnunet_ext plan 4 --network RASUNet --spacing-mm 3 1 1 --window -150 150
  nnunet_ext plan 4 --network MAUNet --preset       # spacing, patch, batch, ... of the network's paper
  nnunet_ext plan 4 --network VNet --preset 002     # of another paper, in which it is compared
  nnunet_ext plan 4 --network AGUNet --patch-size 64 64 64 --gpu-memory-gb 24
  nnunet_ext plan 4 --network AGUNet --coarse --coarse-grid 128 256 256 --fine-patch 32 32 32
  nnunet_ext plan 4 --network ResUNet --coarse --group eyes=3,4 --group "nerves=nerve left,nerve right"

exit code: 0 done, 2 wrong usage or environment, or nothing that fits
"""
NETWORKS = {trainer.network.rpartition(".")[2]: trainer for trainer in SINGLE_STAGE}
GIB = 2**30
# Why a batch is not larger.
BATCH_IS = {
    "memory": "the largest that fits",
    "dataset": "5 % of the dataset, or 2, at most",
    "asked": "as asked",
    "vanilla": "nnU-Net's own",
}
DEFAULT_TARGET_GB = 8.0  # nnU-Net's own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["4", "--network", "RASUNet", "--match-vanilla-gb", "11"]).match_vanilla_gb
        11.0
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("dataset", metavar="DATASET", help="nnU-Net's number or name of the dataset")
    parser.add_argument(
        "--network", required=True, metavar="NAME", choices=NETWORKS, help=f"one of {', '.join(NETWORKS)}"
    )
    parser.add_argument(
        "--planner", choices=("default", "resenc"), default="default", help="nnU-Net's planner (default)"
    )
    parser.add_argument(
        "--preset",
        nargs="?",
        const=True,
        choices=REGIMES,
        metavar="PAPER",
        help=f"what a paper asks for ({', '.join(REGIMES)}; the network's own where no number follows); "
        "other options override it",
    )
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument(
        "--match-vanilla-gb",
        type=float,
        metavar="GB",
        help=f"nnU-Net's memory target ({DEFAULT_TARGET_GB:g})",
    )
    memory.add_argument(
        "--gpu-memory-gb",
        type=float,
        metavar="GB",
        help="memory that a step may hold at once, in 10^9 bytes; leave about 1 for CUDA itself",
    )
    parser.add_argument(
        "--spacing-mm", type=float, nargs=3, metavar=("Z", "Y", "X"), help="spacing of 3d_fullres in mm"
    )
    parser.add_argument(
        "--patch-size",
        type=int,
        nargs="+",
        metavar="N",
        help="voxels of the images, z y x of 3d_fullres or y x of 2d, instead of the largest that fits",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="instead of the largest that fits; with --patch-size or --preset for that configuration alone",
    )
    parser.add_argument(
        "--window", type=float, nargs=2, metavar=("LO", "HI"), help="HU that become -1 and 1, in CT channels"
    )
    parser.add_argument("--order", type=int, choices=range(4), help="interpolation order of images (3)")
    add_coarse_arguments(parser.add_argument_group("two stages (a cascade)"))
    parser.add_argument("--plans-name", metavar="NAME", help="name of the plans (one that is free)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Plan, and print what was chosen; returns the exit code."""
    missing = [name for name in ("nnUNet_raw", "nnUNet_preprocessed") if not os.environ.get(name)]
    if missing:
        logger.error("plan: nnU-Net's variable %s is not set", " and ".join(missing))
        return 2
    wrong = _wrong_value(args)
    if wrong:
        logger.error("plan: %s", wrong)
        return 2
    from nnunet_ext.planning.plan import plan

    try:
        planned = plan(_request(args))
    except (ValueError, RuntimeError, OSError) as error:
        logger.error("plan %s: %s", args.dataset, error)
        return 2
    print(json.dumps(_as_dict(planned), indent=2) if args.json else _as_text(planned, args))
    return 0


def _wrong_value(args: argparse.Namespace) -> str:
    """What is wrong with the values, "" where nothing is."""
    numbers: dict[str, float | None] = {
        "--batch-size": args.batch_size,
        "--match-vanilla-gb": args.match_vanilla_gb,
        "--gpu-memory-gb": args.gpu_memory_gb,
        "--spacing-mm": args.spacing_mm and _worst(args.spacing_mm),
        "--patch-size": args.patch_size and min(args.patch_size),
        "--coarse-spacing-mm": args.coarse_spacing_mm and _worst(args.coarse_spacing_mm),
        "--coarse-grid": args.coarse_grid and min(args.coarse_grid),
        "--fine-patch": args.fine_patch and min(args.fine_patch),
    }
    for option, value in numbers.items():
        if value is not None and not 0 < value < inf:
            return f"{option} must be {'above 0' if value <= 0 else 'a finite number'}, got {value:g}"
    if args.window and not all(map(isfinite, args.window)):
        return f"--window must be two finite numbers, got {args.window[0]:g} {args.window[1]:g}"
    if args.plans_name and (Path(args.plans_name).name != args.plans_name or "__" in args.plans_name):
        return (
            f"--plans-name must be a file's name without __, which nnU-Net splits at, got {args.plans_name}"
        )
    if args.patch_size and len(args.patch_size) not in (2, 3):
        return f"--patch-size takes two or three numbers, got {len(args.patch_size)}"
    return wrong_coarse_value(args)


def _worst(values: Sequence[float]) -> float:
    """One that is no size, or any."""
    return next((value for value in values if not 0 < value < inf), values[0])


def regime_of(args: argparse.Namespace) -> Regime | None:
    """The paper whose preset is asked for."""
    if not args.preset:
        return None
    return REGIMES[NETWORKS[args.network].paper if args.preset is True else args.preset]


def _request(args: argparse.Namespace) -> PlanRequest:
    """What is asked for: the options, and behind them the preset."""
    from nnunet_ext.planning.request import PlanRequest

    regime = regime_of(args)
    preset = regime.preset if regime else Preset()
    return PlanRequest(
        dataset=args.dataset,
        network=args.network,
        plans_name=args.plans_name or free_name(args.dataset, args.network),
        base=args.planner,
        optimizer=regime.optimizer if _trains_as_paper(args) and regime else "SGD",
        match_vanilla_gb=args.match_vanilla_gb or DEFAULT_TARGET_GB,
        gpu_memory_gb=args.gpu_memory_gb,
        exceeds_memory=args.match_vanilla_gb is None and args.gpu_memory_gb is None,
        spacing_mm=tuple(args.spacing_mm) if args.spacing_mm else preset.spacing_mm,
        patch_size=tuple(args.patch_size) if args.patch_size else preset.patch_size,
        batch_size=args.batch_size or preset.batch_size,
        window=tuple(args.window) if args.window else preset.window,
        window_becomes=Preset.window_becomes if args.window else preset.window_becomes,
        window_is_optional=args.window is None,
        order=preset.order if args.order is None else args.order,
        separate_z=preset.separate_z,
        base_features=preset.base_features,
        only=_asked_for(args),
        coarse=coarse_request(args, preset),
    )


def _trains_as_paper(args: argparse.Namespace) -> bool:
    """The preset is that of the network's own paper, which ``_Paper`` trains as."""
    regime = regime_of(args)
    return regime is not None and regime.paper == NETWORKS[args.network].paper


def _asked_for(args: argparse.Namespace) -> str | None:
    """The configuration that options are about; None where they are about all."""
    from nnunet_ext.planning.request import PATCH_CONFIGURATIONS

    if args.patch_size:
        return PATCH_CONFIGURATIONS[len(args.patch_size)]
    regime = regime_of(args)
    return regime.preset.configuration if regime else None


def free_name(dataset: str, network: str) -> str:
    """A name of plans that the dataset does not have yet."""
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    folder = Path(os.environ["nnUNet_preprocessed"]) / maybe_convert_to_dataset_name(dataset)
    name, number = f"nnUNet{network}Plans", 1
    while (folder / f"{name}.json").exists():
        number += 1
        name = f"nnUNet{network}Plans{number}"
    return name


def _as_dict(planned: Planned) -> dict[str, Any]:
    return {
        "plans_file": str(planned.file),
        "transpose_forward": list(planned.transpose_forward),
        "configurations": {
            c.name: {
                "patch_size": c.fit.plan["patch_size"],
                "batch_size": c.fit.plan["batch_size"],
                "vanilla_patch_size": [int(n) for n in c.vanilla["patch_size"]],
                "vanilla_batch_size": int(c.vanilla["batch_size"]),
                "spacing_mm": c.fit.plan["spacing"],
                "batch_is": c.fit.batch_is,
                "step_bytes": c.fit.cost_bytes,
                "budget_bytes": c.fit.budget_bytes,
                "data_identifier": c.data_identifier,
                "is_preprocessed": c.is_preprocessed,
            }
            for c in planned.configurations
        },
    }


def _as_text(planned: Planned, args: argparse.Namespace) -> str:
    dataset, plans = planned.file.parent.name, planned.file.stem
    lines = [f"{args.network} on {dataset}; in brackets nnU-Net's own plan:"]
    lines += [_line(c) for c in planned.configurations]
    if planned.transpose_forward != (0, 1, 2):
        order = " ".join("zyx"[axis] for axis in planned.transpose_forward)
        lines.append(f"Sizes and spacings are along {order} of the images, as nnU-Net transposes them.")
    lines += ["", f"Plans: {planned.file}", "Next:"]
    # The fine stage of a cascade has the data of 3d_fullres, and no stage is in 2D.
    needless = {FINE, *(["2d"] if args.coarse else [])}
    fresh = [c.name for c in planned.configurations if not c.is_preprocessed and c.name not in needless]
    if fresh:
        # nnU-Net takes as many numbers of processes as configurations.
        processes = " ".join(["4"] * len(fresh))
        configurations = " ".join(fresh)
        lines.append(
            f"  nnUNetv2_preprocess -d {dataset} -plans_name {plans} -c {configurations} -np {processes}"
        )
    suffix = "_Paper" if _trains_as_paper(args) else ""
    if args.coarse:
        cascade = CASCADES.get((args.network, kind_of(args)))
        name = f"{cascade.name}{suffix}" if cascade else f"TRAINER  # one of yours with {args.network}"
        stages, every_fold = [COARSE, FINE], "  # FOLD from 0 to 4: all of them before the second stage"
    else:
        name, every_fold = f"{NETWORKS[args.network].name}{suffix}", ""
        stages = [_asked_for(args) or planned.configurations[-1].name]
    for stage in stages:
        comment = every_fold if stage == COARSE else ""
        lines.append(f"  nnUNetv2_train {dataset} {stage} FOLD -p {plans} -tr {name}{comment}")
    return "\n".join(lines)


def _line(configuration: PlannedConfiguration) -> str:
    plan, vanilla = configuration.fit.plan, configuration.vanilla
    patch, own = (" x ".join(str(int(n)) for n in p["patch_size"]) for p in (plan, vanilla))
    kept, budget = (n / GIB for n in (configuration.fit.cost_bytes, configuration.fit.budget_bytes))
    batch = f"{plan['batch_size']} ({vanilla['batch_size']}), {BATCH_IS[configuration.fit.batch_is]}"
    spacing = " x ".join(f"{float(s):.3g}" for s in plan["spacing"])
    data = configuration.data_identifier + ("" if configuration.is_preprocessed else ", to be preprocessed")
    return (
        f"  {configuration.name} at {spacing} mm: patch {patch} ({own}), batch {batch}; "
        f"a step takes {kept:.2f} of {budget:.2f} GiB; data {data}"
    )
