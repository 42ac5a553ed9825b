"""Coronary arteries in CT angiography: ImageCAS, 1000 patients (paper 000).

    nnunet_ext convert imagecas FOLDER --dataset-id 502

Where to get it: Kaggle ("ImageCAS"), or the authors' older release; https://arxiv.org/abs/2211.01607 names
the project's page. License: see the Kaggle page; not verified here.

Layout, either release, in any depth: ``1-200/7.img.nii.gz`` with ``1-200/7.label.nii.gz`` and so on to
``801-1000`` (Kaggle), or a folder for each patient, ``7/img.nii.gz`` with ``7/label.nii.gz`` (older). Cases
are called ``ImageCAS_0007``.

Quirks and what is done about them:

- Folders of the older release whose names end in `` (1)`` are duplicates: they are left out where the folder
  without it is there; their number is logged, and the case has the note ``duplicate-folder``.
- Labels may be flipped against their image. Contrast medium makes vessels bright: where the median inside the
  label is not above 150 HU and the label flipped along some axes finds far brighter voxels, the case is
  refused (``flipped-label``); where no flip does, it is written with the note ``faint-vessel``.
- The dataset's own list of folds is not used: ``splits_final.json`` is made as for every dataset here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ext.dataset_conversion.command import main
from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.vessel_label import check_vessels
from nnunet_ext.dataset_conversion.volume_cases import files_below, read_pair, with_numbers

from nnunet_ext.clinical_io import Note

logger = logging.getLogger(__name__)

_FILE = re.compile(r"(?:(?P<case>\d+)\.)?(?:img|label)\.nii(?:\.gz)?")
_COPY = re.compile(r" \(\d+\)$")


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Cases of both releases, by their numbers, without duplicate folders.

    Raises:
        ValueError: there is no such folder.
    """
    files = {file.relative_to(source): file for file in files_below(source) if _FILE.fullmatch(file.name)}
    cases: dict[int, list[Path]] = {}
    copies = set()
    for place, file in files.items():
        original = Path(*(_COPY.sub("", part) for part in place.parent.parts), place.name)
        if original != place and original in files:
            copies.add(place.parent)
            continue
        match = _FILE.fullmatch(file.name)
        number = (match and match["case"]) or original.parent.name
        if number.isdecimal():
            cases.setdefault(int(number), []).append(file)
    if copies:
        logger.info("%d folders ending in (1) are duplicates and were left out", len(copies))
    return [
        SourceCase(
            source=str(number),
            folder=found[0].parent,
            files=tuple(found),
            public_name=f"ImageCAS_{number:04d}",
        )
        for number, found in sorted(cases.items())
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and coronary arteries of one patient."""
    found = with_numbers(read_pair(case, image="*img.nii*", label="*label.nii*", channel="CT"), {1: 1})
    notes = found.notes
    copies = [path for path in case.folder.parent.glob(f"{case.folder.name} (*)") if path.is_dir()]
    if copies:
        text = f"{len(copies)} folders of the same name ending in (1) were left out"
        notes = (*notes, Note("duplicate-folder", text))
    if found.label is not None:
        notes = (*notes, *check_vessels(found.channels[0], found.label))
    return replace(found, notes=notes)


CONVERTER = Converter(
    name="imagecas",
    title="ImageCAS",
    summary="ImageCAS: coronary arteries in CT angiography (paper 000)",
    channels=("CT",),
    labels=(Label("coronary_artery"),),
    discover=discover,
    read=read,
    is_chiral=True,
    reference="Zeng et al., Computerized Medical Imaging and Graphics 109, 2023 (ImageCAS)",
)

if __name__ == "__main__":
    main("imagecas")
