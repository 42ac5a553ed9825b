"""The verb ``export-model``: a trained model and what it predicts with, in one file, and installed again."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_ext.cli.model_arguments import add_model_arguments, folds_of, model_folder
from nnunet_ext.cli.refine_arguments import MODELS_OWN

if TYPE_CHECKING:
    from nnunet_ext.inference.model import Model
    from nnunet_ext.inference.packing import Packed

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Pack a trained model into one file, or install such a file. Of a cascade, the coarse model goes with the fine
one, and so does a refiner (nnunet_ext refine train) in the model's folder or named with --refiner. Weights,
plans and labels are packed, images and label maps are not.

nnU-Net's own nnUNetv2_install_pretrained_model_from_zip takes the file, too; --install also checks every
file, and leaves a model alone that is there already and differs.
"""
EPILOG = """\
examples:
  nnunet_ext export-model -m nnUNet_results/Dataset005_X/nnUNetTrainerY__nnUNetPlans__3d_fullres -o model.zip
  nnunet_ext export-model -d 5 -c 3d_cascade_fullres -tr nnUNetTrainerROICascade -f 0 1 2 3 4 -o model.zip
  nnunet_ext export-model --install model.zip

exit code: 0 done, 2 wrong usage or environment
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["--install", "model.zip"]).install
        PosixPath('model.zip')
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_model_arguments(parser)
    parser.add_argument(
        "--coarse-model", type=Path, metavar="MODEL", help="of a cascade (beside the fine one)"
    )
    parser.add_argument("--coarse-folds", nargs="+", metavar="F", help="to pack (those of the fine model)")
    parser.add_argument(
        "--refiner", type=Path, metavar="DIR", help="folder of a refiner (refiner, in the model's folder)"
    )
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="the zip to write")
    parser.add_argument("--install", type=Path, metavar="FILE", help="install this file instead")
    parser.add_argument("--overwrite", action="store_true", help="with --install: replace what differs")


def run(args: argparse.Namespace) -> int:
    """Pack or install; returns the exit code."""
    from dataclasses import asdict

    from nnunet_ext.inference.model import ModelError

    try:
        done = _install(args) if args.install is not None else _pack(args)
    except (ModelError, ValueError, OSError) as error:
        logger.error("export-model: %s", error)
        return 2
    print(json.dumps(asdict(done), default=str))
    return 0


def _install(args: argparse.Namespace) -> Packed:
    from nnunet_ext.inference.packing import install

    if any(v is not None for v in (args.output, args.model, args.dataset, args.refiner)):
        raise ValueError("--install takes a file and no model: leave -m, -d, -o and --refiner out")
    results = os.environ.get("nnUNet_results")
    if not results:
        raise ValueError("set nnUNet_results, the folder in which nnU-Net looks for models")
    return install(args.install, Path(results), overwrite=args.overwrite)


def _pack(args: argparse.Namespace) -> Packed:
    from nnunet_ext.cascade.model import load_coarse
    from nnunet_ext.inference.model import load_model
    from nnunet_ext.inference.packing import Part, pack

    if args.output is None:
        raise ValueError("expected -o FILE, the zip to write")
    # Loaded, so that what is packed is known to be whole.
    model = load_model(model_folder(args), folds=folds_of(args.folds), checkpoint=args.checkpoint)
    attached = _refiner_files(model, args.refiner)
    parts = [Part("model", model.folder, model.folds, model.checkpoint, attached)]
    if model.previous_stage is not None:
        coarse = load_coarse(model, folder=args.coarse_model, folds=folds_of(args.coarse_folds))
        parts.append(Part("coarse", coarse.folder, coarse.folds, coarse.checkpoint))
    return pack(parts, args.output)


def _refiner_files(model: Model, named: Path | None) -> dict[str, Path]:
    """Files of the model's refiner by their place in the model's folder; none where it has no refiner."""
    own = model.folder / MODELS_OWN
    if named is None and not own.is_dir():
        return {}
    from nnunet_ext.refinement.folder import DESCRIPTION, WEIGHTS, load_refiner, require_model

    refiner = load_refiner(named or own)
    require_model(refiner, model)
    return {(MODELS_OWN / name).as_posix(): refiner.folder / name for name in (DESCRIPTION, WEIGHTS)}
