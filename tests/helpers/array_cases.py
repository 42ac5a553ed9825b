"""A converter of arrays on disk, in a module that spawned workers can import."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clinical_images import placed
from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase

LABELS = (Label("Brainstem"), Label("Chiasm", "may_be_undrawn"))
SIZE = (40, 60, 60)
SPACING = (2.0, 2.0, 2.0)


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    return [
        SourceCase(source=file.name, folder=source, files=(file,), public_name=file.stem)
        for file in sorted(source.glob("*.npy"))
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    numbers = np.load(case.files[0])
    shift = float(case.source.split("_")[1].removesuffix(".npy"))
    place = {"spacing": SPACING, "origin": (shift, -shift, 3 * shift)}
    return ReadCase(
        (placed(np.where(numbers > 0, 40, -1000).astype(np.int16), **place),), placed(numbers, **place)
    )


CONVERTER = Converter("test", "Test", "", ("CT",), LABELS, discover, read)
