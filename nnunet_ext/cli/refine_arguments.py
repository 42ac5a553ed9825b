"""A refiner on the command line of ``predict``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.inference.predictor import CasePredictor

logger = logging.getLogger(__name__)

MODELS_OWN = Path("refiner")  # in the model's folder


def add_refiner_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``--refiner`` and what goes with it.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_refiner_arguments(parser)
        >>> parser.parse_args(["--refiner"]).refiner is MODELS_OWN
        True
    """
    group = parser.add_argument_group("a refiner behind the model (nnunet_ext refine)")
    group.add_argument(
        "--refiner",
        type=Path,
        nargs="?",
        const=MODELS_OWN,
        metavar="DIR",
        help="its folder (without DIR: refiner, in the model's folder)",
    )
    group.add_argument(
        "--force-refiner", action="store_true", help="use it although it did not gain on held-out cases"
    )
    group.add_argument(
        "--refine-everywhere", action="store_true", help="the refiner's answer alone, for every voxel"
    )


def refined(predictor: CasePredictor, *, args: argparse.Namespace) -> CasePredictor:
    """A predictor with the refiner that the command line names behind it, if it names one that gains.

    Args:
        predictor: of the first network.
        args: the command line of ``predict``.

    Raises:
        ValueError: there is no refiner to which an option belongs.
        RefinerError: the refiner is not there, or is of another model.
    """
    if args.refiner is None:
        if given := [name for name in ("force_refiner", "refine_everywhere") if getattr(args, name)]:
            raise ValueError(f"--{given[0].replace('_', '-')} wants a refiner: name it with --refiner")
        return predictor
    from nnunet_ext.inference.work_folder import WORK
    from nnunet_ext.refinement.folder import load_refiner
    from nnunet_ext.refinement.predictor import RefinedPredictor

    own = args.refiner is MODELS_OWN  # typed out, the same word is a folder here
    refiner = load_refiner(predictor.model.folder / MODELS_OWN if own else args.refiner)
    behind = RefinedPredictor(
        predictor,
        refiner,
        scratch=args.output / WORK,
        everywhere=args.refine_everywhere,
        device=args.device,
        progress=not args.no_pbar,
    )
    if args.force_refiner or refiner.gains(everywhere=args.refine_everywhere):
        return behind
    logger.warning(
        "the refiner in %s did not gain on held-out cases and is not used (--force-refiner)", refiner.folder
    )
    return predictor
