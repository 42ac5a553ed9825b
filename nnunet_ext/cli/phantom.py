"""The verb ``phantom``: writes synthetic patients as an nnU-Net raw dataset."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Write seeded synthetic patients. The same seed gives the same bytes; unseen cases (imagesTs, labelsTs) stay
the same when the number of training cases changes. The folder that was written is printed.

phantoms:
  liver-target   abdominal CT with a low-contrast liver lesion (paper 004), as an nnU-Net raw dataset
"""
EPILOG = """\
example:
  nnunet_ext phantom liver-target --cases 20 --test-cases 5 --seed 1 --out "$nnUNet_raw"

exit code: 0 done, 2 wrong usage or environment
"""
NAMES = ("liver-target",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["liver-target", "--cases", "3", "--out", "raw"]).cases
        3
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--cases", type=int, required=True, metavar="N", help="number of training cases")
    parser.add_argument("--test-cases", type=int, default=0, metavar="M", help="number of unseen cases (0)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (0)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of nnU-Net raw datasets"
    )
    parser.add_argument(
        "--size-vox", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels an axis (64 272 272)"
    )
    parser.add_argument(
        "--spacing-mm", type=float, nargs=3, metavar=("Z", "Y", "X"), help="voxel size in mm (3 1 1)"
    )
    parser.add_argument("--dataset-id", type=int, default=4, metavar="N", help="number of the dataset (4)")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the dataset and print its folder; returns the exit code."""
    from nnunet_ext.phantoms.liver_target import (
        DEFAULT_SIZE_VOX,
        PAPER_SPACING_MM,
        write_liver_target_dataset,
    )

    try:
        folder = write_liver_target_dataset(
            out=args.out,
            cases=args.cases,
            test_cases=args.test_cases,
            seed=args.seed,
            dataset_id=args.dataset_id,
            size_vox=args.size_vox or DEFAULT_SIZE_VOX,
            spacing_mm=args.spacing_mm or PAPER_SPACING_MM,
            progress=not args.no_pbar,
        )
    except (ValueError, OSError) as error:
        logger.error("phantom %s: %s", args.name, error)
        return 2
    print(folder)
    return 0
