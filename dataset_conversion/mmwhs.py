"""MM-WHS 2017, CT and MR: what both converters share (SPEC D1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import Label, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.volume_cases import by_name, files_below, read_pair, with_numbers

from nnunet_ext.clinical_io import Note

LABELS = tuple(Label(name) for name in ("Myo", "LA", "LV", "RA", "RV", "AA", "PA"))
# SPEC D1. All but the first are beyond 8 bits.
VALUES = {205: 1, 420: 2, 500: 3, 550: 4, 600: 5, 820: 6, 850: 7}
# In mr_train_1010 some voxels of the left atrium have 421 (SPEC D1, quirk a).
STRAY = 421
REFERENCE = "Zhuang et al., Medical Image Analysis 58, 2019; https://zmiclab.github.io/zxh/0/mmwhs/"


def discover(source: Path, *, modality: Literal["ct", "mr"]) -> Sequence[SourceCase]:
    """Cases of one modality in any depth; those of the test set have no label.

    Raises:
        ValueError: there is no such folder.
    """
    found = by_name(files_below(source), rf"({modality}_(?:train|test)_\d+)_(?:image|label)\.nii(?:\.gz)?")
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


def read(case: SourceCase, *, channel: str) -> ReadCase:
    """Image and label of one case; what lies beside an image of the test set is no label."""
    found = read_pair(case, image="*_image.nii*", label="*_label.nii*", channel=channel)
    if channel != "MR" or found.label is None:
        return with_numbers(found, VALUES)
    stray = int(np.count_nonzero(SimpleITK.GetArrayViewFromImage(found.label) == STRAY))
    if stray:
        note = Note("stray-421", f"{stray} voxels of the value {STRAY} were taken as LA (420)")
        found = replace(found, notes=(*found.notes, note))
    return with_numbers(found, VALUES | {STRAY: VALUES[420]})
