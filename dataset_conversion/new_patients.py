"""New patients of a dataset: they take the path of its training cases, whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK
from nnunet_ext.dataset_conversion.convert import Outcome, discovered
from nnunet_ext.dataset_conversion.declaration import Conversion, Converter
from nnunet_ext.dataset_conversion.description import (
    A_FILE,
    CONVERTER,
    REPORT_OF_NEW,
    read_description,
    write_report,
)
from nnunet_ext.dataset_conversion.key_file import KeyFile
from nnunet_ext.dataset_conversion.pool import run_cases
from nnunet_ext.dataset_conversion.raw_dataset import NAME as PREPARED
from nnunet_ext.dataset_conversion.records import FILE_ENDING, RECORDS

from nnunet_ext.clinical_io.grids import ORIENTATION
from nnunet_ext.preparation import FILE_NAME as PREPARATION
from nnunet_ext.preparation import Preparation, read_preparation


def options_of_new(
    converter: Converter, typed: Mapping[str, Any], made_by: Mapping[str, Any]
) -> dict[str, Any]:
    """The options with which new patients are read: the dataset's own, and what they may have otherwise.

    Args:
        converter: that reads them.
        typed: values of its options that the user gave.
        made_by: what ``dataset.json`` says of the converter that made the dataset, and its options.

    Raises:
        ValueError: an option was typed that is about labels, or another than the dataset's.
    """
    is_own = made_by.get("name") == converter.name
    recorded = {n: v for n, v in made_by.get("options", {}).items() if v != A_FILE} if is_own else {}
    options = {option.name: option.default for option in converter.options} | recorded
    for option in converter.options:
        value = typed.get(option.name, options[option.name])
        is_other = value != options[option.name]
        if is_other and option.is_for_training:
            raise ValueError(f"{option.flag} is about labels, and new patients have none: leave it out")
        if is_other and is_own and not option.may_differ:
            raise ValueError(
                f"{option.flag}: new patients are read as the dataset was, with {options[option.name]}, and "
                f"got {value}: leave it out"
            )
        options[option.name] = option.default if option.is_for_training else value
    return options


def convert_new(
    conversion: Conversion,
    *,
    key_file: Path,
    asked: Preparation | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Outcome:
    """Convert patients without labels into ``imagesTs`` of a dataset that is there already.

    They take the path of the training cases: the same channels, preparation, checks and orientation, so that
    a model of this dataset predicts them. Training cases, splits and ``dataset.json`` stay as they are.

    Args:
        conversion: what and where, with the options of :func:`options_of_new`.
        key_file: that of the dataset.
        asked: steps that the user asked for; no others than the dataset's are taken.
        workers: processes.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: there is no case, the steps are others than the dataset's, or its images are not like
            those that the converter writes.
        OSError: the dataset or the key cannot be written.
    """
    dataset = conversion.dataset
    made_by = _require_like_images(conversion)
    conversion = replace(conversion, preparation=_preparation_of(dataset, asked))
    # A new patient's folder may be called like an old one's: the whole path tells them apart.
    found = [
        replace(case, is_training=False, public_name="", source=str(case.folder.resolve() / case.source))
        for case in discovered(conversion, workers=workers)
    ]
    key = KeyFile.open(key_file, dataset=dataset)
    named = key.name_cases(found, title=conversion.converter.title)
    key.save(dataset=dataset)
    (dataset / RECORDS).mkdir(exist_ok=True)
    results = run_cases(conversion, named, key, workers=workers, progress=progress)
    ordered = tuple(results[name] for name in sorted(results))
    write_report(conversion, ordered, splits="none", file=REPORT_OF_NEW, made_by=made_by)
    return Outcome(ordered)


def _require_like_images(conversion: Conversion) -> str:
    """Raise unless a model of the dataset takes what the converter writes; the name of who made it."""
    dataset, converter = conversion.dataset, conversion.converter
    content = read_description(dataset)
    made_by = content.get(CONVERTER, {}).get("name")
    if made_by is None:
        raise ValueError(f"expected a dataset of nnunet_ext convert, {dataset} was made by none of ours")
    if made_by == PREPARED:
        raise ValueError(
            f"{dataset} was made by nnunet_ext prepare: convert --like the dataset that it was made of, and "
            "prepare the new images --like this one"
        )
    names = content["channel_names"]
    own = [*(names[str(i)] for i in range(len(names))), content["file_ending"], _orientation(dataset)]
    written = [*converter.channels, FILE_ENDING, ORIENTATION]
    if own != written:
        raise ValueError(
            f"a model of {dataset.name} cannot take images of {converter.name}: expected {', '.join(own)} "
            f"(channels, file ending, orientation), got {', '.join(written)}; take a converter that gives "
            "the same"
        )
    return str(made_by)


def _orientation(dataset: Path) -> str:
    """Of the first training image, by its header; where there is none, what every image here has."""
    images = sorted((dataset / "imagesTr").glob(f"*{FILE_ENDING}"))
    if not images:
        return ORIENTATION
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(images[0]))
    reader.ReadImageInformation()
    letters: str = SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(reader.GetDirection())
    return letters


def _preparation_of(dataset: Path, asked: Preparation | None) -> Preparation | None:
    file = dataset / PREPARATION
    recorded = read_preparation(file) if file.exists() else None
    if asked is not None and asked != recorded:
        steps = "which have other steps" if recorded else "which have none"
        raise ValueError(
            f"--preparation: new patients are prepared as the cases of {dataset.name}, {steps}: leave it out"
        )
    return recorded
