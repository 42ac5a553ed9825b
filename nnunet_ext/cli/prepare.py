"""The verb ``prepare``: couch and mask removal, N4, registration, for datasets and new cases alike."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Do once what plans cannot say: take couch and mask out of CT, correct MR (N4), bring MR onto CT, resample,
window. The steps and all their parameters are a file, preparation.json. It is written beside the dataset, so
that new cases get exactly the same with --like. Datasets that are converted take the same file:
nnunet_ext convert NAME SRC --preparation FILE.

--example prints a file to begin with: ct (couch and mask removal) or mr-on-ct (that, N4 and registration).
Its channels are called CT and T1w: write the names of yours. Steps that you may add:

  {"step": "match_grid", "channel": "T1w", "reference": "CT", "background": 0, "order": 3}
  {"step": "resample", "spacing_mm": [1.25, 0.8, 0.8], "order": 3, "label_method": "linear"}
  {"step": "window", "channel": "CT", "low": -135, "high": 215}
  {"step": "standardize", "channel": "T1w", "percentiles": [0.5, 99.5], "within": "foreground"}

Spacing is (z, y, x). Every parameter must be there; one that is missing or unknown is named.
"""
EPILOG = """\
examples:
  nnunet_ext prepare --example mr-on-ct > steps.json
  nnunet_ext prepare Dataset020_Raw --steps steps.json --dataset-id 21
  nnunet_ext prepare new_images --like Dataset021_Prepared --out prepared_images

exit code: 0 done, 1 some cases were refused, 2 wrong usage or environment
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["Dataset020_Raw", "--steps", "steps.json", "--dataset-id", "21"]).dataset_id
        21
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "source",
        nargs="?",
        metavar="SRC",
        help="raw dataset, its number, name or folder, or a folder of images",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--steps", type=Path, metavar="FILE", help="preparation.json to run on a dataset")
    what.add_argument("--like", metavar="DATASET", help="run the steps of this dataset on images")
    what.add_argument("--example", choices=("ct", "mr-on-ct"), help="print a preparation.json")
    parser.add_argument("--dataset-id", type=int, metavar="N", help="number of the prepared dataset")
    parser.add_argument("--name", help="its name, DatasetNNN_NAME (Prepared)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of raw datasets ($nnUNet_raw), or of the new images"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="see nnunet_ext convert --help")
    parser.add_argument("--accept-misplaced", action="store_true", help="see nnunet_ext convert --help")
    parser.add_argument("--workers", type=int, metavar="N", help="processes, for a dataset (1)")
    parser.add_argument("--no-pbar", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Prepare and print what came of it; returns the exit code."""
    try:
        _check(args)
        if args.example is not None:
            print(_example(args.example), end="")
            return 0
        if args.source is None:
            raise ValueError("give the dataset or the images to prepare")
        return _images(args) if args.like is not None else _dataset(args)
    except (ValueError, OSError) as error:
        logger.error("prepare: %s", error)
        return 2


def _check(args: argparse.Namespace) -> None:
    """Raise ValueError for options that have no use here: they would be taken for heard."""
    if args.steps is not None:
        return
    alien = {
        "--dataset-id": args.dataset_id is not None,
        "--name": args.name is not None,
        "--key": args.key is not None,
        "--accept-misplaced": args.accept_misplaced,
        "--workers": args.workers is not None,
    }
    mode = "--like"
    if args.example is not None:
        mode = "--example"
        alien |= {"SRC": args.source is not None, "--out": args.out is not None}
    if given := [flag for flag, is_given in alien.items() if is_given]:
        raise ValueError(f"{mode} takes no {', '.join(given)}: leave it out")


def _dataset(args: argparse.Namespace) -> int:
    from nnunet_ext.dataset_conversion.key_file import default_key_file
    from nnunet_ext.dataset_conversion.prepare import prepare_dataset
    from nnunet_ext.dataset_conversion.raw_folder import (
        conclude,
        existing_dataset,
        folder_to_write,
        preprocessed_folder,
        raw_folder,
    )
    from nnunet_ext.preparation import read_preparation

    dataset = folder_to_write(args.dataset_id, args.name or "Prepared", raw=raw_folder(args.out))
    key_file = args.key or default_key_file(dataset.name)
    outcome = prepare_dataset(
        existing_dataset(args.source, raw=None),
        dataset,
        read_preparation(args.steps),
        key_file=key_file,
        preprocessed=preprocessed_folder(dataset),
        workers=1 if args.workers is None else args.workers,
        progress=not args.no_pbar,
        accept_misplaced=args.accept_misplaced,
    )
    summary, code = conclude(outcome, dataset, key_file=key_file)
    print(json.dumps(summary))
    return code


def _images(args: argparse.Namespace) -> int:
    from nnunet_ext.dataset_conversion.prepare import prepare_images
    from nnunet_ext.dataset_conversion.raw_folder import existing_dataset

    if args.out is None:
        raise ValueError("give --out, a folder for the prepared images")
    like = existing_dataset(args.like, raw=None)
    done = prepare_images(Path(args.source), args.out, like=like, progress=not args.no_pbar)
    for case, entry in done.cases.items():
        if "code" in entry:
            logger.warning("%s refused: %s: %s; %s", case, entry["code"], entry["reason"], entry["remedy"])
    written = len(done.cases) - done.refused
    print(json.dumps({"images": str(args.out), "written": written, "refused": done.refused}))
    return 1 if done.refused else 0


def _example(name: str) -> str:
    from nnunet_ext.preparation import (
        CorrectBiasField,
        Preparation,
        Register,
        RemoveCouch,
        preparation_to_json,
    )

    couch = RemoveCouch(channel="CT")
    if name == "ct":
        return preparation_to_json(Preparation(channels=("CT",), label_channel="CT", steps=(couch,)))
    steps = (couch, CorrectBiasField(channel="T1w"), Register(moving="T1w", fixed="CT"))
    return preparation_to_json(Preparation(channels=("CT", "T1w"), label_channel="CT", steps=steps))
