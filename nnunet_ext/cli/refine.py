"""The verb ``refine``: learns from a model's out-of-fold errors how structures lie to each other."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import Any

from nnunet_ext.cli.refine_report import apply_text, training_json, training_text

logger = logging.getLogger(__name__)

DESCRIPTION = """\
An SCN behind any trained nnU-Net model (paper 001): it sees the model's probabilities and corrects confusions
between structures that look alike.

  train   learn from the probabilities of all folds' validation cases (nnUNetv2_train ... --npz), and judge
          the refiner on cases that it was not trained on
  apply   refine a folder of probabilities: of nnUNetv2_predict --save_probabilities, of nnunet_ext predict
          --save-probabilities, of nnUNetv2_ensemble --save_npz

nnunet_ext predict --refiner does both at once for new images.
"""
EPILOG = """\
nnunet_ext refine train --help and nnunet_ext refine apply --help explain each

exit code: 0 done, 1 some cases failed, 2 wrong usage or environment
"""
TRAIN = """\
Learn from out-of-fold probabilities: every case was predicted by a fold that never saw it, which is checked.
Folds are put into groups; each group is judged by a refiner that was trained on the others. This table of
held-out Dice before and after decides whether the refiner is used ("gains"). The refiner that is kept is
trained on all cases. A training that was interrupted goes on when the command is typed again.
"""
TRAIN_EPILOG = """\
examples:
  for F in 0 1 2 3 4; do nnUNetv2_train 4 3d_fullres $F --npz; done     # or, once trained, --val --npz
  nnunet_ext refine train 4 -c 3d_fullres
  nnunet_ext refine train 4 -c 3d_fullres -tr nnUNetTrainerMAUNet --local-grid 2 --out refiner_coarse

exit code: 0 done (also where the refiner does not gain), 1 some cases could not be used, 2 wrong usage or
environment
"""
APPLY = """\
Refine a folder of probabilities into label maps. Only voxels change of which the first network was unsure;
the threshold was set in training, and stands in refiner.json. A refiner that did not gain on held-out cases
changes nothing. How many voxels of which structure changed is in refinement_ext.json, for each case.
"""
APPLY_EPILOG = """\
examples:
  nnunet_ext refine apply predicted -o refined --refiner REFINER
  nnunet_ext refine apply predicted -o refined --refiner REFINER --everywhere

exit code: 0 done, 1 some cases failed, 2 wrong usage or environment
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args("train 4 -c 3d_fullres --folds 0 1".split()).folds
        ['0', '1']
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="train|apply", required=True)
    _add_train(_action(actions, "train", TRAIN, TRAIN_EPILOG))
    _add_apply(_action(actions, "apply", APPLY, APPLY_EPILOG))


def _action(actions: Any, name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    parser.add_argument("--threads", type=int, metavar="N", help="on a CPU (torch's own choice)")
    parser.add_argument("--json", action="store_true", help="the report as JSON to stdout")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bars")
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help="number or name")
    parser.add_argument("-c", dest="configuration", required=True, metavar="C", help="such as 3d_fullres")
    parser.add_argument("-tr", dest="trainer", default="nnUNetTrainer", metavar="TR", help="(nnUNetTrainer)")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans", metavar="P", help="(nnUNetPlans)")
    parser.add_argument("--folds", nargs="+", metavar="F", help="(all of splits_final.json)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="(refiner, in the model's folder)")
    group = parser.add_argument_group("how to train")
    group.add_argument("--iterations", type=int, default=1000, metavar="N", help="of each training (1000)")
    group.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="of Adam (0.001)")
    group.add_argument(
        "--groups", type=int, default=2, metavar="N", help="of folds, each held out once: N + 1 trainings (2)"
    )
    group.add_argument(
        "--corrupted-share", type=float, default=0.5, metavar="S", help="of patches with errors put in (0.5)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of everything (0)")
    group = parser.add_argument_group("the network")
    group.add_argument(
        "--kernels",
        choices=("9x9x5", "5x5x5"),
        default="9x9x5",
        help="two spatial convolutions of the paper's size, or Payer's four (9x9x5)",
    )
    group.add_argument(
        "--local-grid",
        type=int,
        default=1,
        metavar="N",
        help="voxels that the local convolutions see as one: 2 is about 8 times cheaper (1)",
    )
    group.add_argument("--factor", type=int, metavar="N", help="voxels of a spatial cell (by image size)")
    group.add_argument("--logits", action="store_true", help="let the network see logits of probabilities")


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="folder with CASE.npz and CASE.pkl")
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT", help="for label maps")
    parser.add_argument("--refiner", type=Path, required=True, metavar="DIR", help="its folder")
    parser.add_argument(
        "--force-refiner", action="store_true", help="use it although it did not gain on held-out cases"
    )
    parser.add_argument(
        "--everywhere", action="store_true", help="the refiner's answer alone, for every voxel"
    )
    parser.add_argument(
        "--save-probabilities", "--save_probabilities", action="store_true", help="also .npz and .pkl"
    )
    parser.add_argument("--overwrite", action="store_true", help="refine finished cases again")


def run(args: argparse.Namespace) -> int:
    """Train or apply; returns the exit code."""
    if args.device == "cpu":
        # As for predict; read when torch is loaded, which is below.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _prepare(args)
        return _train(args) if args.action == "train" else _apply(args)
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        logger.error("refine %s: %s", args.action, error)
        return 2


def _prepare(args: argparse.Namespace) -> None:
    import torch

    from nnunet_ext.inference.memory import keep_freed_memory

    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("expected a GPU for --device cuda, torch finds none; use --device cpu")
    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f"expected --threads of 1 or more, got {args.threads}")
        torch.set_num_threads(args.threads)
    if args.device == "cpu":
        keep_freed_memory()


def _train(args: argparse.Namespace) -> int:
    from nnunet_ext.cli.model_arguments import folds_of
    from nnunet_ext.inference.model import find_model
    from nnunet_ext.refinement.sources import out_of_fold
    from nnunet_ext.refinement.train import train_refiner
    from nnunet_ext.refinement.training import Settings

    settings = Settings(
        iterations=args.iterations,
        learning_rate=args.learning_rate,
        corrupted_share=args.corrupted_share,
        groups=args.groups,
        kernels=args.kernels,
        local_grid=args.local_grid,
        factor=args.factor,
        inputs="logits" if args.logits else "probabilities",
        seed=args.seed,
    )
    preprocessed = os.environ.get("nnUNet_preprocessed")
    if not preprocessed:
        raise ValueError("set nnUNet_preprocessed, where nnU-Net keeps splits and references")
    model = find_model(
        dataset=args.dataset, configuration=args.configuration, trainer=args.trainer, plans=args.plans
    )
    source = out_of_fold(
        model, preprocessed=Path(preprocessed) / model.parent.name, folds=folds_of(args.folds)
    )
    report = train_refiner(
        source,
        out=args.out or model / "refiner",
        settings=settings,
        device=args.device,
        progress=not args.no_pbar,
    )
    print(json.dumps(training_json(report), indent=1) if args.json else training_text(report))
    return 1 if report.failed else 0


def _apply(args: argparse.Namespace) -> int:
    from nnunet_ext.refinement.apply import apply_refiner
    from nnunet_ext.refinement.folder import load_refiner

    refiner = load_refiner(args.refiner)
    report = apply_refiner(
        refiner,
        args.source,
        output=args.output,
        everywhere=args.everywhere,
        force=args.force_refiner,
        probabilities=args.save_probabilities,
        overwrite=args.overwrite,
        device=args.device,
        progress=not args.no_pbar,
    )
    if not report.source_known:
        logger.warning(
            "%s does not say which checkpoints predicted: labels and plans are the refiner's, its trainer "
            "may be another's",
            args.source,
        )
    print(json.dumps(report.as_dict(), indent=1) if args.json else apply_text(report, args.output))
    return 1 if report.failed else 0
