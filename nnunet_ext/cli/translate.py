"""The verb ``translate``: MRI becomes CT, to train on."""

from __future__ import annotations

import argparse
import importlib
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Let labeled MRI help to train a CT model. A 3D CycleGAN learns from an MR and a CT dataset, of different
patients, what MRI would look like as CT; labeled MRI become synthetic CT, and a share of them joins the real
CT. Synthetic cases are only ever trained on.

  plan   plans with common spacing and patch for both datasets
  train  learn the translation; typed again, goes on
  apply  a raw dataset of synthetic CT, labels untouched
  match  the control: the same without learning, by histograms
  mix    real CT and a fraction of synthetic ones in one dataset, with its splits

Synthetic CT is for training networks. Never use it for diagnosis, treatment planning or dose. Whether it
helps, only the Dice on real CT tells: compare with match and with --fraction 0 (docs/translation.md).
"""
EPILOG = """\
examples (Dataset041_HeartMR, Dataset042_HeartCT; both with nnUNetv2_extract_fingerprint done):
  nnunet_ext translate plan 41 42 --spacing-mm 3 3 3 --patch-size 64 64 64 --window -1024 1024
  nnUNetv2_preprocess -d 41 42 -plans_name nnUNetTranslationPlans -c 3d_fullres -np 2
  nnunet_ext translate train 41 42 --out heart_translation
  nnunet_ext translate apply heart_translation 41 --dataset-id 43
  nnunet_ext translate match 41 42 --dataset-id 44
  nnunet_ext translate mix 42 43 --fraction 0.5 --dataset-id 45
  nnUNetv2_plan_and_preprocess -d 45

exit code: 0 done, 1 some cases were left out, 2 wrong usage or environment
"""
PLANS_NAME, CONFIGURATION = "nnUNetTranslationPlans", "3d_fullres"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["mix", "42", "43", "--fraction", "0.5", "--dataset-id", "45"]).fraction
        0.5
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_plan(actions.add_parser("plan", help="plans with common spacing and patch"))
    _add_train(actions.add_parser("train", help="learn the translation; typed again, goes on"))
    _add_apply(actions.add_parser("apply", help="a raw dataset of synthetic CT"))
    _add_match(actions.add_parser("match", help="the control, by histograms"))
    _add_mix(actions.add_parser("mix", help="real and synthetic CT in one dataset"))


def run(args: argparse.Namespace) -> int:
    """Do it and print what came of it; returns the exit code."""
    work = importlib.import_module("nnunet_ext.cli.translate_actions")
    try:
        code: int = getattr(work, args.action)(args)
        return code
    except (ValueError, RuntimeError, OSError, FloatingPointError) as error:
        logger.error("translate %s: %s", args.action, error)
        return 2


def _add_pair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mr", metavar="MR", help="number or name of the MR dataset")
    parser.add_argument("ct", metavar="CT", help="number or name of the CT dataset")


def _add_plan(parser: argparse.ArgumentParser) -> None:
    _add_pair(parser)
    parser.add_argument(
        "--spacing-mm", type=float, nargs=3, required=True, metavar=("Z", "Y", "X"), help="of both"
    )
    parser.add_argument(
        "--patch-size", type=int, nargs=3, default=(64, 64, 64), metavar=("Z", "Y", "X"), help="(64 64 64)"
    )
    parser.add_argument(
        "--window",
        type=float,
        nargs=2,
        default=(-1024.0, 1024.0),
        metavar=("LO", "HI"),
        help="HU that become -1 and 1 (-1024 1024)",
    )
    parser.add_argument("--plans-name", default=PLANS_NAME, metavar="NAME", help=f"({PLANS_NAME})")


def _add_train(parser: argparse.ArgumentParser) -> None:
    _add_pair(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the translation")
    parser.add_argument("-p", "--plans-name", default=PLANS_NAME, metavar="NAME", help=f"({PLANS_NAME})")
    parser.add_argument(
        "-c", "--configuration", default=CONFIGURATION, metavar="NAME", help=f"({CONFIGURATION})"
    )
    parser.add_argument("--mr-channel", type=int, default=0, metavar="N", help="channel of the MR (0)")
    parser.add_argument("--ct-channel", type=int, default=0, metavar="N", help="channel of the CT (0)")
    model = parser.add_argument_group("what is learned")
    model.add_argument("--steps", type=int, default=50_000, metavar="N", help="updates of a network (50000)")
    model.add_argument("--batch-size", type=int, default=1, metavar="N", help="over all GPUs (1)")
    model.add_argument("--cycle-weight", type=float, default=10.0, metavar="W", help="lambda (10)")
    model.add_argument(
        "--identity-weight", type=float, default=1.0, metavar="W", help="(1; 5 is CycleGAN's own)"
    )
    model.add_argument(
        "--structure-weight", type=float, default=0.0, metavar="W", help="keep structures in place (0: off)"
    )
    model.add_argument(
        "--anchored",
        action="store_true",
        help="generators begin as a table that keeps air dark, so that air and tissue are not exchanged",
    )
    model.add_argument("--features", type=int, default=32, metavar="N", help="of the generators (32)")
    model.add_argument("--blocks", type=int, default=6, metavar="N", help="of the generators (6)")
    model.add_argument("--discriminator-features", type=int, default=64, metavar="N", help="(64)")
    model.add_argument(
        "--discriminator-layers", type=int, metavar="N", help="(2 below patches of 96 voxels, else 3)"
    )
    model.add_argument("--learning-rate", type=float, default=2e-4, metavar="R", help="(0.0002)")
    model.add_argument("--pool-size", type=int, default=50, metavar="N", help="(50)")
    model.add_argument(
        "--mr-percentiles",
        type=float,
        nargs=2,
        default=(0.5, 99.5),
        metavar=("LO", "HI"),
        help="of an MR, that become -1 and 1 (0.5 99.5)",
    )
    model.add_argument("--seed", type=int, default=0, metavar="N", help="(0)")
    machine = parser.add_argument_group("where")
    machine.add_argument("--device", choices=("auto", "cuda", "cpu", "mps"), default="auto", help="(auto)")
    machine.add_argument("--devices", type=int, default=1, metavar="N", help="on each node (1)")
    machine.add_argument("--nodes", type=int, default=1, metavar="N", help="(1)")
    machine.add_argument(
        "--precision",
        choices=("32-true", "16-mixed", "bf16-mixed"),
        default="32-true",
        help="as Lightning calls it (32-true)",
    )
    machine.add_argument("--workers", type=int, default=2, metavar="N", help="that read patches (2)")
    machine.add_argument("--checkpoint-every", type=int, default=500, metavar="N", help="steps (500)")
    machine.add_argument("--picture-every", type=int, default=1000, metavar="N", help="steps (1000; 0: none)")
    machine.add_argument("--no-pbar", action="store_true", help="no progress bar")


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of the translation")
    parser.add_argument("mr", metavar="MR", help="number, name or folder of the labeled MR dataset")
    _add_output(parser, "SyntheticCT")
    parser.add_argument("--device", choices=("cuda", "cpu", "mps"), default="cpu", help="(cpu)")
    parser.add_argument(
        "--step-size", type=float, default=0.5, metavar="S", help="of a tile; smaller blends more (0.5)"
    )
    parser.add_argument(
        "--any-spacing", action="store_true", help="also images with voxels unlike those of the training"
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="take a translation whose training was not finished"
    )


def _add_match(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mr", metavar="MR", help="number, name or folder of the labeled MR dataset")
    parser.add_argument("ct", metavar="CT", help="number, name or folder of the CT dataset")
    _add_output(parser, "MatchedMR")
    parser.add_argument("--mr-channel", type=int, default=0, metavar="N", help="channel of the MR (0)")
    parser.add_argument("--ct-channel", type=int, default=0, metavar="N", help="channel of the CT (0)")


def _add_mix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("real", metavar="CT", help="number, name or folder of the real CT dataset")
    parser.add_argument("synthetic", metavar="SYNTHETIC", help="what apply or match wrote")
    parser.add_argument(
        "--fraction",
        type=float,
        required=True,
        metavar="F",
        help="0 to 1; 0 is the control without any",
    )
    parser.add_argument(
        "--of",
        choices=("translated", "final"),
        default="translated",
        help="what the fraction is of: the synthetic cases there are, or the new training set (translated)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the choice (0)")
    parser.add_argument(
        "--patients",
        type=Path,
        metavar="FILE",
        help='JSON, {"case": "patient"} of both datasets; without it equal names are one patient',
    )
    _add_output(parser, "Mixed")


def _add_output(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--dataset-id", type=int, required=True, metavar="N", help="number of the dataset to write"
    )
    parser.add_argument("--name", default=name, help=f"its name, DatasetNNN_NAME ({name})")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")
