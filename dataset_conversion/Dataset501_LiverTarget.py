"""Liver target of a hospital: DICOM CT with an RTSTRUCT (paper 004).

    nnunet_ext convert liver-target FOLDER --dataset-id 501

The folder holds one folder for each patient, with the slices of one CT series and one RTSTRUCT, in any
depth and under any names. Of several CT series that one is taken which the RTSTRUCT names. New patients have
no RTSTRUCT: ``--series`` gives a word of the description of the series that is meant.

The label is the gross tumor volume: GTV, GTVp and other common names, or what the hospital calls it, with
``--aliases``. Patients without a GTV are refused, since nobody can tell them from those under another name.
Patients with a GTV2 beside it are refused, too (``ambiguous-name``): nobody can tell whether it is a part.
"""

from __future__ import annotations

from nnunet_ext.dataset_conversion.command import ALIASES, aliases_of, main
from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.dicom_cases import (
    discover_folders,
    find_patient,
    paint,
    patient_key,
    read_image,
    structure_set_for,
)
from nnunet_ext.dataset_conversion.dicom_options import OVERLAPPING, PATIENTS, SERIES

LABELS = (Label("GTV"),)


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and GTV of one patient; of a new one the CT alone."""
    found = find_patient(case.folder)
    if not case.is_training:
        ct = read_image(found, "CT", word=options[SERIES.name])
        return ReadCase(
            channels=(ct.image,),
            label=None,
            patient=patient_key(ct, options),
            series=ct.headers.uid,
            notes=ct.notes,
        )
    structures = structure_set_for(found)
    ct = read_image(found, "CT", structures=structures, word=options[SERIES.name])
    painted = paint(structures, ct, LABELS, aliases_of(options), options)
    return ReadCase(
        channels=(ct.image,),
        label=painted.label,
        undrawn=painted.undrawn,
        patient=patient_key(ct, options),
        series=ct.headers.uid,
        notes=(*ct.notes, *painted.notes),
        colors=painted.colors,
        private=painted.private,
    )


CONVERTER = Converter(
    name="liver-target",
    title="LiverTarget",
    summary="hospital CT with an RTSTRUCT, the GTV of the liver (paper 004)",
    channels=("CT",),
    labels=LABELS,
    discover=discover_folders,
    read=read,
    options=(SERIES, OVERLAPPING, ALIASES, PATIENTS),
    reference="Zhang et al., Chinese Journal of Medical Physics 42(7), 2025",
)

if __name__ == "__main__":
    main("liver-target")
