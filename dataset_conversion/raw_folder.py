"""nnU-Net's folder of raw datasets: which dataset the user means, and what a run into one came to."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.dataset_conversion.convert import Outcome

logger = logging.getLogger(__name__)

RAW, PREPROCESSED = "nnUNet_raw", "nnUNet_preprocessed"
DONE, SOME_FAILED, WRONG_USAGE = 0, 1, 2


def raw_folder(given: Path | None) -> Path:
    """The folder of raw datasets: the one that was given, else nnU-Net's.

    Raises:
        ValueError: neither is known.
    """
    folder = given or os.environ.get(RAW)
    if folder is None:
        raise ValueError(f"set {RAW} or give --out")
    return Path(folder)


def folder_to_write(number: int | None, title: str, *, raw: Path) -> Path:
    """The folder of a dataset, as nnU-Net calls it.

    Raises:
        ValueError: the number is none of nnU-Net's.

    Example:
        >>> folder_to_write(4, "Liver", raw=Path("raw")).name
        'Dataset004_Liver'
    """
    if number is None or not 1 <= number <= 999:
        raise ValueError(f"expected --dataset-id from 1 to 999, got {number}")
    return raw / f"Dataset{number:03d}_{title}"


def existing_dataset(named: str, *, raw: Path | None) -> Path:
    """The dataset that a number, a name or a path stands for.

    Args:
        named: ``"4"`` or ``"Dataset004_Liver"`` among the raw datasets, or a folder.
        raw: folder of the raw datasets; None takes nnU-Net's.

    Raises:
        ValueError: there is no such dataset, or there are several.
        OSError: the folder of raw datasets cannot be read.
    """
    if not named.isdecimal() and Path(named).is_dir():
        return Path(named)
    folder = raw_folder(raw)
    datasets = {each: each.name for each in folder.iterdir() if each.is_dir()}
    if named.isdecimal():
        found = [each for each, name in datasets.items() if name.startswith(f"Dataset{int(named):03d}_")]
    else:
        found = [each for each, name in datasets.items() if name == named]
    if len(found) != 1:
        raise ValueError(f"expected one dataset {named} in {folder}, got {len(found)}")
    return found[0]


def preprocessed_folder(dataset: Path) -> Path | None:
    """Where nnU-Net keeps what it made of a raw dataset; None where it does not say where that is.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, {PREPROCESSED: "preprocessed"}):
        ...     preprocessed_folder(Path("raw/Dataset004_Liver")).as_posix()
        'preprocessed/Dataset004_Liver'
    """
    folder = os.environ.get(PREPROCESSED)
    return Path(folder) / dataset.name if folder else None


def conclude(outcome: Outcome, dataset: Path, *, key_file: Path) -> tuple[dict[str, object], int]:
    """Log what is wrong; a summary for stdout, and the exit code.

    Args:
        outcome: of the run.
        dataset: that it wrote to.
        key_file: which tells whose the refused cases are.
    """
    if outcome.splits_error:
        logger.error("splits: %s", outcome.splits_error)
    if outcome.refused:
        logger.error("%d cases were refused; %s says which patients they are", len(outcome.refused), key_file)
    summary = {"dataset": str(dataset), "written": len(outcome.written), "refused": len(outcome.refused)}
    return summary, SOME_FAILED if outcome.refused or outcome.splits_error else DONE
