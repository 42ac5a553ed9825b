"""Runs a converter over a clinic's folder: every good case is written, every bad one is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_ext.dataset_conversion.declaration import Conversion, SourceCase
from nnunet_ext.dataset_conversion.description import (
    DESCRIPTION,
    read_provenance,
    write_description,
    write_report,
)
from nnunet_ext.dataset_conversion.dicom_options import PATIENTS
from nnunet_ext.dataset_conversion.key_file import KeyFile
from nnunet_ext.dataset_conversion.pool import run_cases
from nnunet_ext.dataset_conversion.records import FILE_ENDING, RECORDS, CaseResult, case_of
from nnunet_ext.dataset_conversion.registry import layout_of
from nnunet_ext.dataset_conversion.splits import FILE as SPLITS
from nnunet_ext.dataset_conversion.splits import grouped_splits, refuse_other_splits, splits_kept
from nnunet_ext.dataset_conversion.undrawn import joined

from nnunet_ext.files import write_text
from nnunet_ext.preparation import FILE_NAME as PREPARATION
from nnunet_ext.preparation import write_preparation

_BY_FOLDER = f"give {PATIENTS.flag} folder, if anonymization gave several patients one PatientID"


@dataclass(frozen=True)
class Outcome:
    """What one run did.

    Attributes:
        results: every case, by name.
        splits_error: what is wrong with the splits, "" where they are written.
    """

    results: tuple[CaseResult, ...]
    splits_error: str = ""

    @property
    def written(self) -> tuple[CaseResult, ...]:
        """Cases that are in the dataset."""
        return tuple(r for r in self.results if r.error is None)

    @property
    def refused(self) -> tuple[CaseResult, ...]:
        """Cases that are not."""
        return tuple(r for r in self.results if r.error is not None)


def convert(
    conversion: Conversion,
    *,
    key_file: Path,
    preprocessed: Path | None = None,
    workers: int = 1,
    progress: bool = True,
) -> Outcome:
    """Convert every case that is not there already, and describe the dataset.

    While cases are being written there is no ``dataset.json``, so that nnU-Net takes no half dataset.

    Args:
        conversion: what and where.
        key_file: see :mod:`nnunet_ext.dataset_conversion.key_file`.
        preprocessed: the dataset's folder among nnU-Net's preprocessed data, whose splits are compared.
        workers: processes; each holds about three volumes.
        progress: show a progress bar on stderr.

    Raises:
        ValueError: there is no case, the dataset holds something else, the preparation is for other
            channels, or another number is out of range.
        OSError: the dataset or the key cannot be written.
    """
    _require_channels_of_preparation(conversion)
    found = discovered(conversion, workers=workers)
    dataset = conversion.dataset
    key = KeyFile.open(key_file, dataset=dataset)
    named = key.name_cases(found, title=conversion.converter.title)
    _refuse_other_content(conversion, named, key)
    key.save(dataset=dataset)
    (dataset / RECORDS).mkdir(parents=True, exist_ok=True)
    (dataset / DESCRIPTION).unlink(missing_ok=True)
    (dataset / PREPARATION).unlink(missing_ok=True)
    if conversion.preparation is not None:
        write_preparation(conversion.preparation, dataset / PREPARATION)
    results = run_cases(conversion, named, key, workers=workers, progress=progress)
    undrawn = {name: named[name] for name, r in results.items() if r.undrawn and r.error is None}
    if undrawn:
        informed = replace(conversion, boxes=joined(result.boxes for result in results.values()))
        results |= run_cases(informed, undrawn, key, workers=workers, progress=progress)
    ordered = tuple(results[name] for name in sorted(results))
    outcome = Outcome(ordered, _write_splits(conversion, ordered, key, preprocessed))
    splits = "refused" if outcome.splits_error else "written" if (dataset / SPLITS).exists() else "none"
    write_report(conversion, ordered, splits=splits)
    if outcome.written:
        write_description(conversion, outcome.written)
    return outcome


def _require_channels_of_preparation(conversion: Conversion) -> None:
    """Raise for steps that no case could take: they would refuse every one."""
    channels = conversion.converter.channels
    wanted = channels if conversion.preparation is None else conversion.preparation.channels
    if set(wanted) != set(channels):
        raise ValueError(
            f"expected a preparation for the channels {', '.join(channels)}, got one for "
            f"{', '.join(wanted)}; write the names of the dataset's channels into it"
        )


def discovered(conversion: Conversion, *, workers: int) -> Sequence[SourceCase]:
    """The cases of the source.

    Raises:
        ValueError: there is none, or nobody to convert them.
    """
    if workers < 1:
        raise ValueError(f"workers must be a whole number >= 1, got {workers}")
    found = conversion.converter.discover(conversion.source, conversion.options)
    if not found:
        name = conversion.converter.name
        raise ValueError(f"expected cases of {name} below {conversion.source}, got none.{layout_of(name)}")
    return found


def _refuse_other_content(conversion: Conversion, named: Mapping[str, SourceCase], key: KeyFile) -> None:
    dataset = conversion.dataset
    if (dataset / DESCRIPTION).is_file() and read_provenance(dataset).get(
        "name"
    ) != conversion.converter.name:
        raise ValueError(f"{dataset} holds another dataset; choose another --dataset-id, or remove it")
    # New patients of --like stay, the key knows them.
    known = {"imagesTr": set(named), "imagesTs": set(named) | set(key.cases)}
    present = [
        case_of(file)
        for folder, expected in known.items()
        for file in (dataset / folder).glob(f"*{FILE_ENDING}")
        if case_of(file) not in expected
    ]
    if strangers := sorted(set(present)):
        raise ValueError(
            f"{dataset} holds {len(strangers)} cases that the source has not, such as {strangers[0]}; choose "
            "another --dataset-id, or remove the dataset"
        )


def _write_splits(
    conversion: Conversion, results: Sequence[CaseResult], key: KeyFile, preprocessed: Path | None
) -> str:
    """Write the splits of the training cases, or those of another dataset; what is wrong with them."""
    file = conversion.dataset / SPLITS
    file.unlink(missing_ok=True)
    training = [r.case for r in results if r.error is None and r.is_training]
    try:
        if conversion.splits_from is not None:
            splits = splits_kept(conversion.splits_from, training)
        else:
            patients = {case: key.cases[case].get("patient", case) for case in training}
            by_dicom = conversion.options.get(PATIENTS.name) == PATIENTS.default
            splits = grouped_splits(patients, if_shared=_BY_FOLDER if by_dicom else "")
        if splits:
            write_text(file, json.dumps(splits, indent=4) + "\n")
            if preprocessed is not None:
                refuse_other_splits(splits, preprocessed=preprocessed)
    except ValueError as error:
        return str(error)
    return ""
