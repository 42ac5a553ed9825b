"""The verb ``render``: a case as a picture, and its structures as surfaces for planning software."""

from __future__ import annotations

import argparse
import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.evaluation.report.shown import ShownCase
    from nnunet_ext.evaluation.structures import LabelTable, Structure

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Draw a label map in three planes and from three sides (PNG), and write each of its structures as a closed
surface (STL or PLY) in mm and the patient's coordinates, LPS, as DICOM and planning software count. With a
reference the picture shows where both agree. Nothing needs a display or a graphics card.

Surfaces are smoothed without loss of volume, but for structures of some 50 voxels and fewer; the volumes of
voxels and surface are printed side by side. --no-smoothing keeps the faces of the voxels.
"""
EPILOG = """\
examples:
  nnunet_ext render predictions/case_001.nii.gz --out case_001
  nnunet_ext render a.nii.gz --image imagesTs/a_0000.nii.gz --reference labelsTs/a.nii.gz --out look

exit code: 0 done, 2 wrong usage, or files that cannot be shown
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["a.nii.gz", "--out", "look"]).format
        'stl'
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("case", type=Path, metavar="CASE", help="label map, such as a prediction")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="label map on the same grid")
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="image on the same grid, behind the planes"
    )
    parser.add_argument(
        "--dataset-json", type=Path, metavar="FILE", help="names of the labels (beside CASE; else numbers)"
    )
    parser.add_argument("--format", choices=("stl", "ply"), default="stl", help="of surfaces (stl)")
    parser.add_argument(
        "--max-triangles", type=int, metavar="N", help="of each surface, about; fewer make smaller files"
    )
    parser.add_argument("--no-smoothing", action="store_true", help="surfaces along the faces of voxels")
    parser.add_argument(
        "--tolerance-mm", type=float, default=2.0, metavar="MM", help="surfaces agree up to this (2)"
    )


def run(args: argparse.Namespace) -> int:
    """Write the picture and the surfaces; returns the exit code."""
    from nnunet_ext.clinical_io import CaseError
    from nnunet_ext.evaluation.report.rendering import picture_png, surfaces_of, volumes_text
    from nnunet_ext.evaluation.report.shown import read_shown_case
    from nnunet_ext.evaluation.report.surfaces import write_surface
    from nnunet_ext.files import whole_file

    name = _name(args.case)
    try:
        case = read_shown_case(args.case, name=name, reference=args.reference, image=args.image)
        table = _table(args, case)
        rendered = surfaces_of(case, table, smooth=not args.no_smoothing, max_triangles=args.max_triangles)
        for each, word in zip(rendered, _words([r.structure for r in rendered]), strict=True):
            write_surface(each.surface, args.out / f"{name}_{word}.{args.format}")
        with whole_file(args.out / f"{name}.png") as temporary:
            temporary.write_bytes(picture_png(case, table, tolerance_mm=args.tolerance_mm))
    except (CaseError, ValueError, OSError) as error:
        logger.error("render: %s: %s", args.case.name, error)
        return 2
    print(volumes_text(rendered) or f"{name}: no structure")
    logger.info("written: %s", args.out)
    return 0


def _table(args: argparse.Namespace, case: ShownCase) -> LabelTable:
    """Names from dataset.json; without one, every number of the label map is a structure."""
    import numpy as np

    from nnunet_ext.evaluation.cases import find_dataset_json
    from nnunet_ext.evaluation.structures import label_table

    file = args.dataset_json
    if file is None:
        try:
            file = find_dataset_json(args.case, args.reference or args.case)
        except ValueError:
            maps = [case.prediction] if case.reference is None else [case.prediction, case.reference]
            numbers = sorted({int(n) for labels in maps for n in np.unique(labels)} - {0})
            logger.info("no dataset.json: structures are called by their numbers")
            return label_table({"labels": {"background": 0, **{f"label {n}": n for n in numbers}}})
    return label_table(json.loads(file.read_text(encoding="utf-8")))


def _name(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".nii")


def _words(structures: Sequence[Structure]) -> list[str]:
    """Of each structure a name for its file; GTV+ and GTV- have their labels behind it."""
    words = [_word(structure.name) for structure in structures]
    often = Counter(word.lower() for word in words)  # some disks take a and A for one
    return [
        word if word and often[word.lower()] == 1 else f"{word}_{_word(structure.key)}".strip("_")
        for word, structure in zip(words, structures, strict=True)
    ]


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_")
