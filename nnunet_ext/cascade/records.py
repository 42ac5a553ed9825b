"""Which model wrote a coarse prediction, and whether it had seen the case: no leak from coarse to fine.

nnU-Net keeps no record of it, and a later training overwrites what an earlier one wrote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_ext.files import checksum, write_text

ENDING = ".coarse.json"


class LeakError(RuntimeError):
    """A coarse prediction is missing, or its model may have seen the case."""


@dataclass(frozen=True)
class CoarseRecord:
    """Where a coarse prediction comes from.

    Attributes:
        case: name of the case.
        trainer: class name of the coarse trainer.
        plans: name of its plans.
        configuration: its configuration, ``"3d_lowres"``.
        fold: that predicted the case.
        training_cases: all cases that this fold was trained on, sorted; of a case that the dataset no longer
            has, its :func:`fingerprint`.
        checkpoint_sha256: of the checkpoint that predicted; "" where none was kept.
        prediction_sha256: of the prediction's file, which a later training overwrites.
    """

    case: str
    trainer: str
    plans: str
    configuration: str
    fold: int
    training_cases: tuple[str, ...]
    checkpoint_sha256: str
    prediction_sha256: str

    @property
    def saw_its_case(self) -> bool:
        """Whether the model was trained on the case that it predicted."""
        return self.case in self.training_cases


def fingerprint(case: str) -> str:
    """What a checkpoint keeps of a case that it was trained on: names may be patients', and weights travel.

    Example:
        >>> fingerprint("case_1")[:8]
        '46679968'
    """
    return hashlib.sha256(case.encode()).hexdigest()


def cases_of(fingerprints: Collection[str], known: Iterable[str]) -> tuple[str, ...]:
    """Names of the cases that fingerprints are of; those of no known case stay as they are.

    Example:
        >>> cases_of({fingerprint("b"), "f00"}, ["a", "b"])
        ('b', 'f00')
    """
    names = {fingerprint(case): case for case in known}
    return tuple(sorted(names.get(each, each) for each in fingerprints))


def record_file(folder: Path, case: str) -> Path:
    """Beside the prediction, ``predicted_next_stage/CONFIGURATION/CASE.*``."""
    return folder / f"{case}{ENDING}"


def save_record(record: CoarseRecord, folder: Path) -> None:
    """Write a record, see :func:`read_record`."""
    write_text(record_file(folder, record.case), json.dumps(asdict(record), indent=1) + "\n")


def read_record(folder: Path, case: str) -> CoarseRecord | None:
    """The record of a case, None where there is none that can be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_record(CoarseRecord("a", "T", "P", "3d_lowres", 0, ("b",), "0", "0"), Path(folder))
        ...     found = read_record(Path(folder), "a")
        >>> found.fold, found.saw_its_case
        (0, False)
    """
    file = record_file(folder, case)
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return CoarseRecord(**{**content, "training_cases": tuple(content["training_cases"])})
    except (ValueError, KeyError, TypeError):  # not ours, or of another release: as good as none
        return None


def require_out_of_fold(
    folder: Path,
    cases: Iterable[str],
    *,
    ending: str,
    command: str,
    training_cases: Mapping[int, Collection[str]] | None = None,
) -> dict[str, CoarseRecord]:
    """Raise unless every case has a coarse prediction by a model that did not see it.

    Args:
        folder: of the coarse predictions for one configuration.
        cases: of the fine stage, training and validation.
        ending: of their files.
        command: that makes them, for the error; ``"nnUNetv2_train 5 3d_lowres FOLD -tr T"``.
        training_cases: of each fold, as the splits are now; None does not compare them.

    Returns:
        The records, by case.

    Raises:
        LeakError: a prediction or its record is missing, its model was trained on the case or on another
            split, or the prediction is not the one that the record is of.
    """
    records: dict[str, CoarseRecord] = {}
    missing, unknown, seen, changed, other_splits = [], [], [], [], []
    for case in sorted(cases):
        record = read_record(folder, case)
        if not (folder / f"{case}{ending}").is_file():
            missing.append(case)
        elif record is None:
            unknown.append(case)
        elif record.saw_its_case:
            seen.append(case)
        elif training_cases is not None and _is_of_other_splits(record, training_cases):
            other_splits.append(case)
        elif checksum(folder / f"{case}{ending}") != record.prediction_sha256:
            changed.append(case)
        else:
            records[case] = record
    for found, what, remedy in (
        (missing, "have no coarse prediction", WITH_VAL),
        (unknown, "have a coarse prediction of which nobody knows whether its model saw them", WITH_VAL),
        (seen, "were predicted by a coarse model that was trained on them", AGAIN),
        (other_splits, "were predicted by a fold that was trained before splits_final.json changed", AGAIN),
        (changed, "have a coarse prediction that is not the one that was recorded", WITH_VAL),
    ):
        if found:
            raise LeakError(
                f"{len(found)} cases {what}: {_some(found)}, in {folder}. Type, for every fold, "
                f"{command}{remedy}"
            )
    return records


WITH_VAL = "; for a training that is finished, with --val"
AGAIN = ", which trains it again; or put back the splits that it was trained with"


def _is_of_other_splits(record: CoarseRecord, training_cases: Mapping[int, Collection[str]]) -> bool:
    return set(training_cases.get(record.fold, ())) != set(record.training_cases)


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
