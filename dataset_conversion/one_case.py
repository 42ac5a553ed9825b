"""Converts one case: read, check, write. Runs in a worker; what goes wrong stays with the case."""

from __future__ import annotations

import errno
import logging
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import SimpleITK
from nnunet_ext.dataset_conversion.checks import (
    CheckedCase,
    check_as_scanned,
    check_values,
    checked,
    voxel_counts,
)
from nnunet_ext.dataset_conversion.declaration import Conversion, Converter, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.label_place import require_label_in_place
from nnunet_ext.dataset_conversion.records import (
    FILE_ENDING,
    RECORDS,
    CaseResult,
    fingerprint,
    remove_outputs,
    save,
)
from nnunet_ext.dataset_conversion.undrawn import boxes_of, ignored

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.grids import in_one_orientation
from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.files import checksum


def convert_case(conversion: Conversion, name: str, case: SourceCase, *, salt: str) -> CaseResult:
    """Convert one case, or say why not.

    A case in which something was not drawn is only looked at, until the run knows where that may be.

    Args:
        conversion: the run.
        name: of the case in the dataset.
        case: where it is.
        salt: of the dataset's hashes.

    Returns:
        The result; ``patient``, ``series`` and ``private`` are not for the report.

    Raises:
        OSError: the dataset cannot be written, which no other case would survive either.
    """
    result = CaseResult(name, case.is_training, fingerprint(conversion, case, salt=salt))
    try:
        read, steps, ready = _read_and_check(conversion, case)
        result = _described(result, case, read, ready, conversion.converter)
        result = replace(result, preparation=steps)
        if ready.undrawn and conversion.boxes is None:
            return result
        if ready.undrawn and ready.label is not None and conversion.boxes is not None:
            label, notes = ignored(ready.label, ready.undrawn, conversion.converter, boxes=conversion.boxes)
            ready = replace(ready, label=label)
            result = replace(
                result,
                boxes_used=dict(conversion.boxes),
                notes=tuple(sorted((*result.notes, *notes))),
            )
    except CaseError as error:
        return _refused(result, error)
    except MemoryError:
        reason, remedy = "memory ran out", "convert with fewer workers (--workers)"
        return _refused(result, CaseError("out-of-memory", reason=reason, remedy=remedy))
    except Exception as error:  # whatever a clinic's file makes a library do, it is this case's alone
        number = error.errno if isinstance(error, OSError) else None
        reason = f"it could not be read ({errno.errorcode.get(number or 0, type(error).__name__)})"
        private = "".join(traceback.format_exception(error))
        remedy = "the key file holds the details"
        return _refused(result, CaseError("unreadable", reason=reason, remedy=remedy, private=private))
    voxels = {} if ready.label is None else _count(ready.label, conversion.converter)
    result = replace(result, voxels=voxels, files=_write(ready, conversion.dataset, name))
    save(result, conversion.dataset)
    return result


def _read_and_check(
    conversion: Conversion, case: SourceCase
) -> tuple[ReadCase, list[dict[str, Any]], CheckedCase]:
    SimpleITK.ProcessObject.GlobalWarningDisplayOff()  # its warnings hold paths
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings hold values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = conversion.converter.read(case, conversion.options)
        if case.is_training and read.label is None:
            raise CaseError("empty-label", reason="the case has no label", remedy="add it, or leave it out")
        if not conversion.converter.may_be_processed:
            for name, image in zip(conversion.converter.channels, read.channels, strict=False):
                check_as_scanned(image, name)  # a step may well window it
        prepared, steps = _prepared(read, conversion)
        ready = checked(prepared, conversion.converter, accept_misplaced=conversion.accept_misplaced)
        return read, steps, ready


def _prepared(read: ReadCase, conversion: Conversion) -> tuple[ReadCase, list[dict[str, Any]]]:
    names = conversion.converter.channels
    if conversion.preparation is None or len(read.channels) != len(names):
        return read, []
    # Label and image may have been read in different orientations of one grid.
    images = [in_one_orientation(image) for image in read.channels]
    for name, image in zip(names, images, strict=True):
        check_values(image, name)  # before a step stumbles over them and gives another reason
    label = None if read.label is None else in_one_orientation(read.label)
    done = conversion.preparation.run(dict(zip(names, images, strict=True)), label)
    notes = read.notes
    if label is not None:
        # As it came, on a grid that run() has checked: once resampled, no flip need be one any more.
        image = images[names.index(conversion.preparation.label_channel)]
        notes += require_label_in_place(label, [image], accept=conversion.accept_misplaced)
    channels = tuple(done.case.channels[name] for name in names)
    return replace(read, channels=channels, label=done.case.label, notes=notes), done.report["steps"]


def _described(
    result: CaseResult, case: SourceCase, read: ReadCase, ready: CheckedCase, converter: Converter
) -> CaseResult:
    return replace(
        result,
        notes=tuple(sorted(ready.notes)),
        undrawn=ready.undrawn,
        boxes={} if ready.label is None else boxes_of(ready.label, converter),
        # What groups cases: the dataset's own groups, else the patient, else each case for itself.
        patient=case.group or read.patient or case.source,
        series=read.series,
        colors=dict(read.colors),
        private=read.private,
    )


def _refused(result: CaseResult, error: CaseError) -> CaseResult:
    return CaseResult(
        result.case,
        result.is_training,
        result.fingerprint,
        error=(error.code, error.reason, error.remedy),
        private=error.private,
    )


def _count(label: SimpleITK.Image, converter: Converter) -> dict[str, int]:
    counts = voxel_counts(SimpleITK.GetArrayViewFromImage(label))
    return {name: int(counts[n]) for name, n in converter.numbers().items() if n and counts[n]}


def _write(case: CheckedCase, dataset: Path, name: str) -> dict[str, str]:
    """Label first, channel 0 last: nnU-Net lists a case by its images."""
    remove_outputs(dataset, name)
    outputs = [] if case.label is None else [(f"labelsTr/{name}{FILE_ENDING}", case.label)]
    folder = "imagesTs" if case.label is None else "imagesTr"
    for number, image in reversed(list(enumerate(case.channels))):
        outputs.append((f"{folder}/{name}_{number:04d}{FILE_ENDING}", image))
    checksums = {}
    for path, image in outputs:
        write_image(image, dataset / path, staging=dataset / RECORDS)
        checksums[path] = checksum(dataset / path)
    return dict(sorted(checksums.items()))
