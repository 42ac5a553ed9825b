"""Runs a converter over a clinic's folder: every good case is written, every bad one is named."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_ext.dataset_conversion.declaration import Conversion, SourceCase
from nnunet_ext.dataset_conversion.key_file import KeyFile
from nnunet_ext.dataset_conversion.one_case import convert_case
from nnunet_ext.dataset_conversion.records import (
    FILE_ENDING,
    RECORDS,
    CaseResult,
    case_of,
    finished,
    remove_outputs,
)
from nnunet_ext.dataset_conversion.splits import FILE as SPLITS
from nnunet_ext.dataset_conversion.splits import grouped_splits, refuse_other_splits
from nnunet_ext.dataset_conversion.undrawn import joined
from tqdm import tqdm

import nnunet_ext
from nnunet_ext.files import write_text
from nnunet_ext.laterality import AXIS, KEY

logger = logging.getLogger(__name__)

DESCRIPTION = "dataset.json"
REPORT = "conversion_report.json"


@dataclass(frozen=True)
class Outcome:
    """What one run did.

    Attributes:
        results: every case, by name.
        splits_error: what is wrong with the splits, "" where they are written.
    """

    results: tuple[CaseResult, ...]
    splits_error: str

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
        ValueError: there is no case, the dataset holds something else, or another number is out of range.
        OSError: the dataset or the key cannot be written.
    """
    if workers < 1:
        raise ValueError(f"workers must be a whole number >= 1, got {workers}")
    found = conversion.converter.discover(conversion.source, conversion.options)
    if not found:
        raise ValueError(f"expected cases of {conversion.converter.name} below {conversion.source}, got none")
    dataset = conversion.dataset
    key = KeyFile.open(key_file, dataset=dataset)
    named = key.name_cases(found, title=conversion.converter.title)
    _refuse_other_content(conversion, named)
    key.save(dataset=dataset)
    (dataset / RECORDS).mkdir(parents=True, exist_ok=True)
    (dataset / DESCRIPTION).unlink(missing_ok=True)
    results = _run(conversion, named, key, workers=workers, progress=progress)
    boxes = joined(result.boxes for result in results.values())
    undrawn = {name for name, r in results.items() if r.undrawn and r.error is None}
    if undrawn:
        again = {name: named[name] for name in named if name in undrawn}
        results |= _run(replace(conversion, boxes=boxes), again, key, workers=workers, progress=progress)
    ordered = [results[name] for name in sorted(results)]
    outcome = Outcome(tuple(ordered), _write_splits(ordered, key, dataset, preprocessed))
    _describe(conversion, outcome)
    return outcome


def _run(
    conversion: Conversion,
    named: Mapping[str, SourceCase],
    key: KeyFile,
    *,
    workers: int,
    progress: bool,
) -> dict[str, CaseResult]:
    shown = tqdm(
        _results(conversion, named, salt=key.salt, workers=workers),
        total=len(named),
        desc=conversion.converter.title,
        unit="case",
        disable=None if progress else True,
    )
    return {result.case: _noted(result, key, conversion.dataset) for result in shown}


def _results(
    conversion: Conversion, named: Mapping[str, SourceCase], *, salt: str, workers: int
) -> Iterator[CaseResult]:
    todo = {}
    for name, case in named.items():
        if earlier := finished(conversion, name, case, salt=salt):
            yield earlier
        else:
            todo[name] = case
    if workers == 1 or len(todo) < 2:
        for name, case in todo.items():
            yield convert_case(conversion, name, case, salt=salt)
        return
    context = multiprocessing.get_context("spawn")  # threads of SimpleITK do not survive a fork
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        running: dict[Future[CaseResult], str] = {
            pool.submit(convert_case, conversion, name, case, salt=salt): name for name, case in todo.items()
        }
        try:
            for future in as_completed(running):
                yield _result_of(future, running[future], todo)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _result_of(future: Future[CaseResult], name: str, todo: Mapping[str, SourceCase]) -> CaseResult:
    """A worker that the system killed takes the cases of the whole pool with it: they are done next time."""
    try:
        return future.result()
    except BrokenProcessPool:
        error = ("worker-died", "a worker was ended, most likely for memory", "run again with fewer workers")
        return CaseResult(name, todo[name].is_training, "", error=error)


def _noted(result: CaseResult, key: KeyFile, dataset: Path) -> CaseResult:
    """Keep in the key what belongs there, and take what was refused out of the dataset."""
    entry = key.cases[result.case]
    if result.patient:
        entry["patient"] = key.hashed(result.patient)
    entry.pop("details", None)
    if result.private:
        entry["details"] = result.private
    if result.patient or result.private:
        key.save(dataset=dataset)
    if result.error is not None:
        remove_outputs(dataset, result.case)
        logger.warning("%s refused: %s: %s; %s", result.case, *result.error)
    return result


def _refuse_other_content(conversion: Conversion, named: Mapping[str, SourceCase]) -> None:
    description = conversion.dataset / DESCRIPTION
    if description.is_file():
        converter = json.loads(description.read_text(encoding="utf-8")).get("converter", {})
        if converter.get("name") != conversion.converter.name:
            raise ValueError(
                f"{conversion.dataset} holds another dataset; choose another --dataset-id, or remove it"
            )
    present = {
        case_of(file)
        for folder in ("imagesTr", "imagesTs")
        for file in (conversion.dataset / folder).glob(f"*{FILE_ENDING}")
    }
    if strangers := sorted(present - set(named)):
        raise ValueError(
            f"{conversion.dataset} holds {len(strangers)} cases that the source has not, such as "
            f"{strangers[0]}; choose another --dataset-id, or remove the dataset"
        )


def _write_splits(results: list[CaseResult], key: KeyFile, dataset: Path, preprocessed: Path | None) -> str:
    patients = {
        r.case: key.cases[r.case].get("patient", r.case) for r in results if r.error is None and r.is_training
    }
    (dataset / SPLITS).unlink(missing_ok=True)
    if not patients:
        return ""
    try:
        splits = grouped_splits(patients)
        write_text(dataset / SPLITS, json.dumps(splits, indent=4) + "\n")
        if preprocessed is not None:
            refuse_other_splits(splits, preprocessed=preprocessed)
    except ValueError as error:
        return str(error)
    return ""


def _describe(conversion: Conversion, outcome: Outcome) -> None:
    """The report, then ``dataset.json``: with that nnU-Net sees the dataset."""
    converter, written = conversion.converter, outcome.written
    provenance = {
        "name": converter.name,
        "nnunet_ext": nnunet_ext.__version__,
        "options": {name: _plain(value) for name, value in sorted(conversion.options.items())},
    }
    report = {
        "converter": provenance,
        "written": len(written),
        "refused": len(outcome.refused),
        "splits": "refused" if outcome.splits_error else "written" if written else "none",
        "cases": {result.case: _reported(result) for result in outcome.results},
    }
    write_text(conversion.dataset / REPORT, json.dumps(report, indent=2) + "\n")
    if not written:
        return
    description: dict[str, Any] = {
        "channel_names": {str(i): name for i, name in enumerate(converter.channels)},
        "labels": converter.numbers(),
        "numTraining": sum(r.is_training for r in written),
        "file_ending": FILE_ENDING,
        "name": converter.title,
        "reference": converter.reference,
        "licence": converter.license,
        "converter": provenance,
    }
    if converter.pairs or converter.is_chiral:
        description[KEY] = {"pairs": [list(pair) for pair in converter.pairs], "axis": AXIS}
    write_text(conversion.dataset / DESCRIPTION, json.dumps(description, indent=2) + "\n")


def _reported(result: CaseResult) -> dict[str, Any]:
    if result.error is not None:
        code, reason, remedy = result.error
        return {"status": "refused", "code": code, "reason": reason, "remedy": remedy}
    return {
        "status": "written",
        "notes": [str(note) for note in result.notes],
        "voxels": result.voxels,
        "sha256": result.files,
    }


def _plain(value: Any) -> Any:
    """Options as the report may show them: of a file only that there was one."""
    return "a file" if isinstance(value, Path) else value
