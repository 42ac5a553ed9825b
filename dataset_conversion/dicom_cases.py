"""Cases as hospitals export them: a folder for each patient with DICOM series and an RTSTRUCT."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Color, Label, Options, SourceCase
from nnunet_ext.dataset_conversion.dicom_options import OVERLAPPING, PATIENTS, SERIES
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.dicom_folder import DicomFolder, find_dicom
from nnunet_ext.clinical_io.dicom_series import DicomVolume, read_series
from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.clinical_io.rasterize import Mask, rasterize
from nnunet_ext.clinical_io.series_choice import (
    LEAVE_ONE,
    choose_series,
    choose_series_below,
    described_so,
)
from nnunet_ext.clinical_io.structure_names import Aliases, by_canonical_name, normalized
from nnunet_ext.clinical_io.structure_set import (
    Structure,
    StructureSet,
    read_structure_set,
    require_frame_of_reference,
)

logger = logging.getLogger(__name__)

_WHICH_SERIES = f"{LEAVE_ONE}, or say which with {SERIES.flag}"
_NOT_READ = "structures have names that nobody knows and were not read; the key file lists them"
_CALLED = f"add the series that is meant, or say what it is called with {SERIES.flag}"


@dataclass(frozen=True)
class Painted:
    """What was drawn in a case, in voxels.

    Attributes:
        label: numbers of the labels.
        undrawn: labels that were not drawn.
        colors: of those that were and have one.
        notes: what was put right.
        private: names that nobody knows, for the key file.
    """

    label: SimpleITK.Image
    undrawn: frozenset[str]
    colors: Mapping[str, Color]
    notes: tuple[Note, ...]
    private: str


def discover_folders(source: Path, options: Options) -> tuple[SourceCase, ...]:
    """Every folder directly below the source, with files to any depth, is one case.

    One without any is a case that did not arrive, unless none has a file. Files beside the folders belong to
    nobody: they are counted in the log.

    Raises:
        ValueError: there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "a" / "b").mkdir(parents=True)
        ...     _ = (Path(folder) / "a" / "b" / "1.dcm").write_bytes(b"")
        ...     [case.source for case in discover_folders(Path(folder), {})]
        ['a']
    """
    if not source.is_dir():
        raise ValueError(f"expected a folder with a folder for each case, got {source}")
    visible = [p for p in sorted(source.iterdir()) if not p.name.startswith(".") and p.name != "__MACOSX"]
    cases = []
    for folder in (p for p in visible if p.is_dir()):
        files = tuple(sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")))
        cases.append(SourceCase(source=folder.name, folder=folder, files=files))
    if loose := sum(p.is_file() for p in visible):
        logger.warning("%d files lie beside the cases' folders and in none of them: not read", loose)
    return tuple(cases) if any(case.files for case in cases) else ()


def find_patient(folder: Path) -> DicomFolder:
    """What lies in a case's folder.

    Raises:
        CaseError: ``mixed-patients``, or as :func:`~nnunet_ext.clinical_io.dicom_folder.find_dicom`.
    """
    found = find_dicom(folder)
    if len(found.patients) > 1:
        raise CaseError(
            "mixed-patients",
            reason=f"the folder holds images of {len(found.patients)} patients",
            remedy="give each patient a folder",
        )
    return found


def patient_key(volume: DicomVolume, options: Options) -> str:
    """What tells this patient from others; "" where each folder is a patient."""
    return "" if options[PATIENTS.name] == "folder" else volume.headers.patient.key


def structure_set_for(found: DicomFolder) -> StructureSet:
    """The one RTSTRUCT of a case.

    Raises:
        CaseError: ``missing-structures``, ``several-structure-sets``, ``mixed-patients`` or ``unreadable``.
    """
    if len(found.structure_sets) != 1:
        code, remedy = "missing-structures", "add it to the case's folder"
        if found.structure_sets:
            code, remedy = "several-structure-sets", "leave the one that is meant"
        raise CaseError(code, reason=f"expected one RTSTRUCT, got {len(found.structure_sets)}", remedy=remedy)
    content = read_structure_set(found.structure_sets[0])
    if len((found.patients | {content.patient.key}) - {""}) > 1:
        raise CaseError(
            "mixed-patients",
            reason="the RTSTRUCT is of another patient than the images",
            remedy="give the RTSTRUCT that belongs to these images",
        )
    return content


def read_image(
    found: DicomFolder,
    modality: str,
    *,
    structures: StructureSet | None = None,
    label: SimpleITK.Image | None = None,
    word: str | None = None,
) -> DicomVolume:
    """The volume of a modality; where there are several series, that on which the label was drawn.

    Args:
        found: what lies in the case's folder.
        modality: which series to take.
        structures: what was drawn, as contours.
        label: what was drawn, as a volume.
        word: in the description of the series that is meant; None for any.

    Raises:
        CaseError: as :mod:`~nnunet_ext.clinical_io.series_choice` and
            :func:`~nnunet_ext.clinical_io.dicom_series.read_series`.
    """
    candidates = described_so(found.series, modality=modality, word=word or "", remedy=_CALLED)
    if label is not None:
        series, notes = choose_series_below(label, candidates, modality=modality, remedy=_WHICH_SERIES)
    else:
        referenced = next(iter(structures.series)) if structures and len(structures.series) == 1 else ""
        series, notes = choose_series(
            candidates, modality=modality, referenced=referenced, remedy=_WHICH_SERIES
        )
    volume = read_series(series)
    return DicomVolume(volume.image, (*notes, *volume.notes), volume.slices, volume.headers)


def paint(
    content: StructureSet, volume: DicomVolume, labels: Sequence[Label], aliases: Aliases, options: Options
) -> Painted:
    """The label image of a case: each structure in the number of its label, later ones over earlier ones.

    Args:
        content: what was drawn.
        volume: the series that it was drawn on.
        labels: which structures are wanted.
        aliases: under which names.
        options: with ``--overlapping-contours``.

    Raises:
        CaseError: ``unknown-name`` (a label was not found and there are names that nobody knows),
            ``ambiguous-name`` (a label twice, or beside others of its name with a number), ``empty-roi``, and
            as ``rasterize`` and ``require_frame_of_reference``.
    """
    wanted, undrawn, unknown = _wanted(content, labels, aliases)
    notes = [] if not unknown else [Note("unknown-name", f"{len(unknown)} {_NOT_READ}")]
    notes += [
        *require_frame_of_reference(
            content,
            [structure for _, structure in wanted],
            frame=volume.headers.frame_of_reference,
            instances=volume.instances,
        )
    ]
    numbers: NDArray[np.uint8] = np.zeros(volume.image.GetSize()[::-1], np.uint8)
    shared = 0
    for number, structure in wanted:
        mask = _rasterized(structure, volume, labels[number - 1].name, options)
        notes += mask.notes
        for z in np.flatnonzero(mask.voxels.any(axis=(1, 2))):
            inside = mask.voxels[z]
            shared += int(np.count_nonzero(numbers[z][inside]))
            numbers[z][inside] = number
    if shared:
        notes.append(
            Note("overlap", f"{shared} voxels lie in two structures; the later in the list has them")
        )
    colors = {labels[number - 1].name: structure.color for number, structure in wanted if structure.color}
    return Painted(image_of(numbers, volume.image), undrawn, colors, tuple(notes), "\n".join(unknown))


def _rasterized(structure: Structure, volume: DicomVolume, name: str, options: Options) -> Mask:
    """The voxels of a structure; what is said of them names its label, as the structure may name somebody."""
    try:
        mask = rasterize(structure.contours, volume.image, crossing=options[OVERLAPPING.name])
    except CaseError as error:
        raise CaseError(error.code, reason=f"{name}: {error.reason}", remedy=error.remedy) from error
    return Mask(mask.voxels, tuple(Note(n.code, f"{name}: {n.text}") for n in mask.notes))


def _wanted(
    content: StructureSet, labels: Sequence[Label], aliases: Aliases
) -> tuple[list[tuple[int, Structure]], frozenset[str], tuple[str, ...]]:
    known, unknown = by_canonical_name([(s.name, s) for s in content.structures], aliases)
    found, undrawn = [], set()
    for number, label in enumerate(labels, start=1):
        named = known.get(label.name, [])
        if len(named) > 1:
            raise CaseError(
                "ambiguous-name",
                reason=f"{len(named)} structures are called {label.name} or an alias of it",
                remedy="rename or remove all but one",
                private="\n".join(s.name for s in named),
            )
        if named and (numbered := _numbered(label.name, unknown)):
            raise CaseError(
                "ambiguous-name",
                reason=f"beside {label.name} there are {len(numbered)} structures of this name with a "
                "number: nobody knows whether they are parts of it",
                remedy='unite them in the planning system, or say that they are others: {"NAME": []} in '
                "the file of --aliases; the key file lists them",
                private="\n".join(numbered),
            )
        if not named and unknown and label.presence != "may_be_undrawn":
            raise CaseError(
                "unknown-name",
                reason=f"no structure is known as {label.name}, and {len(unknown)} have unknown names",
                remedy="say what they mean with --aliases; the key file lists them",
                private="\n".join(unknown),
            )
        if named and named[0].is_empty and label.presence == "required":
            raise CaseError(
                "empty-roi",
                reason=f"{label.name} is in the list of structures and was never drawn",
                remedy="draw it, or leave the case out",
            )
        if not named or named[0].is_empty:
            undrawn.add(label.name)
        else:
            found.append((number, named[0]))
    return found, frozenset(undrawn), unknown


def _numbered(label: str, unknown: Sequence[str]) -> tuple[str, ...]:
    """Unknown names that are a label's with a number: GTV2 beside GTV, which would become background."""
    pattern = re.compile(rf"{re.escape(normalized(label))}p?\d+")
    return tuple(name for name in unknown if pattern.fullmatch(normalized(name)))
