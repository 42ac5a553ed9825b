"""What a user says of volumes whose layout nobody knows: channels, labels, files, pairs and patients."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from nnunet_ext.dataset_conversion.declaration import Label, Option, Options, Presence, Region
from nnunet_ext.dataset_conversion.file_patterns import PATIENT, Pattern, in_case_folders

# The role of the label file among the channels; no channel can be called so.
LABEL_FILE = ""
_RESERVED = ("background", "ignore")


def _pattern_or_table(text: str) -> Path | str:
    return Path(text) if text.lower().endswith(".csv") else text


CHANNEL = Option(
    "--channel",
    {
        "action": "append",
        "metavar": "NAME=PATTERN",
        "help": "a channel and its file, in each case's folder (CT='CT*.nii.gz') or, with {case}, below SRC "
        "(CT='images/{case}_CT.nii.gz'); once for each channel",
    },
    may_differ=True,
    needed="always",
)
LABELS_FILE = Option(
    "--label-file",
    {"metavar": "PATTERN", "help": "the file with the labels, as for --channel"},
    may_differ=True,
    needed="to train",
)
LABEL = Option(
    "--label",
    {
        "action": "append",
        "metavar": "NAME=VALUE",
        "help": "a label and its value in that file; ':may_be_absent' behind it where not every patient has "
        "it, ':may_be_undrawn' where it was not always drawn; once for each label",
    },
    is_for_training=True,
    needed="to train",
)
REGION = Option(
    "--region",
    {
        "action": "append",
        "metavar": "NAME=LABEL,...",
        "help": "train on regions in place of labels: a region and its labels, the first of which a voxel "
        "gets that is in no later region (whole=edema,core, then core=core); the outer before the inner ones",
    },
    is_for_training=True,
)
PAIR = Option(
    "--pair",
    {
        "action": "append",
        "metavar": "LEFT,RIGHT",
        "help": "two labels, or regions, that are the left and the right of one",
    },
    is_for_training=True,
)
CHIRAL = Option(
    "--chiral",
    {
        "action": "store_true",
        "help": "the anatomy has a left and a right without labels in pairs, as the heart has (it has not)",
    },
    is_for_training=True,
)
GROUP_BY = Option(
    "--group-by",
    {
        "type": _pattern_or_table,
        "metavar": "WHAT",
        "help": "which cases are one patient: a pattern of the cases' names with {patient} ('{patient}_*'), "
        "or a file.csv with the columns case and patient (each case is a patient)",
    },
    is_for_training=True,
)
NO_GEOMETRY = Option(
    "--identity-affine-is-right",
    {
        "action": "store_true",
        "help": "voxels of 1 mm from 0 along the world's axes are meant (refused)",
    },
    may_differ=True,
)
OPTIONS = (CHANNEL, LABELS_FILE, LABEL, REGION, PAIR, CHIRAL, GROUP_BY, NO_GEOMETRY)


@dataclass(frozen=True)
class Layout:
    """What the options say.

    Attributes:
        channels: names, in order.
        labels: structures, in the order of their numbers.
        regions: what is trained in place of the labels.
        numbers: from the values of the label file to numbers.
        pairs: left and right labels.
        patterns: files of each channel and of the label (``LABEL_FILE``).
        folders: whether each folder below the source is a case.
    """

    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    regions: tuple[Region, ...]
    numbers: Mapping[int, int]
    pairs: tuple[tuple[str, str], ...]
    patterns: Mapping[str, Pattern]
    folders: bool

    @classmethod
    def of(cls, options: Options) -> Layout:
        """Read the options.

        Raises:
            ValueError: one cannot be read, with what was expected.
        """
        files = [_two(CHANNEL, text, "=") for text in options[CHANNEL.name]]
        _require_distinct(CHANNEL, [name for name, _ in files])
        of_label = options[LABELS_FILE.name]  # new patients have none
        patterns, folders = in_case_folders(dict(files) | ({LABEL_FILE: of_label} if of_label else {}))
        labels, values = _labels(options[LABEL.name] or ())
        pairs = tuple(_two(PAIR, text, ",") for text in options[PAIR.name] or ())
        regions = _regions(options[REGION.name] or (), labels)
        _require_known(PAIR, [name for pair in pairs for name in pair], regions or labels)
        return cls(
            channels=tuple(name for name, _ in files),
            labels=labels,
            regions=regions,
            numbers={value: number for number, value in enumerate(values, start=1)},
            pairs=pairs,
            patterns=patterns,
            folders=folders,
        )


def patients_of(cases: Sequence[str], options: Options) -> dict[str, str]:
    """The patient of each case; "" where each case is one.

    Raises:
        ValueError: the pattern does not fit every case, or the table has not every case. Cases are counted
            and not named: their names may tell who somebody is.
        OSError: the table cannot be read.
    """
    how = options[GROUP_BY.name]
    if how is None:
        return dict.fromkeys(cases, "")
    if isinstance(how, Path):
        found: Mapping[str, str | None] = _table(how)
    else:
        if PATIENT not in how:
            raise ValueError(
                f"{GROUP_BY.flag}: expected a pattern with {PATIENT} or a .csv file, got {how!r}"
            )
        pattern = Pattern.of(how)
        found = {case: pattern.find(case) for case in cases}
    patients = {case: found.get(case) or "" for case in cases}
    if lost := sum(not patient for patient in patients.values()):
        raise ValueError(f"{GROUP_BY.flag} gives no patient for {lost} of {len(cases)} cases")
    return patients


def _table(file: Path) -> dict[str, str]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if not {"case", "patient"} <= set(reader.fieldnames or ()):
            raise ValueError(f"expected the columns case and patient in {file}, got {reader.fieldnames}")
        rows = [(row["case"], row["patient"]) for row in reader]
    table = dict(rows)
    if len(table) < len(rows):
        raise ValueError(f"expected each case once in {file}, got some twice")
    return table


def _labels(typed: Iterable[str]) -> tuple[tuple[Label, ...], tuple[int, ...]]:
    labels, values = [], []
    for text in typed:
        name, rest = _two(LABEL, text, "=")
        value, _, presence = rest.partition(":")
        if not value.isdecimal() or int(value) == 0 or presence not in ("", *get_args(Presence)):
            raise ValueError(
                f"{LABEL.flag}: expected NAME=VALUE, a whole number above 0, and behind it nothing or "
                f":{' or :'.join(get_args(Presence))}; got {text!r}"
            )
        labels.append(Label(name, cast(Presence, presence or "required")))
        values.append(int(value))
    _require_distinct(LABEL, [*_RESERVED, *(label.name for label in labels)])
    _require_distinct(LABEL, map(str, values))
    return tuple(labels), tuple(values)


def _regions(typed: Iterable[str], labels: Sequence[Label]) -> tuple[Region, ...]:
    regions = []
    for text in typed:
        name, names = _two(REGION, text, "=")
        regions.append(Region(name, tuple(label.strip() for label in names.split(","))))
        _require_known(REGION, regions[-1].labels, labels)
        _require_distinct(REGION, regions[-1].labels)
    _require_distinct(REGION, [*_RESERVED, *(region.name for region in regions)])
    for number, region in enumerate(regions):
        later = {label for other in regions[number + 1 :] for label in other.labels}
        if region.labels[0] in later:
            raise ValueError(
                f"{REGION.flag}: {region.labels[0]}, the first label of {region.name}, is in a later region, "
                "which would take every voxel of it; name an outer region first, and first its own label"
            )
    lost = {label.name for label in labels} - {label for region in regions for label in region.labels}
    if regions and lost:
        raise ValueError(
            f"{REGION.flag}: no region has {', '.join(sorted(lost))}, which would never be trained"
        )
    return tuple(regions)


def _require_known(option: Option, names: Iterable[str], among: Iterable[Label | Region]) -> None:
    known = [each.name for each in among]
    if unknown := sorted(set(names) - set(known)):
        raise ValueError(f"{option.flag}: expected some of {', '.join(known)}, got {', '.join(unknown)}")


def _two(option: Option, text: str, separator: str) -> tuple[str, str]:
    first, _, second = (part.strip() for part in text.partition(separator))
    if not first or not second:
        raise ValueError(f"{option.flag}: expected {option.arguments['metavar']}, got {text!r}")
    return first, second


def _require_distinct(option: Option, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"{option.flag}: {', '.join(twice)} is there already; each name and value stands once"
        )
