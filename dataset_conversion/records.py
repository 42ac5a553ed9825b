"""What became of each case, kept beside the dataset, so that a conversion goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_ext.dataset_conversion.declaration import Color, Conversion, SourceCase
from nnunet_ext.dataset_conversion.undrawn import Box, Boxes

import nnunet_ext
from nnunet_ext.clinical_io import Note
from nnunet_ext.files import checksum, write_text
from nnunet_ext.preparation import preparation_to_json

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
        colors: of labels, where the source has some.
        preparation: what each step of the preparation found.
        undrawn: labels that were not drawn; such a case is written once all others were looked at.
        boxes: where labels lie that other cases may lack.
        boxes_used: the boxes of all cases with which this one was written.
        error: code, reason and remedy where the case was refused.
        patient: what tells the patient from others; goes to the key file as a hash.
        series: what tells the first channel's series from others; goes to the key file as a hash.
        private: what only the owner of the key file may read.
    """

    case: str
    is_training: bool
    fingerprint: str
    files: dict[str, str] = field(default_factory=dict)
    voxels: dict[str, int] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    colors: dict[str, Color] = field(default_factory=dict)
    preparation: list[dict[str, Any]] = field(default_factory=list)
    undrawn: tuple[str, ...] = ()
    boxes: Boxes = field(default_factory=dict)
    boxes_used: Boxes | None = None
    error: tuple[str, str, str] | None = None
    patient: str = ""
    series: str = ""
    private: str = ""

    @property
    def is_waiting(self) -> bool:
        """True for a good case that cannot be written before all others were looked at."""
        return self.error is None and not self.files


def finished(conversion: Conversion, name: str, case: SourceCase, *, salt: str) -> CaseResult | None:
    """The result of an earlier run, where source, converter and written files are still the same."""
    file = _record(conversion.dataset, name)
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    # First of all: another version of this program may have written other fields.
    if content["fingerprint"] != fingerprint(conversion, case, salt=salt):
        return None
    result = _from_json(content, name, case)
    if result.undrawn and conversion.boxes is not None and result.boxes_used != conversion.boxes:
        return None
    for path, expected in result.files.items():
        written = conversion.dataset / path
        if not written.is_file() or checksum(written) != expected:
            return None
    return result


def save(result: CaseResult, dataset: Path) -> None:
    """Keep the result of a case that was written; nothing of its patient is in it."""
    content = {
        "fingerprint": result.fingerprint,
        "files": result.files,
        "voxels": result.voxels,
        "notes": [asdict(note) for note in result.notes],
        "colors": result.colors,
        "preparation": result.preparation,
        "undrawn": result.undrawn,
        "boxes": _boxes_to_json(result.boxes),
        "boxes_used": None if result.boxes_used is None else _boxes_to_json(result.boxes_used),
    }
    write_text(_record(dataset, result.case), json.dumps(content, indent=2) + "\n")


def remove_outputs(dataset: Path, name: str) -> None:
    """Take a case out of the dataset; its record first, lest something half-removed count as finished."""
    _record(dataset, name).unlink(missing_ok=True)
    for folder in ("imagesTr", "imagesTs", "labelsTr"):
        for file in (dataset / folder).glob(f"{name}*{FILE_ENDING}"):
            if case_of(file) == name or file.name == name + FILE_ENDING:
                file.unlink()


def case_of(image: Path) -> str:
    """The case that an image belongs to: its name without ``_0000.nii.gz``.

    Example:
        >>> case_of(Path("imagesTr/LiverTarget_001_0000.nii.gz"))
        'LiverTarget_001'
    """
    return image.name.removesuffix(FILE_ENDING).rpartition("_")[0]


def fingerprint(conversion: Conversion, case: SourceCase, *, salt: str) -> str:
    """Of the files' names, sizes and times, the converter and its options, and this program's version."""
    parts = [salt, nnunet_ext.__version__, conversion.converter.name]
    for option, value in sorted(conversion.options.items()):
        parts.append(f"{option}: {checksum(value) if isinstance(value, Path) else value}")
    if conversion.preparation is not None:
        parts.append(preparation_to_json(conversion.preparation))
    for file in sorted(case.files):
        state = file.stat()
        name = file.relative_to(conversion.source) if file.is_relative_to(conversion.source) else file
        parts.append(f"{name}:{state.st_size}:{state.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _record(dataset: Path, name: str) -> Path:
    return dataset / RECORDS / f"{name}.json"


def _from_json(content: dict[str, Any], name: str, case: SourceCase) -> CaseResult:
    used = content["boxes_used"]
    return CaseResult(
        case=name,
        is_training=case.is_training,
        fingerprint=content["fingerprint"],
        files=content["files"],
        voxels=content["voxels"],
        notes=tuple(Note(**note) for note in content["notes"]),
        colors={name: (red, green, blue) for name, (red, green, blue) in content.get("colors", {}).items()},
        preparation=content["preparation"],
        undrawn=tuple(content["undrawn"]),
        boxes=_boxes(content["boxes"]),
        boxes_used=None if used is None else _boxes(used),
    )


def _boxes_to_json(boxes: Boxes) -> dict[str, Any]:
    return {name: {anchor: asdict(box) for anchor, box in each.items()} for name, each in boxes.items()}


def _boxes(content: dict[str, Any]) -> Boxes:
    return {
        name: {anchor: Box(tuple(box["low_mm"]), tuple(box["high_mm"])) for anchor, box in each.items()}
        for name, each in content.items()
    }
