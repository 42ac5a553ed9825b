"""The verb ``evaluate``: every metric of the papers, with named definitions."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.evaluation.summary import Evaluation

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Compare predictions with references: Dice, IoU, precision, recall, HD, HD95, ASSD, NSD, volume and its
relative error for every label or region and case, in mm, in the reference's own space; MM-WHS's pooled
scores; clDice and skeleton recall for tubes. PRED and REF are two folders with files of the same names, or
two files. Labels, regions and the ignore label come from nnU-Net's dataset.json.

Means are printed. The JSON holds every case and the definition of every number; it is a superset of nnU-Net's
summary.json and can be read as one. A structure that is missing on one side or both is counted, never
dropped; a case that cannot be compared (another grid, undeclared labels, no prediction) fails by name.
"""
EPILOG = """\
examples:
  nnunet_ext evaluate predictions labelsTs
  nnunet_ext evaluate fold_0/validation labelsTr --only-predicted --csv cases.csv --workers 8
  nnunet_ext evaluate predictions labelsTs --tubular artery vein --nsd-tolerance-mm 1
  nnunet_ext evaluate predictions labelsTs --html report.html

exit code: 0 done, 1 some cases failed, 2 wrong usage or environment
"""
# Beside nnU-Net's own summary.json, which stays as it is.
SUMMARY = "summary_ext.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["predictions", "labelsTs"]).nsd_tolerance_mm
        2.0
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("prediction", metavar="PRED", type=Path, help="what was predicted: folder or file")
    parser.add_argument("reference", metavar="REF", type=Path, help="the reference: folder or file")
    parser.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="(beside PRED or REF, as nnU-Net puts it)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help=f"all results (PRED/{SUMMARY}; none for two files)"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="one row for each case and structure")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="a page with plots, overlays and surfaces, in one file"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images behind the overlays (imagesTr or imagesTs of REF)"
    )
    parser.add_argument(
        "--nsd-tolerance-mm", type=float, default=2.0, metavar="MM", help="surfaces agree up to this (2)"
    )
    parser.add_argument(
        "--missing",
        choices=("worst", "null"),
        default="worst",
        help="distances of a structure that was not found: the image's diagonal, or none (worst)",
    )
    parser.add_argument(
        "--tubular",
        nargs="*",
        metavar="NAME",
        help="clDice and skeleton recall of these structures, by name or label; without a name of all",
    )
    parser.add_argument("--union", action="store_true", help="also distances of all labels taken as one")
    parser.add_argument(
        "--only-predicted", action="store_true", help="leave out references that have no prediction"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the files and print the means; returns the exit code."""
    from nnunet_ext.evaluation.summary import summary_text
    from nnunet_ext.evaluation.tables import cases_csv, means_text
    from nnunet_ext.files import write_text

    try:
        evaluation = _evaluation(args)
        print(means_text(evaluation))  # first: a folder that cannot be written to costs the files alone
        json_file = args.json or (args.prediction / SUMMARY if args.prediction.is_dir() else None)
        for file, text_of in ((json_file, summary_text), (args.csv, cases_csv)):
            if file is not None:
                write_text(file, text_of(evaluation))
                logger.info("written: %s", file)
        if args.html is not None:
            write_text(args.html, _page(args, evaluation))
            logger.info("written: %s", args.html)
    except (ValueError, OSError) as error:
        logger.error("evaluate: %s", error)
        return 2
    return 1 if evaluation.failed else 0


def _page(args: argparse.Namespace, evaluation: Evaluation) -> str:
    from nnunet_ext.evaluation.cases import find_dataset_json, read_dataset_json
    from nnunet_ext.evaluation.report.evaluation_page import evaluation_page
    from nnunet_ext.evaluation.report.page import html
    from nnunet_ext.evaluation.report.selection import images_beside

    description = read_dataset_json(args.dataset_json or find_dataset_json(args.prediction, args.reference))
    raw = os.environ.get("nnUNet_raw")
    references = args.reference if args.reference.is_dir() else args.reference.parent
    images = args.images or images_beside(references.absolute(), raw=Path(raw) if raw else None)
    page = evaluation_page(
        evaluation,
        title=f"{args.prediction.absolute().name} against {args.reference.absolute().name}",
        images=images,
        file_ending=description["file_ending"],
    )
    return html(page)


def _evaluation(args: argparse.Namespace) -> Evaluation:
    from nnunet_ext.evaluation.cases import find_cases, find_dataset_json, read_dataset_json
    from nnunet_ext.evaluation.folder import evaluate_cases
    from nnunet_ext.evaluation.label_maps import PICTURE_ENDINGS
    from nnunet_ext.evaluation.scores import Settings
    from nnunet_ext.evaluation.structures import label_table
    from nnunet_ext.evaluation.summary import Evaluation

    file = args.dataset_json or find_dataset_json(args.prediction, args.reference)
    description = read_dataset_json(file)
    table = label_table(description)
    ending = description["file_ending"]
    cases = find_cases(
        args.prediction, args.reference, file_ending=ending, only_predicted=args.only_predicted
    )
    everything = [s.key for s in table.structures]
    settings = Settings(
        nsd_tolerance_mm=args.nsd_tolerance_mm,
        missing=args.missing,
        tubular=frozenset() if args.tubular is None else table.keys_of(args.tubular or everything),
        union=args.union,
    )
    logger.info("labels from %s", file)
    results = evaluate_cases(
        cases, table=table, settings=settings, workers=args.workers, progress=not args.no_pbar
    )
    return Evaluation(results, table, settings, unit="pixel" if ending in PICTURE_ENDINGS else "mm")
