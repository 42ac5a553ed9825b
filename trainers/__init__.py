"""The trainers, each under its own name and under every name composed of it and modifiers.

Names are answered when somebody asks for them (PEP 562): nnU-Net's search for another team's trainer then
imports none of ours, and ``pickle`` finds a composed class where its module says that it is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if __name__ != "nnunet_ext.trainers":
    raise ImportError(f"import 'nnunet_ext.trainers', not {__name__!r}: install the package first")

from nnunet_ext.trainers.names import MisspeltTrainerNameError, parse
from nnunet_ext.trainers.registry import TRAINERS

if TYPE_CHECKING:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


def __getattr__(name: str) -> type[nnUNetTrainer]:
    """The trainer class called ``name``; AttributeError, silently, for a name that is not ours.

    Raises:
        AttributeError: no trainer has the name; on standard error where it is a misspelt one of ours.
        ImportError: it is ours, and cannot be loaded.
    """
    try:
        parsed = parse(name)
    except MisspeltTrainerNameError as error:
        # nnU-Net asks with hasattr, which swallows what the exception says.
        print(error, file=sys.stderr)
        raise AttributeError(str(error)) from error
    if parsed is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from nnunet_ext.trainers.composition import trainer_class

        return trainer_class(parsed)
    except AttributeError as error:
        # Of a release of torch or nnU-Net that lacks something: hasattr would take it for a name not there.
        raise ImportError(f"{name} cannot be loaded: {error}; run `nnunet_ext doctor`") from error


def __dir__() -> list[str]:
    return sorted([*globals(), *(trainer.name for trainer in TRAINERS)])
