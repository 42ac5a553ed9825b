"""What a user says of a hospital's coronary CT: which files, which series, which structures or values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from nnunet_ext.dataset_conversion.command import aliases_of
from nnunet_ext.dataset_conversion.declaration import Label, Option, Options, SourceCase
from nnunet_ext.dataset_conversion.file_patterns import Pattern, fitting, in_case_folders

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.structure_names import Aliases
from nnunet_ext.clinical_io.volumes import ENDINGS

WHOLE_TREE = "A_Coronary"
_MAY_BE_ABSENT = ":may_be_absent"
# Programs that think in gray values write a mask as 0 and 255.
_YES, _WHITE = 1, 255

STRUCTURE = Option(
    "--structure",
    {
        "action": "append",
        "metavar": "NAME",
        "help": "a structure of the RTSTRUCT that is coronary artery; ':may_be_absent' behind it where not "
        f"every patient has it; once for each branch, and the label is all of them ({WHOLE_TREE})",
    },
    is_for_training=True,
)
VALUE = Option(
    "--value",
    {
        "action": "append",
        "type": int,
        "metavar": "N",
        "help": "a value of the label volume that is coronary artery; once for each branch, and the label is "
        "all of them (1, or 255 where there is no other)",
    },
    is_for_training=True,
)
LABEL_FILE = Option(
    "--label-file",
    {
        "metavar": "PATTERN",
        "help": "the label volume in each patient's folder, such as '**/*-label.nrrd' (the only volume)",
    },
    may_differ=True,
)
CT_FILE = Option(
    "--ct-file",
    {
        "metavar": "PATTERN",
        "help": "the CT as a NIfTI, NRRD or MetaImage file in each patient's folder (DICOM)",
    },
    may_differ=True,
)


def structures_of(options: Options) -> tuple[tuple[Label, ...], Aliases]:
    """The structures whose union is the label, and the table in which each of them is found.

    Raises:
        ValueError: one is there twice, or has neither letters nor digits.
        OSError: the table of ``--aliases`` cannot be read.

    Example:
        >>> labels, aliases = structures_of({"structure": ["LAD", "Ramus:may_be_absent"]})
        >>> labels
        (Label(name='A_LAD', presence='required'), Label(name='Ramus', presence='may_be_absent'))
        >>> aliases.find("RAMUS")
        'Ramus'
    """
    aliases: Aliases = aliases_of(options)
    labels = []
    for text in options[STRUCTURE.name] or (WHOLE_TREE,):
        name = text.removesuffix(_MAY_BE_ABSENT)
        if aliases.find(name) is None:
            aliases = aliases.extended({name: []})
        labels.append(Label(aliases.find(name) or name, "required" if name == text else "may_be_absent"))
    twice = [name for name, count in Counter(label.name for label in labels).items() if count > 1]
    if twice:
        raise ValueError(f"{STRUCTURE.flag}: expected each structure once, got {', '.join(twice)} again")
    return tuple(labels), aliases


def numbers_of(options: Options, *, highest: float) -> dict[int, int]:
    """From the values of a label volume that are artery to 1.

    Args:
        options: as they were typed.
        highest: the highest value of the volume.

    Raises:
        ValueError: a value is not above 0.

    Example:
        >>> numbers_of({"value": None}, highest=255), numbers_of({"value": [1, 2]}, highest=2)
        ({255: 1}, {1: 1, 2: 1})
    """
    values = options[VALUE.name] or [_WHITE if highest == _WHITE else _YES]
    if min(values) < 1:
        raise ValueError(f"{VALUE.flag}: expected whole numbers above 0, got {min(values)}")
    return dict.fromkeys(values, 1)


def patterns_of(options: Options) -> Mapping[str, Pattern]:
    """The patterns of the files that were named, by the options' names.

    Raises:
        ValueError: ``{case}`` stands in one and not in the other.
    """
    typed = {o.name: options[o.name] for o in (CT_FILE, LABEL_FILE) if options[o.name]}
    return in_case_folders(typed)[0]


def ct_files(case: SourceCase, options: Options) -> tuple[Path, ...]:
    """The files that ``--ct-file`` names."""
    return _named(case, options).get(CT_FILE.name, ())


def label_files(case: SourceCase, options: Options) -> tuple[Path, ...]:
    """The files that ``--label-file`` names; without it every volume that is not the CT."""
    if options[LABEL_FILE.name]:
        return _named(case, options).get(LABEL_FILE.name, ())
    images = ct_files(case, options)
    return tuple(f for f in case.files if f.name.lower().endswith(ENDINGS) and f not in images)


def only(files: tuple[Path, ...], option: Option) -> Path | None:
    """The one file that is meant, None where there is none.

    Raises:
        CaseError: ``ambiguous-file``.

    Example:
        >>> only((Path("a.nii"), Path("b.nii")), LABEL_FILE)
        Traceback (most recent call last):
        nnunet_ext.clinical_io.findings.CaseError: ambiguous-file: 2 files of the case may be meant; say \
which with --label-file, or leave the one that is meant
    """
    if len(files) > 1:
        raise CaseError(
            "ambiguous-file",
            reason=f"{len(files)} files of the case may be meant",
            remedy=f"say which with {option.flag}, or leave the one that is meant",
        )
    return files[0] if files else None


def _named(case: SourceCase, options: Options) -> Mapping[str, tuple[Path, ...]]:
    found = fitting(case.files, case.folder.parent, patterns_of(options))
    return found.get(case.folder.name, {})
