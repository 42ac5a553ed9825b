"""Bones of the lower limb of a hospital: DICOM CT with one PNG mask a slice (paper 002).

    nnunet_ext convert lower-limb FOLDER --dataset-id 513

The folder holds one folder for each patient, with the slices of one CT series and one PNG for each slice, in
any depth. Where there are several CT series, ``--series`` gives a word of the description of the one that is
meant.

Quirks and what is done about them:

- Masks as Mimics writes them are 0 and 1, which look black: what is not 0 is bone. Bilevel, gray, palette
  and color PNGs are read; one with more than two gray values or colors is refused (``label-value``), and so
  is one of another size than its slice (``label-grid``).
- A PNG is matched to its slice by SOPInstanceUID, file name or InstanceNumber. Where names tell nothing and
  there are as many PNGs as slices, natural order decides, 2 before 10 (note ``png-order``).
- A slice without a PNG may be one without bone or one that nobody drew: the case is refused
  (``missing-png``), unless ``--missing-png empty`` says which.
- Programs count rows from above or from below. Masks that lie better on the bones when they are turned round
  are refused (``flipped-png``): look at one, then say how with ``--png-flip``. Where no way is clearly
  better, the case is refused, too (``ambiguous-flip``). They also count slices from either end, and from 0:
  masks that only a number in their names matches are refused in the same way where they lie far better in
  reverse order, or one slice higher or lower.
"""

from __future__ import annotations

import numpy as np
from nnunet_ext.dataset_conversion.checks import check_values
from nnunet_ext.dataset_conversion.command import main
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
    patient_key,
    read_image,
)
from nnunet_ext.dataset_conversion.dicom_options import PATIENTS, SERIES

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.clinical_io.png_masks import read_png_masks

LABELS = (Label("bone"),)
FLIP = Option(
    "--png-flip",
    {
        "choices": ("none", "vertical", "horizontal", "both"),
        "default": "none",
        "help": "how the PNGs are turned against the series (none)",
    },
    is_for_training=True,
)
MISSING = Option(
    "--missing-png",
    {
        "choices": ("refuse", "empty"),
        "default": "refuse",
        "help": "a slice without a PNG: nobody knows, or there is no bone (refuse)",
    },
    is_for_training=True,
)


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and bones of one patient; of a new one the CT alone."""
    ct = read_image(find_patient(case.folder), "CT", word=options[SERIES.name])
    label, notes = None, ct.notes
    if case.is_training:
        files = [file for file in case.files if file.suffix.lower() == ".png"]
        if not files:
            raise CaseError(
                "missing-png", reason="there is no PNG", remedy="add the masks to the case's folder"
            )
        check_values(ct.image, "CT")  # the way up of the masks is told by them
        mask = read_png_masks(
            files,
            ct,
            flip=options[FLIP.name],
            missing_is_empty=options[MISSING.name] == "empty",
        )
        label = image_of(mask.voxels.astype(np.uint8), ct.image)
        notes = (*notes, *mask.notes)
    return ReadCase(
        channels=(ct.image,),
        label=label,
        patient=patient_key(ct, options),
        series=ct.headers.uid,
        notes=notes,
    )


CONVERTER = Converter(
    name="lower-limb",
    title="LowerLimb",
    summary="hospital CT with one PNG mask a slice, the bones of the lower limb (paper 002)",
    channels=("CT",),
    labels=LABELS,
    discover=discover_folders,
    read=read,
    is_chiral=False,
    options=(SERIES, FLIP, MISSING, PATIENTS),
)

if __name__ == "__main__":
    main("lower-limb")
