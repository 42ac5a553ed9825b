"""Organs at risk of head and neck in CT: PDDCA 1.4.1, 48 patients (paper 003).

    nnunet_ext convert pddca FOLDER --dataset-id 506

Where to get it: imagenglab.com/newsite/pddca; cite Raudaschl et al. 2017. License: see that page; not
verified here.

Layout: a folder for each patient, ``0522c0001/img.nrrd`` with ``structures/BrainStem.nrrd``, ``Chiasm``,
``Mandible``, ``OpticNerve_L``, ``OpticNerve_R``, ``Parotid_L``, ``Parotid_R``, ``Submandibular_L`` and
``Submandibular_R``. The landmarks (``.fcsv``) are not read.

Quirks and what is done about them:

- Of the 48 patients 40 have a mandible, 41 a left and 36 a right submandibular gland. Everybody has these
  organs: where they may be, a case without them is ignored in training and never called background. The other
  six are there in every case; one that lacks them is refused (``empty-label``).
- Names vary (``Brain Stem.nrrd``): they are looked up in the table of structure names, which ``--aliases``
  extends; files that it does not know are counted in the note ``unknown-name``.
- Organs overlap by some voxels, which the later in the list of labels gets (note ``overlap``). Small organs
  stand behind large ones.
- The test patients of the MICCAI 2015 challenge (0522c0555 to 0746 and 0788 to 0878) are not set apart:
  ``splits_final.json`` is made as for every dataset here.
- There are no eyes, no lenses and no MR.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ext.dataset_conversion.command import ALIASES, aliases_of, main
from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.organ_masks import read_organs
from nnunet_ext.dataset_conversion.volume_cases import files_below, read_image

from nnunet_ext.clinical_io import CaseError, Note
from nnunet_ext.clinical_io.structure_names import by_canonical_name
from nnunet_ext.laterality import pairs_by_name

_PUBLIC = re.compile(r"0522c\d{4}")
IMAGE, STRUCTURES = "img.nrrd", "structures"
LABELS = (
    Label("Bone_Mandible", "may_be_undrawn"),
    Label("Parotid_L"),
    Label("Parotid_R"),
    Label("Brainstem"),
    Label("Glnd_Submand_L", "may_be_undrawn"),
    Label("Glnd_Submand_R", "may_be_undrawn"),
    Label("OpticNrv_L"),
    Label("OpticNrv_R"),
    Label("OpticChiasm"),
)


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Every folder with an image or structures, by its name.

    Raises:
        ValueError: there is no such folder.
    """
    patients: dict[Path, list[Path]] = {}
    for file in files_below(source):
        if file.name == IMAGE:
            patients.setdefault(file.parent, []).append(file)
        elif file.parent.name == STRUCTURES and file.suffix == ".nrrd":
            patients.setdefault(file.parent.parent, []).append(file)
    return [
        SourceCase(
            source=folder.relative_to(source).as_posix(),
            folder=folder,
            files=tuple(files),
            # Anybody else's folders may be called like patients.
            public_name=folder.name if _PUBLIC.fullmatch(folder.name) else "",
        )
        for folder, files in sorted(patients.items())
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    """CT and organs of one patient; of a new one the CT alone."""
    found = read_image(case, IMAGE, channel="CT")
    files = [file for file in case.files if file.parent.name == STRUCTURES]
    if not case.is_training or not files:
        return found
    known, unknown = by_canonical_name([(file.stem, file) for file in files], aliases_of(options))
    for label in LABELS:
        if len(known.get(label.name, ())) > 1:
            raise CaseError(
                "ambiguous-name",
                reason=f"{len(known[label.name])} files are called {label.name} or an alias of it",
                remedy="leave the one that is meant",
            )
    organs = read_organs(known, LABELS, found.channels[0])
    notes = [*found.notes, *organs.notes]
    if unknown:
        text = f"{len(unknown)} files have names that nobody knows and were not read; the key file lists them"
        notes.append(Note("unknown-name", text))
    return replace(
        found,
        label=organs.label,
        undrawn=organs.undrawn,
        notes=tuple(notes),
        private="\n".join(unknown),
    )


CONVERTER = Converter(
    name="pddca",
    title="PDDCA",
    summary="PDDCA 1.4.1: organs at risk of head and neck in CT (paper 003)",
    channels=("CT",),
    labels=LABELS,
    discover=discover,
    read=read,
    pairs=pairs_by_name(label.name for label in LABELS),
    options=(ALIASES,),
    reference="Raudaschl et al., Medical Physics 2017; imagenglab.com/newsite/pddca",
)

if __name__ == "__main__":
    main("pddca")
