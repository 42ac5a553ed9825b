"""MM-WHS 2017, CT and MR: what both converters share (SPEC D1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.volume_cases import by_name, files_below, read_pair, with_numbers

from nnunet_ext.clinical_io import Note

LABELS = tuple(Label(name) for name in ("Myo", "LA", "LV", "RA", "RV", "AA", "PA"))
# SPEC D1. All but the first are beyond 8 bits.
VALUES = {205: 1, 420: 2, 500: 3, 550: 4, 600: 5, 820: 6, 850: 7}
# In mr_train_1010 some voxels of the left atrium have 421 (SPEC D1, quirk a).
STRAY = 421
REFERENCE = "Zhuang et al., Medical Image Analysis 58, 2019; https://zmiclab.github.io/zxh/0/mmwhs/"


Modality = Literal["CT", "MR"]


def converter(modality: Modality) -> Converter:
    """The converter of one modality."""
    return Converter(
        name=f"mmwhs-{modality.lower()}",
        title=f"MMWHS_{modality}",
        summary=f"MM-WHS 2017, {modality}: seven structures of the heart (paper 001)",
        channels=(modality,),
        labels=LABELS,
        discover=partial(discover, modality=modality),
        read=partial(read, modality=modality),
        is_chiral=True,
        reference=REFERENCE,
    )


def discover(source: Path, options: Options, *, modality: Modality) -> Sequence[SourceCase]:
    """Cases of one modality in any depth; those of the test set have no label.

    Raises:
        ValueError: there is no such folder.
    """
    pattern = rf"({modality.lower()}_(?:train|test)_\d+)_(?:image|label)\.nii(?:\.gz)?"
    found = by_name(files_below(source), pattern)
    return [
        SourceCase(
            source=name,
            folder=files[0].parent,
            files=files,
            public_name=name,
            is_training="_train_" in name,
        )
        for name, files in found.items()
    ]


def read(case: SourceCase, options: Options, *, modality: Modality) -> ReadCase:
    """Image and label of one case; what lies beside an image of the test set is no label."""
    found = read_pair(case, image="*_image.nii*", label="*_label.nii*", channel=modality)
    if modality != "MR" or found.label is None:
        return with_numbers(found, VALUES)
    stray = int(np.count_nonzero(SimpleITK.GetArrayViewFromImage(found.label) == STRAY))
    if stray:
        note = Note("stray-421", f"{stray} voxels of the value {STRAY} were taken as LA (420)")
        found = replace(found, notes=(*found.notes, note))
    return with_numbers(found, VALUES | {STRAY: VALUES[420]})
