"""Cases whose images and labels are volumes in files: which file is what, and what its values mean."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK
from nnunet_ext.dataset_conversion.declaration import ReadCase, SourceCase
from numpy.typing import NDArray

from nnunet_ext.clinical_io import CaseError, Note, read_volume
from nnunet_ext.clinical_io.grids import image_of

AS_PUBLISHED = "take the label as it was published, in its own type: values above 255 need 16 bits"


def files_below(folder: Path) -> tuple[Path, ...]:
    """Every file below a folder, sorted, without hidden ones and the copies that macOS puts into archives.

    Folders that are links are followed.

    Raises:
        ValueError: there is no such folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("volume-0.nii", "._volume-0.nii"):
        ...         _ = (Path(folder) / name).write_bytes(b"")
        ...     [file.name for file in files_below(Path(folder))]
        ['volume-0.nii']
    """
    if not folder.is_dir():
        raise ValueError(f"expected the folder of the dataset, got {folder}")
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        if here.resolve() in [parent.resolve() for parent in here.parents]:  # a link back, without an end
            folders.clear()
            continue
        folders[:] = [name for name in folders if _is_visible(name)]
        found += [here / name for name in names if _is_visible(name) and (here / name).is_file()]
    return tuple(sorted(found))


def by_name(files: Iterable[Path], pattern: str) -> dict[str, tuple[Path, ...]]:
    r"""Files whose names fit a regular expression, together where its first group is the same.

    Example:
        >>> files = [Path("a/7.img.nii.gz"), Path("b/7.label.nii.gz"), Path("notes.txt")]
        >>> {key: len(found) for key, found in by_name(files, r"(\d+)[.](img|label)[.]nii[.]gz").items()}
        {'7': 2}
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        if match := re.fullmatch(pattern, file.name):
            found.setdefault(match[1], []).append(file)
    return {key: tuple(each) for key, each in sorted(found.items())}


def file_of(case: SourceCase, pattern: str) -> Path | None:
    """The one file of a case whose path ends as a pattern says, None where there is none.

    Raises:
        CaseError: ``ambiguous-file`` where there are several, such as a volume packed and unpacked.

    Example:
        >>> case = SourceCase("7", Path("x"), (Path("x/7.img.nii.gz"), Path("x/7.label.nii.gz")))
        >>> file_of(case, "*img.nii*").name, file_of(case, "*mask.nii*")
        ('7.img.nii.gz', None)
    """
    fitting = [file for file in case.files if file.match(pattern)]
    if len(fitting) > 1:
        raise CaseError(
            "ambiguous-file",
            reason=f"expected one file {pattern} of the case, got {len(fitting)}",
            remedy="leave the one that is meant",
        )
    return fitting[0] if fitting else None


def read_image(case: SourceCase, pattern: str, *, channel: str) -> ReadCase:
    """A case with one channel and no label yet.

    Raises:
        CaseError: ``missing-channel`` where the file is not there, and as
            :func:`~nnunet_ext.clinical_io.read_volume`.
    """
    file = file_of(case, pattern)
    if file is None:
        raise CaseError(
            "missing-channel", reason=f"there is no {channel}", remedy="add it, or download the case again"
        )
    volume = read_volume(file)
    return ReadCase((volume.image,), None, notes=_of("image", volume.notes))


def read_pair(case: SourceCase, *, image: str, label: str, channel: str) -> ReadCase:
    """A case of two files, an image and a label, by the patterns of their names.

    Returns:
        The case; the label with the values of its file, None where there is none or the case is not to train.

    Raises:
        CaseError: as :func:`read_image`.
    """
    read = read_image(case, image, channel=channel)
    file = file_of(case, label) if case.is_training else None
    if file is None:
        return read
    volume = read_volume(file)
    return replace(read, label=volume.image, notes=(*read.notes, *_of("label", volume.notes)))


def with_numbers(read: ReadCase, numbers: Mapping[int, int]) -> ReadCase:
    """The case with the label's values replaced by the numbers of the converter's labels.

    Args:
        read: a case as :func:`read_pair` gives it.
        numbers: from each value that a label file may hold, but 0, to a number.

    Raises:
        CaseError: ``label-value`` where the file holds another value.
    """
    return read if read.label is None else replace(read, label=renumbered(read.label, numbers))


def renumbered(
    label: SimpleITK.Image, numbers: Mapping[int, int], *, remedy: str = AS_PUBLISHED
) -> SimpleITK.Image:
    """A label image whose values are replaced, of whatever type they are; 0 stays 0.

    Args:
        label: values of a file.
        numbers: from each value but 0 to a number.
        remedy: what to do about other values.

    Raises:
        CaseError: ``label-value`` where a value is not among ``numbers``.

    Example:
        >>> label = SimpleITK.GetImageFromArray(np.array([[[0, 205, 850]]], np.uint16))
        >>> SimpleITK.GetArrayFromImage(renumbered(label, {205: 1, 850: 7})).tolist()
        [[[0, 1, 7]]]
    """
    values = SimpleITK.GetArrayViewFromImage(label)
    result: NDArray[np.uint8] = np.zeros(values.shape, np.uint8)
    known = values == 0
    for value, number in numbers.items():
        here = values == value
        result[here] = number
        known |= here
    if not known.all():
        strange = np.unique(values[~known])
        shown = ", ".join(f"{float(v):g}" for v in strange[:5])
        expected = ", ".join(map(str, (0, *sorted(numbers))))
        raise CaseError(
            "label-value",
            reason=f"the label holds {shown}{', ...' if len(strange) > 5 else ''}, expected {expected}",
            remedy=remedy,
        )
    return image_of(result, label)


def _of(what: str, notes: Iterable[Note]) -> tuple[Note, ...]:
    return tuple(Note(note.code, f"{what}: {note.text}") for note in notes)


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
