"""What a converter is: a dataset's channels and labels, a function that finds cases, one that reads one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import SimpleITK

from nnunet_ext.clinical_io import Note
from nnunet_ext.preparation import Preparation

Presence = Literal["required", "may_be_absent", "may_be_undrawn"]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Label:
    """One structure of a dataset.

    Attributes:
        name: as it will stand in ``dataset.json``.
        presence: ``"required"``: a case without it is refused. ``"may_be_absent"``: a patient may not have
            it, such as a tumor; its place is then background. ``"may_be_undrawn"``: every patient has it and
            not every one was drawn; where it may be is then ignored in training.
    """

    name: str
    presence: Presence = "required"


@dataclass(frozen=True)
class Region:
    """Labels that are trained and predicted as one, and may share voxels with other regions.

    Attributes:
        name: as it will stand in ``dataset.json`` in place of the labels.
        labels: names of its labels; the first is what a voxel becomes that is in this region and in no later
            one, as nnU-Net's ``regions_class_order`` has it.
    """

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class SourceCase:
    """One case as it was found: where its files are, and nothing read yet.

    Attributes:
        source: the case's place below the source folder, with slashes; who it is may stand in it.
        folder: where it is.
        files: everything that is read of it: when one changes, the case is converted again.
        public_name: its name in a public dataset, where that names no patient; "" gives it a number.
        group: cases of one group never stand on both sides of a split; "" where the patient decides.
        is_training: False for a case without a label, which goes to imagesTs.
    """

    source: str
    folder: Path
    files: tuple[Path, ...]
    public_name: str = ""
    group: str = ""
    is_training: bool = True


@dataclass(frozen=True)
class ReadCase:
    """One case in memory.

    Attributes:
        channels: images, in the order of the converter's channels.
        label: numbers 0, 1, ... in the order of the converter's labels (0 is background), None for a case
            without one.
        undrawn: names of labels that were not drawn in this case.
        patient: anything that tells this patient from others; it is hashed with a salt.
        series: SeriesInstanceUID of the first channel, by which ``export`` knows it again; it is hashed too.
        notes: what was put right.
        colors: red, green and blue from 0 to 255, by names of labels, where whoever drew them gave some.
        private: what the user may want to know and nobody else may see, such as names that no table has; it
            goes into the key file alone.
    """

    channels: tuple[SimpleITK.Image, ...]
    label: SimpleITK.Image | None
    undrawn: frozenset[str] = frozenset()
    patient: str = ""
    series: str = ""
    notes: tuple[Note, ...] = ()
    colors: Mapping[str, Color] = field(default_factory=dict)
    private: str = ""


@dataclass(frozen=True)
class Option:
    """A converter's own option on the command line.

    Attributes:
        flag: ``"--structure"``.
        arguments: what ``argparse.ArgumentParser.add_argument`` takes beside it.
        is_for_training: it is about labels, which new patients have not.
        may_differ: it says how files are found and told apart, and new patients may have it otherwise than
            the dataset; an option that is neither is the dataset's own and holds for them as well.
        needed: whether it must be given.
    """

    flag: str
    arguments: Mapping[str, Any]
    is_for_training: bool = False
    may_differ: bool = False
    needed: Literal["never", "to train", "always"] = "never"

    @property
    def name(self) -> str:
        """How the value is called among the options."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def default(self) -> Any:
        """Its value where nobody types it."""
        return self.arguments.get("default", False if self.arguments.get("action") == "store_true" else None)


Options = Mapping[str, Any]


@dataclass(frozen=True)
class Converter:
    """How one clinical dataset becomes nnU-Net raw.

    Attributes:
        name: what the user types: ``"liver-target"``.
        title: middle of the dataset's folder name: ``"LiverTarget"``.
        summary: one line for ``--help``.
        channels: nnU-Net's channel names, which decide the normalization.
        labels: structures, numbered from 1 in this order.
        regions: what nnU-Net is to train on in place of the labels, the outer before the inner ones; none to
            train on the labels.
        discover: from the source folder and the options to the cases, in a stable order.
        read: from one case and the options to what is in it; raises ``CaseError``.
        pairs: left and right labels, or regions; see :mod:`nnunet_ext.laterality`.
        may_lack_geometry: an image with an affine that nobody set is taken as it is.
        may_be_processed: somebody may have windowed or normalized its CT.
        is_chiral: the anatomy has a left and a right without labels in pairs, as the heart has.
        options: options of its own.
        configure: from the converter and the options to the converter that they ask for, where channels or
            labels are the user's choice; None where they are fixed.
        preparation: what is done with every case before it is checked, unless the user asks for other steps;
            None for nothing.
        description: fields of ``dataset.json`` that are taken as they are, whatever the others say.
        reference: where the dataset is described.
        license: of the data, as its page says; "" for a hospital's own.
    """

    name: str
    title: str
    summary: str
    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    discover: Callable[[Path, Options], Sequence[SourceCase]]
    read: Callable[[SourceCase, Options], ReadCase]
    regions: tuple[Region, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    is_chiral: bool = False
    may_lack_geometry: bool = False
    may_be_processed: bool = False
    options: tuple[Option, ...] = ()
    configure: Callable[[Converter, Options], Converter] | None = None
    preparation: Preparation | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""
    license: str = ""

    def numbers(self) -> dict[str, int]:
        """Label names with their numbers in label files; a dataset with undrawn structures has ignore.

        Example:
            >>> labels = (Label("Liver"), Label("GTV", "may_be_absent"))
            >>> Converter("x", "X", "", ("CT",), labels, lambda *_: [], lambda *_: None).numbers()
            {'background': 0, 'Liver': 1, 'GTV': 2}
        """
        numbers = {"background": 0} | {label.name: i for i, label in enumerate(self.labels, start=1)}
        if any(label.presence == "may_be_undrawn" for label in self.labels):
            numbers["ignore"] = len(numbers)
        return numbers


@dataclass(frozen=True)
class Conversion:
    """One run of a converter, fixed when it starts.

    Attributes:
        converter: which.
        source: the clinic's folder.
        dataset: the dataset's folder, ``DatasetNNN_Title``.
        options: the converter's own options with their values.
        preparation: what is done with every case before it is checked.
        boxes: where undrawn structures may be, once every case was looked at; None before.
        splits_from: dataset whose splits are kept, if it has any; None draws new ones.
        accept_misplaced: labels that seem misplaced were looked at: they are noted, not refused.
    """

    converter: Converter
    source: Path
    dataset: Path
    options: Options = field(default_factory=dict)
    preparation: Preparation | None = None
    boxes: Mapping[str, Any] | None = None
    splits_from: Path | None = None
    accept_misplaced: bool = False


def configured(converter: Converter, options: Options) -> Converter:
    """The converter with the channels and labels that the options ask for.

    Raises:
        ValueError: the options make no dataset.
    """
    return converter if converter.configure is None else converter.configure(converter, options)


def add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    """Declare an option such that only what was typed stands among the arguments."""
    parser.add_argument(option.flag, **{**option.arguments, "default": argparse.SUPPRESS})


def typed_options(converter: Converter, args: argparse.Namespace) -> dict[str, Any]:
    """The values of a converter's own options that were typed."""
    names = [option.name for option in converter.options]
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def require_needed(converter: Converter, options: Options, *, to_train: bool) -> None:
    """Raise where an option is missing that must be given.

    Raises:
        ValueError: with what was expected.
    """
    for option in converter.options:
        is_needed = option.needed == "always" or (to_train and option.needed == "to train")
        if is_needed and not options[option.name]:
            raise ValueError(f"expected {option.flag} {option.arguments['metavar']}, got none")
