r"""Coronary arteries of a hospital: CT angiography with a label volume or an RTSTRUCT (paper 000).

    nnunet_ext convert coronary-cta FOLDER --dataset-id 515
    nnunet_ext convert coronary-cta FOLDER --dataset-id 515 --series '75 %' --structure A_LAD \
        --structure A_Cflx --structure 'Left main' --structure Ramus:may_be_absent --structure A_Coronary_R
    nnunet_ext convert coronary-cta FOLDER --dataset-id 515 --ct-file 'CT.nii.gz' --label-file 'artery.nii.gz'

The folder holds one folder for each patient, with the slices of one CT series in any depth and under any
names, and what was drawn on them: a label volume or an RTSTRUCT.

- A label volume (NIfTI, NRRD, MetaImage) on the grid of the series, such as 3D Slicer exports with the CT as
  reference. Its values are 0 and 1, or 0 and 255; where branches have values of their own, ``--value`` names
  each that is artery. Any other is refused (``label-value``).
- An RTSTRUCT. The structure is the whole tree, ``A_Coronary`` in TG-263 or what else it is called, with
  ``--aliases``. Where branches are structures of their own, ``--structure`` names each, and the label is all
  of them together; a patient without one of them is refused, unless it may be absent.

Where a patient has both, ``--label-file`` says that the volume is meant and ``--structure`` that the RTSTRUCT
is (``ambiguous-file``). DICOM SEG is not read (``dicom-seg``).

Of several CT series that one is taken which the RTSTRUCT names, or on whose grid the label lies. Phases of
one scan share a grid, and new patients have no label: what is not clear is refused (``mixed-series``), unless
``--series`` gives a word of the description of the series that is meant. New patients are read with the
dataset's word, unless another is given with them.

With ``--ct-file`` the CT is a volume too, patterns as for ``volumes``, and each folder is a patient.

Contrast medium makes vessels bright: where the median inside the label is not above 150 HU and the label
flipped along some axes finds far brighter voxels, the case is refused (``flipped-label``); where no flip
does, it is written with the note ``faint-vessel``.
"""

from __future__ import annotations

from dataclasses import replace

import SimpleITK
from nnunet_ext.dataset_conversion.command import ALIASES, main
from nnunet_ext.dataset_conversion.coronary_options import (
    CT_FILE,
    LABEL_FILE,
    STRUCTURE,
    VALUE,
    ct_files,
    label_files,
    numbers_of,
    only,
    patterns_of,
    structures_of,
)
from nnunet_ext.dataset_conversion.declaration import Color, Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.dicom_cases import (
    discover_folders,
    find_patient,
    paint,
    patient_key,
    read_image,
    structure_set_for,
)
from nnunet_ext.dataset_conversion.dicom_options import OVERLAPPING, PATIENTS, SERIES
from nnunet_ext.dataset_conversion.vessel_label import check_vessels
from nnunet_ext.dataset_conversion.volume_cases import renumbered

from nnunet_ext.clinical_io import CaseError, Note, Volume, read_volume
from nnunet_ext.clinical_io.dicom_folder import DicomFolder
from nnunet_ext.clinical_io.dicom_series import DicomVolume
from nnunet_ext.clinical_io.structure_set import StructureSet

LABEL = "coronary_artery"
_WHICH_STRUCTURES = f"say with {STRUCTURE.flag} which are the arteries, or with {ALIASES.flag} what they mean"


def configure(converter: Converter, options: Options) -> Converter:
    """The converter as it is, once every option makes sense.

    Raises:
        ValueError: one does not.
        OSError: the table of ``--aliases`` cannot be read.
    """
    structures_of(options)
    numbers_of(options, highest=1)
    patterns_of(options)
    return converter


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and coronary arteries of one patient; of a new one the CT alone."""
    found = _read_volumes(case, options) if options[CT_FILE.name] else _read_dicom(case, options)
    if found.label is None:
        return found
    return replace(found, notes=(*found.notes, *check_vessels(found.channels[0], found.label)))


def _read_volumes(case: SourceCase, options: Options) -> ReadCase:
    file = only(ct_files(case, options), CT_FILE)
    if file is None:
        raise CaseError(
            "missing-channel",
            reason=f"the pattern of {CT_FILE.flag} fits no file of the case",
            remedy="add the CT, correct the pattern, or leave the case out",
        )
    ct, label = read_volume(file), _label_volume(case, options) if case.is_training else None
    notes = tuple(Note(note.code, f"image: {note.text}") for note in ct.notes)
    if label is None:
        return ReadCase((ct.image,), None, notes=notes)
    return ReadCase((ct.image,), label.image, notes=(*notes, *label.notes))


def _read_dicom(case: SourceCase, options: Options) -> ReadCase:
    found = find_patient(case.folder)
    label: Volume | None = None
    structures: StructureSet | None = None
    if case.is_training:
        if _takes_contours(case, found, options):
            structures = structure_set_for(found)
        else:
            label = _label_volume(case, options)
    ct = read_image(
        found,
        "CT",
        structures=structures,
        label=None if label is None else label.image,
        word=options[SERIES.name],
    )
    colors: set[Color] = set()
    private = ""
    if structures is not None:
        label, colors, private = _painted(structures, ct, options)
    return ReadCase(
        channels=(ct.image,),
        label=None if label is None else label.image,
        patient=patient_key(ct, options),
        series=ct.headers.uid,
        notes=ct.notes if label is None else (*ct.notes, *label.notes),
        colors=dict.fromkeys((LABEL,), *colors) if len(colors) == 1 else {},
        private=private,
    )


def _takes_contours(case: SourceCase, found: DicomFolder, options: Options) -> bool:
    files, contours = label_files(case, options), bool(found.structure_sets)
    if files and contours:
        if bool(options[LABEL_FILE.name]) == bool(options[STRUCTURE.name]):
            raise CaseError(
                "ambiguous-file",
                reason="the case has a label volume and an RTSTRUCT",
                remedy=f"say which is meant, with {LABEL_FILE.flag} or with {STRUCTURE.flag}, or remove one",
            )
        return bool(options[STRUCTURE.name])
    if found.segmentations and not files and not contours:
        raise CaseError(
            "dicom-seg",
            reason="the label is a DICOM SEG, which is not read here",
            remedy="export it as NIfTI or NRRD on the grid of the CT (3D Slicer does), or as an RTSTRUCT",
        )
    return contours


def _label_volume(case: SourceCase, options: Options) -> Volume | None:
    file = only(label_files(case, options), LABEL_FILE)
    if file is None:
        return None
    found = read_volume(file)
    highest = float(SimpleITK.GetArrayViewFromImage(found.image).max())
    label = renumbered(
        found.image,
        numbers_of(options, highest=highest),
        remedy=f"export the arteries alone, as one segment, or say which values they are with {VALUE.flag}",
    )
    return Volume(label, tuple(Note(note.code, f"label: {note.text}") for note in found.notes))


def _painted(structures: StructureSet, ct: DicomVolume, options: Options) -> tuple[Volume, set[Color], str]:
    """The label, the colors of the branches, and the names that nobody knows."""
    wanted, aliases = structures_of(options)
    try:
        painted = paint(structures, ct, wanted, aliases, options)
    except CaseError as error:
        if error.code not in ("unknown-name", "ambiguous-name"):
            raise
        raise CaseError(
            error.code,
            reason=error.reason,
            remedy=f"{_WHICH_STRUCTURES}; the key file lists them",
            private=error.private,
        ) from error
    lost = [label.name for label in wanted if label.name in painted.undrawn and label.presence == "required"]
    if lost:
        raise CaseError(
            "empty-label",
            reason=f"the RTSTRUCT has no {', '.join(lost)}",
            remedy=_WHICH_STRUCTURES,
        )
    # Where branches meet they overlap, and it does not matter whose a voxel is.
    notes = tuple(note for note in painted.notes if note.code != "overlap")
    return Volume(painted.label > 0, notes), set(painted.colors.values()), painted.private


CONVERTER = Converter(
    name="coronary-cta",
    title="CoronaryCTA",
    summary="hospital CT angiography with a label volume or an RTSTRUCT, the coronary arteries (paper 000)",
    channels=("CT",),
    labels=(Label(LABEL),),
    discover=discover_folders,
    read=read,
    is_chiral=True,
    options=(SERIES, STRUCTURE, VALUE, LABEL_FILE, CT_FILE, OVERLAPPING, ALIASES, PATIENTS),
    configure=configure,
)

if __name__ == "__main__":
    main("coronary-cta")
