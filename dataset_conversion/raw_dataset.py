"""An nnU-Net raw dataset as a source: what ``nnunet_ext prepare`` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_ext.dataset_conversion.declaration import Converter, Label, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.description import COLORS, read_description

from nnunet_ext.clinical_io import CaseError, Note, read_volume
from nnunet_ext.laterality import KEY, laterality_of

NAME = "nnunet-raw"
ENDING, CHANNELS = "file_ending", "channels"
# What prepared images may be called like: the core writes NIfTI.
_KEPT = ("labels", "regions_class_order", "reference", "licence", "description", KEY, COLORS)


def converter_of(dataset: Path, *, title: str) -> tuple[Converter, dict[str, Any]]:
    """A converter that reads a raw dataset, and its options.

    Args:
        dataset: folder with ``dataset.json``.
        title: middle of the name of the dataset that is to be written.

    Returns:
        Channels and labels as they are there; labels may be absent in a case, as nnU-Net allows.

    Raises:
        FileNotFoundError: there is no ``dataset.json``.
        ValueError: it is not as nnU-Net wants it.
    """
    content = read_description(dataset)
    try:
        names = content["channel_names"]
        channels = tuple(names[str(i)] for i in range(len(names)))
        highest = max(_numbers(content["labels"]), default=0)
        ending = content[ENDING]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{dataset / 'dataset.json'} is not as nnU-Net wants it: {error!r}") from error
    laterality = laterality_of(content)
    converter = Converter(
        name=NAME,
        title=title,
        summary="",
        channels=channels,
        labels=tuple(Label(f"label {n}", "may_be_absent") for n in range(1, highest + 1)),
        discover=discover,
        read=read,
        pairs=() if laterality is None else laterality.pairs,
        is_chiral=laterality is not None,
        may_lack_geometry=True,
        may_be_processed=True,
        description={key: content[key] for key in _KEPT if key in content},
    )
    return converter, {ENDING: ending, CHANNELS: len(channels)}


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Training cases, then unseen ones, by the names of their images."""
    cases = []
    for folder, is_training in ((source / "imagesTr", True), (source / "imagesTs", False)):
        cases += discover_images(folder, options, labels=source / "labelsTr" if is_training else None)
    return cases


def discover_images(folder: Path, options: Options, *, labels: Path | None) -> list[SourceCase]:
    """The cases of one folder of images; labels lie in another, if there are any."""
    ending = options[ENDING]
    pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(ending)}")
    found = (pattern.fullmatch(file.name) for file in folder.glob(f"*{ending}"))
    names = sorted({match[1] for match in found if match and not match[1].startswith(".")})
    cases = []
    for name in names:
        files = [folder / f"{name}_{channel:04d}{ending}" for channel in range(options[CHANNELS])]
        if labels is not None:
            files.append(labels / f"{name}{ending}")
        cases.append(
            SourceCase(
                source=f"{folder.name}/{name}",
                folder=folder,
                files=tuple(file for file in files if file.exists()),
                public_name=name,
                is_training=labels is not None,
            )
        )
    return cases


def labeled_cases(dataset: Path) -> list[SourceCase]:
    """Training cases of a raw dataset with their files: every channel, then the label.

    Raises:
        FileNotFoundError: there is no ``dataset.json``.
        ValueError: it is not as nnU-Net wants it, or there is no labeled image.
    """
    content = read_description(dataset)
    options = {ENDING: content["file_ending"], CHANNELS: len(content["channel_names"])}
    cases = discover_images(dataset / "imagesTr", options, labels=dataset / "labelsTr")
    if not cases:
        raise ValueError(
            f"expected labeled images ending with {content['file_ending']} in {dataset}, got none"
        )
    return cases


def require_complete(case: SourceCase, *, channels: int, labels: int) -> None:
    """Refuse a case of which a file is missing.

    Raises:
        CaseError: ``missing-channel``.
    """
    expected = channels + labels
    if len(case.files) != expected:
        what = "every channel and a label" if labels else "every channel"
        raise CaseError(
            "missing-channel",
            reason=f"expected {expected} files, {what}, got {len(case.files)}",
            remedy="nnU-Net needs every channel, and a label for a training case",
        )


def read(case: SourceCase, options: Options) -> ReadCase:
    """The channels of one case, and its label where it has one."""
    require_complete(case, channels=options[CHANNELS], labels=int(case.is_training))
    volumes = [read_volume(file) for file in case.files]
    notes: tuple[Note, ...] = tuple(note for volume in volumes for note in volume.notes)
    images = tuple(volume.image for volume in volumes)
    if case.is_training:
        return ReadCase(channels=images[:-1], label=images[-1], notes=notes)
    return ReadCase(channels=images, label=None, notes=notes)


def _numbers(labels: Mapping[str, Any]) -> set[int]:
    """Every number that a label or a region has."""
    found: set[int] = set()
    for value in labels.values():
        found.update(value if isinstance(value, list) else [value])
    return {int(number) for number in found}
