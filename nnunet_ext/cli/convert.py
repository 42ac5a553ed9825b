"""The verb ``convert``: a clinic's folder to a verified nnU-Net raw dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from nnunet_ext.dataset_conversion.registry import CONVERTERS, converter

DESCRIPTION = """\
Convert what a scanner, a planning system or a challenge left behind into an nnU-Net raw dataset. Every case
is checked before it is written; one that fails is refused with its name, the reason and what to do, and the
others go on. No name, number or path of a patient reaches the dataset, the report or the log: the key file
alone says which case is which patient. Type the command again to go on after an interruption or to take up
new and corrected cases.
"""
EPILOG = """\
examples:
  nnunet_ext convert liver-target CLINIC --dataset-id 501
  nnunet_ext convert liver-target CLINIC --dataset-id 501 --aliases names.json --workers 4
  nnUNetv2_plan_and_preprocess -d 501 --verify_dataset_integrity

exit code: 0 done, 1 some cases were refused or there are no splits, 2 wrong usage or environment
"""


class _ConverterParser(argparse.ArgumentParser):
    """Declares the arguments of its converter when they are parsed: the others are never imported."""

    def __init__(self, *, converter_name: str, **of_parser: Any) -> None:
        super().__init__(**of_parser)
        self._converter_name = converter_name
        self._is_complete = False

    def parse_known_args(  # type: ignore[override]  # typeshed's overloads say the same
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        if not self._is_complete:
            from nnunet_ext.dataset_conversion.command import add_arguments as add_own_arguments

            add_own_arguments(self, converter(self._converter_name))
            self._is_complete = True
        return super().parse_known_args(args, namespace)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments, converter by converter.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["liver-target", "clinic", "--dataset-id", "7"]).name
        'liver-target'
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = parser.add_subparsers(
        dest="name", metavar="NAME", title="datasets", required=True, parser_class=_ConverterParser
    )
    for name, (_, summary) in CONVERTERS.items():
        where = f"Layout, commands and quirks: docs/datasets/{name}.md in the repository."
        names.add_parser(name, help=summary, description=f"{summary}. {where}", converter_name=name)


def run(args: argparse.Namespace) -> int:
    """Convert and print what came of it; returns the exit code."""
    from nnunet_ext.dataset_conversion import command

    return command.run(args, converter(args.name))
