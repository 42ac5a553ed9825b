"""The command line of a converter, for ``nnunet_ext convert`` and for each script alone."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_ext.dataset_conversion.declaration import (
    Conversion,
    Converter,
    Option,
    add_option,
    configured,
    require_needed,
    typed_options,
)
from nnunet_ext.dataset_conversion.label_place import ACCEPT
from nnunet_ext.dataset_conversion.raw_folder import (
    RAW,
    WRONG_USAGE,
    conclude,
    existing_dataset,
    folder_to_write,
    preprocessed_folder,
    raw_folder,
)
from nnunet_ext.dataset_conversion.registry import converter as converter_called

if TYPE_CHECKING:
    from nnunet_ext.dataset_conversion.convert import Outcome

logger = logging.getLogger(__name__)

ALIASES = Option(
    "--aliases",
    {
        "type": Path,
        "metavar": "FILE",
        "help": 'what structures are called here: JSON, {"GTV": ["Tumor", ...], ...}',
    },
    is_for_training=True,
)


def aliases_of(options: Any) -> Any:
    """The table of structure names that ``--aliases`` extends.

    Raises:
        ValueError: the file is no table.
        OSError: it cannot be read.
    """
    from nnunet_ext.clinical_io.structure_names import read_aliases, standard_aliases

    file = options.get(ALIASES.name)
    return standard_aliases() if file is None else read_aliases(file)


def add_arguments(parser: argparse.ArgumentParser, converter: Converter) -> None:
    """Declare the arguments of one converter.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser, converter_called("liver-target"))
        >>> parser.parse_args(["clinic", "--dataset-id", "7"]).dataset_id
        7
    """
    parser.add_argument("source", metavar="SRC", type=Path, help="folder to convert, with all cases")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--dataset-id", type=int, metavar="N", help="number of the dataset to write, 1 to 999")
    which.add_argument(
        "--like",
        metavar="DATASET",
        help="new patients without labels into imagesTs of this dataset (its number, name or folder), "
        "prepared as it was; also of one that another converter made, where the channels agree",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder of nnU-Net raw datasets (${RAW})")
    parser.add_argument(
        "--preparation",
        type=Path,
        metavar="FILE",
        help="steps before a case is checked, as preparation.json; see nnunet_ext prepare --help"
        + (" (this dataset has its own)" if converter.preparation else " (none)")
        + "; not with --like",
    )
    parser.add_argument(
        ACCEPT,
        action="store_true",
        help="somebody has looked at the labels that were refused as misplaced, and they are right: note it",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="which case is which patient; outside the dataset, for its owner alone "
        "(~/.nnunet_ext/keys/DATASET.json)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="a copy of conversion_report.json")
    parser.add_argument("--json", action="store_true", help="print the report instead of a summary")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")
    for option in converter.options:
        add_option(parser, option)


def run(args: argparse.Namespace, converter: Converter) -> int:
    """Convert, and print what was written and what was not; returns the exit code."""
    from nnunet_ext.dataset_conversion.description import REPORT, REPORT_OF_NEW
    from nnunet_ext.dataset_conversion.key_file import default_key_file

    from nnunet_ext.files import write_text

    try:
        dataset = _dataset(args, converter)
        key_file = args.key or default_key_file(dataset.name)
        work = _convert if args.like is None else _convert_new
        outcome = work(args, converter, dataset, key_file)
        report = (dataset / (REPORT_OF_NEW if args.like else REPORT)).read_text(encoding="utf-8")
        if args.report is not None:
            write_text(args.report, report)
    except (ValueError, OSError) as error:
        logger.error("convert %s: %s", converter.name, error)
        return WRONG_USAGE
    summary, code = conclude(outcome, dataset, key_file=key_file)
    print(report if args.json else json.dumps(summary))
    return code


def _convert(args: argparse.Namespace, converter: Converter, dataset: Path, key_file: Path) -> Outcome:
    from nnunet_ext.dataset_conversion.convert import convert

    from nnunet_ext.preparation import read_preparation

    options = {option.name: option.default for option in converter.options} | typed_options(converter, args)
    require_needed(converter, options, to_train=True)
    aliases_of(options)  # a wrong table fails now, not once for each case
    converter = configured(converter, options)
    preparation = converter.preparation
    if args.preparation is not None:
        preparation = read_preparation(args.preparation)
    conversion = Conversion(
        converter,
        args.source,
        dataset,
        options,
        preparation,
        accept_misplaced=args.accept_misplaced,
    )
    return convert(
        conversion,
        key_file=key_file,
        preprocessed=preprocessed_folder(dataset),
        workers=args.workers,
        progress=not args.no_pbar,
    )


def _convert_new(args: argparse.Namespace, converter: Converter, dataset: Path, key_file: Path) -> Outcome:
    from nnunet_ext.dataset_conversion.description import read_provenance
    from nnunet_ext.dataset_conversion.new_patients import convert_new, options_of_new

    from nnunet_ext.preparation import read_preparation

    if args.accept_misplaced:
        raise ValueError(f"{ACCEPT} is about labels, and new patients have none: leave it out")
    options = options_of_new(converter, typed_options(converter, args), read_provenance(dataset))
    require_needed(converter, options, to_train=False)
    return convert_new(
        Conversion(configured(converter, options), args.source, dataset, options),
        key_file=key_file,
        asked=None if args.preparation is None else read_preparation(args.preparation),
        workers=args.workers,
        progress=not args.no_pbar,
    )


def _dataset(args: argparse.Namespace, converter: Converter) -> Path:
    """The folder to write, or that of the dataset which --like names."""
    if args.like is not None:
        return existing_dataset(args.like, raw=args.out)
    return folder_to_write(args.dataset_id, converter.title, raw=raw_folder(args.out))


def main(name: str, argv: Sequence[str] | None = None) -> None:
    """Run one converter as a script; ends the process with its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    converter = converter_called(name)
    parser = argparse.ArgumentParser(description=converter.summary)
    add_arguments(parser, converter)
    sys.exit(run(parser.parse_args(argv), converter))
