"""Which prediction belongs to which reference, and where the dataset.json lies that names their labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.evaluation.label_maps import LABEL_ENDINGS

DATASET_JSON = "dataset.json"


@dataclass(frozen=True)
class Case:
    """One case, by its name in the dataset.

    Attributes:
        name: file name without its ending.
        prediction: None where there is none.
        reference: None where there is none.
    """

    name: str
    prediction: Path | None
    reference: Path | None


def find_dataset_json(prediction: Path, reference: Path) -> Path:
    """The dataset.json that belongs to two folders (or files) of labels.

    nnU-Net copies it beside predictions; a fold's validation folder has it two levels up, references have it
    beside the folder of labels.

    Args:
        prediction: folder or file.
        reference: the same.

    Returns:
        The first there is.

    Raises:
        ValueError: there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as raw:
        ...     (Path(raw) / "labelsTr").mkdir()
        ...     _ = (Path(raw) / "dataset.json").write_text("{}")
        ...     find_dataset_json(Path(raw) / "predictions", Path(raw) / "labelsTr").name
        'dataset.json'
    """
    ours, theirs = (
        path if path.is_dir() else path.parent for path in map(Path.absolute, (prediction, reference))
    )
    folders = (ours, theirs, theirs.parent, ours.parent, ours.parent.parent)
    for folder in folders:
        if (folder / DATASET_JSON).is_file():
            return folder / DATASET_JSON
    raise ValueError(
        f"expected {DATASET_JSON} beside the predictions or the references, found none; name it with "
        "--dataset-json"
    )


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Content of a dataset.json whose files can be read here.

    Raises:
        ValueError: it is no JSON object, or its ``file_ending`` is none of ours.
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "dataset.json").write_text('{"file_ending": ".tif"}')
        ...     read_dataset_json(Path(folder) / "dataset.json")
        Traceback (most recent call last):
        ValueError: expected a "file_ending" of .nii, .nii.gz, .nrrd, .nhdr, .mha, .mhd, .png, .bmp in \
dataset.json, got '.tif'
    """
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    ending = description.get("file_ending") if isinstance(description, dict) else None
    if ending not in LABEL_ENDINGS:
        raise ValueError(
            f'expected a "file_ending" of {", ".join(LABEL_ENDINGS)} in {path.name}, got {ending!r}'
        )
    return dict(description)


def find_cases(
    prediction: Path, reference: Path, *, file_ending: str, only_predicted: bool = False
) -> tuple[Case, ...]:
    """Pair the files of two folders by name, or two files.

    Args:
        prediction: folder or file.
        reference: the same.
        file_ending: of the dataset's label maps.
        only_predicted: leave out references without a prediction, as for the validation folder of one fold.

    Returns:
        Cases by name; one of the two files is None where it is missing.

    Raises:
        ValueError: one is a folder and the other a file, or there is nothing to compare.
        OSError: a folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        ...     (Path(a) / "x.nrrd").touch(); (Path(b) / "x.nrrd").touch(); (Path(b) / "y.nrrd").touch()
        ...     [c.name for c in find_cases(Path(a), Path(b), file_ending=".nrrd") if c.prediction is None]
        ['y']
    """
    if prediction.is_file() and reference.is_file():
        return (Case(prediction.name.removesuffix(file_ending), prediction, reference),)
    for path in (prediction, reference):
        if not path.is_dir():
            raise ValueError(f"expected two folders or two files, {path} is no folder")
    predicted, expected = (label_maps(folder, file_ending) for folder in (prediction, reference))
    if not predicted:
        raise ValueError(f"no {file_ending} file in {prediction}, which should hold the predictions")
    names: Sequence[str] = sorted(predicted if only_predicted else {*predicted, *expected})
    return tuple(Case(name, predicted.get(name), expected.get(name)) for name in names)


def label_maps(folder: Path, file_ending: str) -> dict[str, Path]:
    """Files of a folder by the name of their case; hidden ones are none.

    Args:
        folder: with other files beside them, or without any.
        file_ending: of the dataset's label maps.

    Raises:
        OSError: the folder cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("x.nrrd", "x.npz", "._x.nrrd"):
        ...         (Path(folder) / name).touch()
        ...     sorted(label_maps(Path(folder), ".nrrd"))
        ['x']
    """
    files = (f for f in folder.iterdir() if f.name.endswith(file_ending) and not f.name.startswith("."))
    return {f.name.removesuffix(file_ending): f for f in files if f.is_file()}
