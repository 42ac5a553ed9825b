r"""Any volumes with a label file: hospital NIfTI or NRRD, and public datasets whose layout nobody has told.

    nnunet_ext convert volumes FOLDER --dataset-id 512 --channel CT='CT_image.nii.gz' \
        --label-file 'CT_mask.nii.gz' --label GTV=1
    nnunet_ext convert volumes FOLDER --dataset-id 512 --channel CT='ct/{case}.nrrd' \
        --label-file 'seg/{case}_seg.nrrd' --label bone=1 --label muscle=2:may_be_absent \
        --group-by '{patient}_scan?'

Layout: as the patterns say. Without ``{case}`` every folder directly below FOLDER is a case, and patterns are
meant within it; ``**/`` stands for folders in between. With ``{case}`` patterns are meant from FOLDER on.
Formats: NIfTI, NRRD, MetaImage; write slices in folders and .mat files as one of these first.

Made for the lower-limb CT of Perez-Carrasco et al. 2018 (https://doi.org/10.1016/j.cmpb.2017.12.027, paper
002) too, of which no layout is published: 27 volumes of 20 patients, so that ``--group-by`` must tell which
volumes are one patient; if the values are stored without the offset of -1024, the checks refuse the case
(``hu-offset``).

Left and right are kept apart in training where ``--pair`` names the left and the right of one structure, or
where ``--chiral`` says that the anatomy has a left and a right without such pairs, as the heart has.

Every label may be ``:may_be_undrawn``. Where a structure may be is told by the cases that have it: measured
from the labels that every case has, or, where there are none, from each of them that was drawn.

Nothing is guessed: a channel whose pattern fits no file at all ends the run (exit code 2); a case in which
one fits no file is refused (``missing-channel``, ``empty-label``), as is one in which it fits two
(``ambiguous-file``). A file that two patterns fit is what the more exact one says. Values that no ``--label``
names are refused (``label-value``). Cases get numbers, since names of a hospital's folders may tell who
somebody is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_ext.dataset_conversion.command import main
from nnunet_ext.dataset_conversion.declaration import Converter, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.file_patterns import fitting
from nnunet_ext.dataset_conversion.volume_cases import files_below, renumbered
from nnunet_ext.dataset_conversion.volume_options import (
    CHANNEL,
    CHIRAL,
    LABEL_FILE,
    LABELS_FILE,
    NO_GEOMETRY,
    OPTIONS,
    Layout,
    patients_of,
)

from nnunet_ext.clinical_io import CaseError, Note, Volume, read_volume


def configure(converter: Converter, options: Options) -> Converter:
    """The converter with the channels and labels that the options name.

    Raises:
        ValueError: as :meth:`~nnunet_ext.dataset_conversion.volume_options.Layout.of`.
    """
    layout = Layout.of(options)
    return replace(
        converter,
        channels=layout.channels,
        labels=layout.labels,
        regions=layout.regions,
        pairs=layout.pairs,
        is_chiral=options[CHIRAL.name],
        may_lack_geometry=bool(options[NO_GEOMETRY.name]),
    )


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """The cases that the patterns find; where folders are cases, every folder with a file.

    Raises:
        ValueError: there is no such folder, a pattern fits nothing, or patients are unclear.
    """
    layout = Layout.of(options)
    files = files_below(source)
    found = fitting(files, source, layout.patterns)
    for name in layout.channels:
        if files and not any(name in roles for roles in found.values()):
            raise ValueError(
                f"the pattern of {CHANNEL.flag} {name} fits none of the {len(files)} files below {source}"
            )
    names = set(found)
    if layout.folders:
        inside = (file.relative_to(source).parts for file in files)
        names |= {parts[0] for parts in inside if len(parts) > 1}
    patients = patients_of(sorted(names), options)
    return [
        SourceCase(
            source=name,
            folder=source,
            files=tuple(file for each in found.get(name, {}).values() for file in each),
            group=patients[name],
        )
        for name in sorted(names)
    ]


def read(case: SourceCase, options: Options) -> ReadCase:
    """All channels and the label of one case; of a new patient the channels alone."""
    layout = Layout.of(options)
    files = next(iter(fitting(case.files, case.folder, layout.patterns).values()), {})
    channels, notes = [], []
    for name in layout.channels:
        volume = _read_one(files.get(name, ()), f"{CHANNEL.flag} {name}")
        if volume is None:
            raise CaseError(
                "missing-channel",
                reason=f"the pattern of {CHANNEL.flag} {name} fits no file of the case",
                remedy="add the file, correct the pattern, or leave the case out",
            )
        channels.append(volume.image)
        notes += [Note(n.code, f"{name}: {n.text}") for n in volume.notes]
    label = _read_one(files.get(LABEL_FILE, ()) if case.is_training else (), LABELS_FILE.flag)
    if label is None:
        return ReadCase(tuple(channels), None, notes=tuple(notes))
    notes += [Note(n.code, f"label: {n.text}") for n in label.notes]
    return ReadCase(tuple(channels), renumbered(label.image, layout.numbers), notes=tuple(notes))


def _read_one(files: Sequence[Path], what: str) -> Volume | None:
    if len(files) > 1:
        raise CaseError(
            "ambiguous-file",
            reason=f"the pattern of {what} fits {len(files)} files of the case",
            remedy="make the pattern more exact, or leave the file that is meant",
        )
    return read_volume(files[0]) if files else None


CONVERTER = Converter(
    name="volumes",
    title="Volumes",
    summary="any NIfTI, NRRD or MetaImage volumes with a label file, by patterns of their names",
    channels=(),
    labels=(),
    discover=discover,
    read=read,
    options=OPTIONS,
    configure=configure,
)

if __name__ == "__main__":
    main("volumes")
