"""Converts one case: read, check, write. Runs in a worker; what goes wrong stays with the case."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path

import SimpleITK
from nnunet_ext.dataset_conversion.checks import CheckedCase, checked
from nnunet_ext.dataset_conversion.declaration import Conversion, SourceCase

import nnunet_ext
from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.files import whole_file, write_text

FILE_ENDING = ".nii.gz"
# Below the dataset: one record for each finished case, and files that are being written.
RECORDS = ".conversion"


@dataclass(frozen=True)
class CaseResult:
    """What became of one case.

    Attributes:
        case: its name in the dataset.
        is_training: False for what goes to imagesTs.
        fingerprint: of everything that decides the output.
        files: checksums (SHA-256) of what was written, by the path below the dataset; empty where refused.
        voxels: number of voxels of each label.
        notes: what a person should know.
        error: code, reason and remedy where the case was refused.
        patient: what tells the patient from others; goes to the key file as a hash.
        private: what only the owner of the key file may read.
    """

    case: str
    is_training: bool
    fingerprint: str
    files: dict[str, str] = field(default_factory=dict)
    voxels: dict[str, int] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    error: tuple[str, str, str] | None = None
    patient: str = ""
    private: str = ""


def convert_case(conversion: Conversion, name: str, case: SourceCase, *, salt: str) -> CaseResult:
    """Convert one case, or say why not.

    Args:
        conversion: the run.
        name: of the case in the dataset.
        case: where it is.
        salt: of the dataset's hashes.

    Returns:
        The result; ``patient`` and ``private`` are not for the report.

    Raises:
        OSError: the dataset cannot be written, which no other case would survive either.
    """
    fingerprint = _fingerprint(conversion, case, salt)
    unwritten = CaseResult(name, case.is_training, fingerprint)
    try:
        read, ready = _read_and_check(conversion, case)
    except CaseError as error:
        return _refused(unwritten, error)
    except MemoryError:
        reason, remedy = "memory ran out", "convert with fewer workers (--workers)"
        return _refused(unwritten, CaseError("out-of-memory", reason=reason, remedy=remedy))
    except Exception as error:  # whatever a clinic's file makes a library do, it is this case's alone
        number = error.errno if isinstance(error, OSError) else None
        reason = f"it could not be read ({errno.errorcode.get(number or 0, type(error).__name__)})"
        private = "".join(traceback.format_exception(error))
        remedy = "the key file holds the details"
        return _refused(unwritten, CaseError("unreadable", reason=reason, remedy=remedy, private=private))
    files = _write(ready, conversion.dataset, name)
    result = CaseResult(
        case=name,
        is_training=case.is_training,
        fingerprint=fingerprint,
        files=files,
        voxels=ready.voxels,
        notes=tuple(sorted(ready.notes)),
        patient=read_patient(case, read),
    )
    _save_record(result, conversion.dataset)
    return result


def finished(conversion: Conversion, name: str, case: SourceCase, *, salt: str) -> CaseResult | None:
    """The result of an earlier run, where source, converter and written files are still the same."""
    record = _record(conversion.dataset, name)
    if not record.is_file():
        return None
    content = json.loads(record.read_text(encoding="utf-8"))
    if content["fingerprint"] != _fingerprint(conversion, case, salt):
        return None
    for file, checksum in content["files"].items():
        path = conversion.dataset / file
        if not path.is_file() or _checksum(path) != checksum:
            return None
    notes = tuple(Note(**note) for note in content["notes"])
    return CaseResult(
        case=name,
        is_training=case.is_training,
        fingerprint=content["fingerprint"],
        files=content["files"],
        voxels=content["voxels"],
        notes=notes,
    )


def remove_outputs(dataset: Path, name: str) -> None:
    """Take a case out of the dataset; its record first, lest something half-removed count as finished."""
    _record(dataset, name).unlink(missing_ok=True)
    for folder in ("imagesTr", "imagesTs", "labelsTr"):
        for file in (dataset / folder).glob(f"{name}*{FILE_ENDING}"):
            if case_of(file) == name or file.name == name + FILE_ENDING:
                file.unlink()


def case_of(image: Path) -> str:
    """The case that an image belongs to: its name without ``_0000.nii.gz``."""
    return image.name.removesuffix(FILE_ENDING).rpartition("_")[0]


def read_patient(case: SourceCase, read: object) -> str:
    """What groups cases: the dataset's own groups, else the patient, else the case for itself."""
    return case.group or getattr(read, "patient", "") or case.source


def _read_and_check(conversion: Conversion, case: SourceCase) -> tuple[object, CheckedCase]:
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()  # its warnings hold paths
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings hold values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = conversion.converter.read(case, conversion.options)
        if case.is_training and read.label is None:
            raise CaseError("empty-label", reason="the case has no label", remedy="add it, or leave it out")
        return read, checked(read, conversion.converter)


def _refused(result: CaseResult, error: CaseError) -> CaseResult:
    return CaseResult(
        result.case,
        result.is_training,
        result.fingerprint,
        error=(error.code, error.reason, error.remedy),
        private=error.private,
    )


def _write(case: CheckedCase, dataset: Path, name: str) -> dict[str, str]:
    """Label first, channel 0 last: nnU-Net lists a case by its images."""
    training = case.label is not None
    remove_outputs(dataset, name)
    outputs = [(f"labelsTr/{name}{FILE_ENDING}", case.label)] if case.label is not None else []
    for number, image in reversed(list(enumerate(case.channels))):
        folder = "imagesTr" if training else "imagesTs"
        outputs.append((f"{folder}/{name}_{number:04d}{FILE_ENDING}", image))
    checksums = {}
    for path, image in outputs:
        with whole_file(dataset / path, staging=dataset / RECORDS) as temporary:
            try:
                SimpleITK.WriteImage(image, str(temporary), useCompression=True)
            except RuntimeError as error:  # SimpleITK's only exception
                raise OSError(f"{dataset / path} cannot be written: is the disk full?") from error
            checksums[path] = _checksum(temporary)
    return dict(sorted(checksums.items()))


def _fingerprint(conversion: Conversion, case: SourceCase, salt: str) -> str:
    """Of the files' names, sizes and times, the converter and its options, and this program's version."""
    parts = [salt, nnunet_ext.__version__, conversion.converter.name]
    for option, value in sorted(conversion.options.items()):
        parts.append(f"{option}: {_checksum(value) if isinstance(value, Path) else value}")
    for file in sorted(case.files):
        state = file.stat()
        name = file.relative_to(conversion.source) if file.is_relative_to(conversion.source) else file
        parts.append(f"{name}:{state.st_size}:{state.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _record(dataset: Path, name: str) -> Path:
    return dataset / RECORDS / f"{name}.json"


def _save_record(result: CaseResult, dataset: Path) -> None:
    content = {
        "fingerprint": result.fingerprint,
        "files": result.files,
        "voxels": result.voxels,
        "notes": [asdict(note) for note in result.notes],
    }
    write_text(_record(dataset, result.case), json.dumps(content, indent=2) + "\n")
