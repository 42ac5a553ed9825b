"""Coronary arteries in CT angiography: ASOCA, 40 patients with labels and 20 without (paper 000).

    nnunet_ext convert asoca FOLDER --dataset-id 503

Where to get it: on request, see https://www.nature.com/articles/s41597-023-02016-2. License: as agreed on
there.

Layout, in any depth: ``Normal/CTCA/Normal_1.nrrd`` to 20 with ``Normal/Annotations/Normal_1.nrrd``, the same
for ``Diseased``; without labels ``Normal/Testset_Normal/0.nrrd`` to 9 and
``Diseased/Testset_Diseased/10.nrrd`` to 19, which go to imagesTs. Cases are called ``ASOCA_Normal_01``,
``ASOCA_Diseased_01``, ``ASOCA_Test_00``.

Quirks and what is done about them:

- Padding goes down to -3000 HU: what is below -1024 becomes -1024, with the note ``clipped-hu``.
- SimpleITK finds the identity as direction in every file. A label that lies on bright vessels only once it is
  flipped is refused (``flipped-label``), as for ImageCAS; one that is not on bright vessels either way is
  written with the note ``faint-vessel``.
- Center lines and graphs lie in another frame: they are not read.
- Some versions of SimpleITK do not open the files: such a case is refused (``truncated-file``). Write it anew
  with another version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.checks import LOWEST_HU
from nnunet_ext.dataset_conversion.command import main
from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.vessel_label import check_vessels
from nnunet_ext.dataset_conversion.volume_cases import file_of, files_below, read_pair, with_numbers

from nnunet_ext.clinical_io import Note

_TRAINING = re.compile(r"(CTCA|Annotations)/(Normal|Diseased)_(\d+)\.nrrd")
_TEST = re.compile(r"Testset_(Normal|Diseased)/(\d+)\.nrrd")
# Below it lies padding beyond the scanner's circle (SPEC D3), or what the checks refuse.
AIR_HU = -1024


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Training and test cases.

    Raises:
        ValueError: there is no such folder.
    """
    training: dict[str, list[Path]] = {}
    test: dict[str, list[Path]] = {}
    for file in files_below(source):
        place = f"{file.parent.name}/{file.name}"
        if match := _TRAINING.fullmatch(place):
            training.setdefault(f"{match[2]}_{int(match[3]):02d}", []).append(file)
        elif match := _TEST.fullmatch(place):
            test.setdefault(f"Test_{int(match[2]):02d}", []).append(file)
    return [
        SourceCase(
            source=name,
            folder=files[0].parent,
            files=tuple(files),
            public_name=f"ASOCA_{name}",
            is_training=name in training,
        )
        for name, files in sorted({**training, **test}.items())
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and, for training, coronary arteries of one patient."""
    folder = "CTCA" if file_of(case, "CTCA/*.nrrd") else "Testset_*"
    found = read_pair(case, image=f"{folder}/*.nrrd", label="Annotations/*.nrrd", channel="CT")
    image, notes = _clipped(found.channels[0])
    found = with_numbers(replace(found, channels=(image,), notes=(*found.notes, *notes)), {1: 1})
    if found.label is None:
        return found
    return replace(found, notes=(*found.notes, *check_vessels(image, found.label)))


def _clipped(image: SimpleITK.Image) -> tuple[SimpleITK.Image, tuple[Note, ...]]:
    values = SimpleITK.GetArrayViewFromImage(image)
    lowest = float(values.min())
    if not LOWEST_HU <= lowest < AIR_HU:
        return image, ()
    below = int(np.count_nonzero(values < AIR_HU))
    clipped = SimpleITK.Maximum(image, AIR_HU)
    return clipped, (Note("clipped-hu", f"{below} voxels from {lowest:g} HU on were set to {AIR_HU}"),)


CONVERTER = Converter(
    name="asoca",
    title="ASOCA",
    summary="ASOCA: coronary arteries in CT angiography (paper 000)",
    channels=("CT",),
    labels=(Label("coronary_artery"),),
    discover=discover,
    read=read,
    is_chiral=True,
    reference="Gharleghi et al., Scientific Data 2023, s41597-023-02016-2",
)

if __name__ == "__main__":
    main("asoca")
