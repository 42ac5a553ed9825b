"""Organs at risk of the optic pathway of a hospital: DICOM CT, T1w and T2w with an RTSTRUCT (paper 003).

    nnunet_ext convert brain-oar FOLDER --dataset-id 514

The folder holds one folder for each patient, with a CT series, a T1w and a T2w MR series and one RTSTRUCT on
the CT, in any depth. Which MR is which is told by its SeriesDescription, which must hold the word that
``--t1`` or ``--t2`` gives (``T1``, ``T2``); one that holds both words is neither. A case without one of the
two is refused (``missing-channel``), and so is one with two of a kind (``mixed-series``).

Of several CT series that one is taken which the RTSTRUCT names. New patients have no RTSTRUCT: ``--series``
gives a word of the description of the series that is meant.

Couch and mask leave the CT, N4 evens out the MR, and both MR are brought onto the CT by a rigid registration,
which the report judges by mutual information; ``--preparation`` takes other steps. (The paper registers
elastically. A spline may move the very organs that were drawn on the CT.)

The structures are the seven organs of paper 003. Both eyes are required. Another organ that a patient's
RTSTRUCT lacks was not drawn; where it also holds names that nobody knows, the case has the note
``unknown-name``: look whether one of them is that organ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import SimpleITK
from nnunet_ext.dataset_conversion.command import ALIASES, aliases_of, main
from nnunet_ext.dataset_conversion.declaration import (
    Converter,
    Label,
    Option,
    Options,
    ReadCase,
    SourceCase,
)
from nnunet_ext.dataset_conversion.dicom_cases import (
    discover_folders,
    find_patient,
    paint,
    patient_key,
    read_image,
    structure_set_for,
)
from nnunet_ext.dataset_conversion.dicom_options import OVERLAPPING, PATIENTS, SERIES

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.dicom_folder import DicomFolder, SeriesHeaders
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.preparation import CorrectBiasField, Preparation, Register, RemoveCouch

CHANNELS = ("CT", "T1w", "T2w")
# The eyes are drawn in every patient and are what the others are measured from. Lenses and nerves lie in and
# behind them: later structures are painted over earlier ones.
LABELS = (
    Label("Eye_L"),
    Label("Eye_R"),
    Label("Lens_L", "may_be_undrawn"),
    Label("Lens_R", "may_be_undrawn"),
    Label("OpticNrv_L", "may_be_undrawn"),
    Label("OpticNrv_R", "may_be_undrawn"),
    Label("OpticChiasm", "may_be_undrawn"),
)
PAIRS = (("Eye_L", "Eye_R"), ("Lens_L", "Lens_R"), ("OpticNrv_L", "OpticNrv_R"))
T1, T2 = (
    Option(
        f"--{word.lower()}",
        {"default": word, "metavar": "WORD", "help": f"in the description of {word}w series ({word})"},
        may_differ=True,
    )
    for word in ("T1", "T2")
)
# Where the scanners' frames already agree better than anything else, they stay.
PREPARATION = Preparation(
    channels=CHANNELS,
    label_channel="CT",
    steps=(
        RemoveCouch(channel="CT"),
        CorrectBiasField(channel="T1w"),
        CorrectBiasField(channel="T2w"),
        Register(moving="T1w", fixed="CT", keep_frames=True),
        Register(moving="T2w", fixed="CT", keep_frames=True),
    ),
)


def read(case: SourceCase, options: Options) -> ReadCase:
    """Three channels and seven organs of one patient; of a new one the channels alone."""
    found = find_patient(case.folder)
    structures = structure_set_for(found) if case.is_training else None
    ct = read_image(found, "CT", structures=structures, word=options[SERIES.name])
    words = (str(options[T1.name]), str(options[T2.name]))
    mr, notes = _read_mr(found, words)
    unlabeled = ReadCase(
        channels=(ct.image, *mr),
        label=None,
        patient=patient_key(ct, options),
        series=ct.headers.uid,
        notes=(*ct.notes, *notes),
    )
    if structures is None:
        return unlabeled
    painted = paint(structures, ct, LABELS, aliases_of(options), options)
    return replace(
        unlabeled,
        label=painted.label,
        undrawn=painted.undrawn,
        colors=painted.colors,
        private=painted.private,
        notes=(*unlabeled.notes, *painted.notes),
    )


def _read_mr(
    found: DicomFolder, words: Sequence[str]
) -> tuple[tuple[SimpleITK.Image, ...], tuple[Note, ...]]:
    images: list[SimpleITK.Image] = []
    notes: tuple[Note, ...] = ()
    for word, other in (words, words[::-1]):
        series = [s for s in found.series if s.modality == "MR" and _is(s, word) and not _is(s, other)]
        if len(series) != 1:
            raise CaseError(
                "missing-channel" if not series else "mixed-series",
                reason=f"expected one MR series with {word} in its description, got {len(series)}",
                remedy="leave one of each kind, or say what they are called with --t1 and --t2",
            )
        volume = read_series(series[0])
        images.append(volume.image)
        notes = (*notes, *volume.notes)
    return tuple(images), notes


def _is(series: SeriesHeaders, word: str) -> bool:
    return word.casefold() in series.description.casefold()


CONVERTER = Converter(
    name="brain-oar",
    title="BrainOAR",
    summary="hospital CT, T1w and T2w with an RTSTRUCT, organs of the optic pathway (paper 003)",
    channels=CHANNELS,
    labels=LABELS,
    discover=discover_folders,
    read=read,
    pairs=PAIRS,
    options=(SERIES, T1, T2, OVERLAPPING, ALIASES, PATIENTS),
    preparation=PREPARATION,
)

if __name__ == "__main__":
    main("brain-oar")
