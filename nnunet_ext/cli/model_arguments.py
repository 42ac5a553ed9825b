"""Naming a trained model on the command line: by its folder, or by nnU-Net's names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.inference.model import Fold


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``-m`` and nnU-Net's ``-d``, ``-c``, ``-tr``, ``-p``, ``-f`` and ``-chk``.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_model_arguments(parser)
        >>> parser.parse_args("-d 4 -c 3d_fullres -f 0 all".split()).folds
        ['0', 'all']
    """
    group = parser.add_argument_group("the model, by its folder (-m) or by nnU-Net's names (-d, -c)")
    group.add_argument("-m", dest="model", type=Path, metavar="MODEL", help="folder that holds fold_0, ...")
    group.add_argument("-d", dest="dataset", metavar="D", help="number or name of the dataset")
    group.add_argument("-c", dest="configuration", metavar="C", help="configuration, such as 3d_fullres")
    group.add_argument("-tr", dest="trainer", default="nnUNetTrainer", metavar="TR", help="(nnUNetTrainer)")
    group.add_argument("-p", dest="plans", default="nnUNetPlans", metavar="P", help="(nnUNetPlans)")
    group.add_argument(
        "-f", dest="folds", nargs="+", metavar="F", help="folds, numbers or all (those that are trained)"
    )
    group.add_argument(
        "-chk", "--checkpoint", default="checkpoint_final.pth", metavar="FILE", help="(checkpoint_final.pth)"
    )


def model_folder(args: argparse.Namespace) -> Path:
    """The folder that was named.

    Raises:
        ValueError: nothing was named, or both ways were used.
        ModelError: there is no such model.
    """
    from nnunet_ext.inference.model import find_model

    if (args.model is None) == (args.dataset is None) or (args.dataset and not args.configuration):
        raise ValueError("expected a model: either -m FOLDER, or -d DATASET and -c CONFIGURATION")
    if args.model is not None:
        return Path(args.model)
    return find_model(
        dataset=args.dataset, configuration=args.configuration, trainer=args.trainer, plans=args.plans
    )


def folds_of(typed: list[str] | None) -> list[Fold] | None:
    """Folds as nnU-Net counts them; None where none were named.

    Raises:
        ValueError: a fold is neither a number nor ``all``.

    Example:
        >>> folds_of(["0", "all"])
        [0, 'all']
    """
    if typed is None:
        return None
    wrong = [fold for fold in typed if fold != "all" and not fold.isdigit()]
    if wrong:
        raise ValueError(f"expected folds as numbers or all, got {wrong[0]!r}")
    return [int(fold) if fold.isdigit() else fold for fold in typed]
