"""The action ``benchmark report``: a page of a benchmark, and its table for a README."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

PAGE = "report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the action's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["bench"]).workers
        1
    """
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of the benchmark")
    parser.add_argument("--html", type=Path, metavar="FILE", help=f"the page (DIR/{PAGE})")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="scores and verdicts as Markdown too")
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="behind overlays (imagesTr in nnUNet_raw)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Score what is complete, write the page and print the verdicts; returns the exit code.

    Raises:
        ValueError: no repeat is complete, or a case cannot be scored.
        OSError: something cannot be read or written.
    """
    from nnunet_ext.evaluation.benchmark.inputs import declared
    from nnunet_ext.evaluation.benchmark.places import Places
    from nnunet_ext.evaluation.benchmark.scores import REFERENCES, comparisons, score
    from nnunet_ext.evaluation.cases import read_dataset_json
    from nnunet_ext.evaluation.report.benchmark_page import benchmark_page
    from nnunet_ext.evaluation.report.markdown import markdown
    from nnunet_ext.evaluation.report.page import html
    from nnunet_ext.evaluation.report.selection import images_beside
    from nnunet_ext.evaluation.structures import label_table
    from nnunet_ext.files import write_text

    preprocessed = os.environ.get("nnUNet_preprocessed")
    if preprocessed is None:
        raise ValueError("set nnUNet_preprocessed, as for nnU-Net's own commands")
    raw = os.environ.get("nnUNet_raw")
    places = Places(args.out.resolve(), declared(args.out))
    scored = score(places, preprocessed=Path(preprocessed), workers=args.workers, progress=not args.no_pbar)
    dataset = Path(preprocessed) / places.matrix.dataset
    description = read_dataset_json(dataset / "dataset.json")
    references = dataset / REFERENCES
    page = benchmark_page(
        places,
        scored,
        labels=label_table(description),
        references=references,
        images=args.images or images_beside(references, raw=Path(raw) if raw else None),
        file_ending=description["file_ending"],
    )
    for comparison in comparisons(scored):
        if comparison.metric == "Dice":
            print(comparison.sentence)
    texts = [(args.html or args.out / PAGE, html(page))]
    if args.markdown is not None:
        texts.append((args.markdown, markdown(page)))
    for file, text in texts:
        write_text(file, text)
        logger.info("written: %s", file)
    return 0
