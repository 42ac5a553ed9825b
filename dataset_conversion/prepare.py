"""Runs the steps of a preparation over a raw dataset, or over new images just as over the dataset's."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK
from nnunet_ext.dataset_conversion.checks import checked
from nnunet_ext.dataset_conversion.convert import Outcome, convert
from nnunet_ext.dataset_conversion.declaration import Conversion, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.raw_dataset import CHANNELS, ENDING, converter_of, discover_images, read
from nnunet_ext.dataset_conversion.records import FILE_ENDING
from tqdm import tqdm

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.files import write_text
from nnunet_ext.preparation import FILE_NAME, Preparation, read_preparation

logger = logging.getLogger(__name__)

REPORT = "preparation_report.json"


@dataclass(frozen=True)
class PreparedImages:
    """What became of new images.

    Attributes:
        cases: for each case its steps with their figures, or why it was refused.
        refused: how many were.
    """

    cases: dict[str, dict[str, Any]]
    refused: int


def prepare_dataset(
    source: Path,
    dataset: Path,
    preparation: Preparation,
    *,
    key_file: Path,
    preprocessed: Path | None,
    workers: int,
    progress: bool,
    accept_misplaced: bool = False,
) -> Outcome:
    """Write a prepared copy of a raw dataset, with the record of its steps.

    Cases keep their names. Splits are those of the source, if it has any: which cases are one patient is
    known there.

    Args:
        source: nnU-Net raw dataset.
        dataset: folder to write, ``DatasetNNN_Title``.
        preparation: the steps.
        key_file: see :mod:`nnunet_ext.dataset_conversion.key_file`.
        preprocessed: the dataset's folder among nnU-Net's preprocessed data, whose splits are compared.
        workers: processes.
        progress: show a progress bar on stderr.
        accept_misplaced: note labels that seem misplaced, and go on.

    Raises:
        ValueError: the source is no dataset or the target holds another.
        OSError: something cannot be read or written.
    """
    converter, options = converter_of(source, title=dataset.name.partition("_")[2])
    conversion = Conversion(
        converter,
        source,
        dataset,
        options,
        preparation,
        splits_from=source,
        accept_misplaced=accept_misplaced,
    )
    return convert(
        conversion, key_file=key_file, preprocessed=preprocessed, workers=workers, progress=progress
    )


def prepare_images(images: Path, out: Path, *, like: Path, progress: bool) -> PreparedImages:
    """Prepare new images, named as nnU-Net names them, just as the images of a dataset were.

    Args:
        images: folder with ``CASE_0000.nii.gz``, ...
        out: folder to write, for ``nnUNetv2_predict``; prepared images that are there are made anew.
        like: dataset that holds ``preparation.json``.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: there is no case, or the dataset was not prepared.
        OSError: something cannot be read or written.
    """
    file = like / FILE_NAME
    if not file.is_file():
        raise ValueError(
            f"expected {file}, got none: {like.name} was not prepared, and its models take images as they "
            "are; predict them so, or give the dataset that --steps wrote"
        )
    preparation = read_preparation(file)
    converter, options = converter_of(like, title="")
    cases = discover_images(images, options, labels=None)
    if not cases:
        raise ValueError(f"expected images called CASE_0000{options[ENDING]} in {images}, got none")
    conversion = Conversion(converter, images, out, options, preparation)
    found = {
        case.public_name: _prepare_one(conversion, case)
        for case in tqdm(cases, unit="case", disable=None if progress else True)
    }
    write_text(out / REPORT, json.dumps(found, indent=2) + "\n")
    return PreparedImages(found, sum("code" in entry for entry in found.values()))


def _prepare_one(conversion: Conversion, case: SourceCase) -> dict[str, Any]:
    targets = [
        conversion.dataset / f"{case.public_name}_{channel:04d}{FILE_ENDING}"
        for channel in range(conversion.options[CHANNELS])
    ]
    names = conversion.converter.channels
    try:
        images = read(case, conversion.options).channels
        if conversion.preparation is None:
            raise ValueError("expected a preparation, got none")
        done = conversion.preparation.run(dict(zip(names, images, strict=True)))
        prepared = ReadCase(tuple(done.case.channels[name] for name in names), None)
        channels = checked(prepared, conversion.converter).channels
    except CaseError as error:
        return _refused(error, targets)
    except Exception as error:  # whatever a file makes a library do, it is this case's alone
        logger.debug("%s", case.public_name, exc_info=True)
        reason = f"it could not be prepared ({type(error).__name__})"
        remedy = "look at its images, and write them again from their source"
        return _refused(CaseError("unreadable", reason=reason, remedy=remedy), targets)
    _write(channels, targets)
    steps: dict[str, Any] = {"steps": done.report["steps"]}
    return steps


def _refused(error: CaseError, targets: Sequence[Path]) -> dict[str, Any]:
    for target in targets:  # of an earlier run
        target.unlink(missing_ok=True)
    return {"code": error.code, "reason": error.reason, "remedy": error.remedy}


def _write(channels: Sequence[SimpleITK.Image], targets: Sequence[Path]) -> None:
    """Channel 0 last: nnU-Net lists a case by its images."""
    for image, target in reversed(list(zip(channels, targets, strict=True))):
        write_image(image, target, staging=target.parent.parent)
