"""Writes phantoms as an nnU-Net raw dataset: every file appears whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.files import write_text
from nnunet_ext.phantoms.phantom import Phantom

logger = logging.getLogger(__name__)

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class _Case:
    """One case to write: its seed and the files that hold image and label, relative to the dataset."""

    seed: int
    image: Path
    label: Path


def write_raw_dataset(
    *,
    make: Callable[[int], Phantom],
    out: Path,
    title: str,
    prefix: str,
    labels: Mapping[str, int],
    cases: int,
    test_cases: int,
    dataset_id: int,
    seed: int,
    record: Mapping[str, Any],
    progress: bool = True,
) -> Path:
    """Write ``cases`` + ``test_cases`` CT phantoms below ``out`` and return the dataset's folder.

    ``dataset.json`` is written last and holds, under ``phantom``, what made the dataset. Writing the same
    dataset again leaves equal bytes; a folder that holds another one is refused.

    Args:
        make: gives the phantom of a seed.
        out: folder of nnU-Net raw datasets; made if missing.
        title: name of the dataset after ``DatasetNNN_``.
        prefix: start of the case names.
        labels: nnU-Net's labels, name to value.
        cases: number of training cases, >= 1.
        test_cases: number of unseen cases, >= 0.
        dataset_id: 1 to 999.
        seed: whole number >= 0 from which the seeds of the cases are drawn.
        record: what else decides the dataset, JSON values; seed and numbers of cases are added.
        progress: show a progress bar on stderr.

    Returns:
        ``out/DatasetNNN_title``.

    Raises:
        ValueError: a number is outside its range, or the folder holds something else.
        OSError: a file could not be written.

    Example:
        >>> write_raw_dataset(  # doctest: +ELLIPSIS
        ...     make=lambda seed: None, out=Path("."), title="T", prefix="t", labels={}, cases=0,
        ...     test_cases=0, dataset_id=1, seed=0, record={},
        ... )
        Traceback (most recent call last):
        ValueError: cases must be a whole number >= 1, got 0
    """
    for name, value, lowest in (("cases", cases, 1), ("test_cases", test_cases, 0)):
        if value < lowest:
            raise ValueError(f"{name} must be a whole number >= {lowest}, got {value}")
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"dataset_id must be a whole number from 1 to 999, got {dataset_id}")
    folder = Path(out) / f"Dataset{dataset_id:03d}_{title}"
    plan = list(_plan(prefix=prefix, seed=seed, cases=cases, test_cases=test_cases))
    full_record = {**record, "seed": seed, "cases": cases, "test_cases": test_cases}
    _refuse_other_content(folder, plan=plan, record=full_record)
    for case in _with_progress(plan, title=title, progress=progress):
        phantom = make(case.seed)
        write_volume(phantom.image, path=folder / case.image, spacing_mm=phantom.spacing_mm)
        write_volume(phantom.label, path=folder / case.label, spacing_mm=phantom.spacing_mm)
    description = {
        "channel_names": {"0": "CT"},
        "labels": dict(labels),
        "numTraining": cases,
        "file_ending": FILE_ENDING,
        "name": title,
        "description": "Synthetic patients; no clinical data.",
        "phantom": full_record,
    }
    write_text(folder / "dataset.json", json.dumps(description, indent=2) + "\n")
    logger.info("wrote %d training and %d unseen cases to %s", cases, test_cases, folder)
    return folder


def case_seed(seed: int, *, number: int, unseen: bool = False) -> int:
    """The seed of one patient of a dataset, whatever layout the dataset is written in.

    One stream for training cases and one for unseen ones: more training cases leave the unseen ones as they
    are.

    Args:
        seed: of the dataset, whole number >= 0.
        number: of the case, from 0.
        unseen: whether the case is among the unseen ones.

    Example:
        >>> case_seed(1, number=0) == case_seed(1, number=0, unseen=True)
        False
    """
    (state,) = np.random.SeedSequence((seed, int(unseen), number)).generate_state(1)
    return int(state)


def write_volume(array: NDArray[Any], *, path: Path, spacing_mm: tuple[float, float, float]) -> None:
    """Write one volume with SimpleITK; ``path`` appears only when the file is whole.

    Args:
        array: (Z, Y, X) array of a type that NIfTI knows.
        path: where; the folder is made if missing; the ending picks SimpleITK's writer.
        spacing_mm: voxel size (z, y, x) in mm. Origin is 0 and direction the identity.

    Raises:
        OSError: the file could not be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.nii.gz"
        ...     write_volume(np.zeros((1, 2, 3), np.uint8), path=path, spacing_mm=(3.0, 1.0, 1.0))
        ...     path.is_file()
        True
    """
    import SimpleITK

    from nnunet_ext.clinical_io.volumes import write_image

    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])  # SimpleITK counts (x, y, z)
    write_image(image, path, staging=path.parent.parent)


def _plan(*, prefix: str, seed: int, cases: int, test_cases: int) -> Iterator[_Case]:
    """The cases of a dataset, training cases first."""
    for split, (suffix, number) in enumerate((("Tr", cases), ("Ts", test_cases))):
        for i in range(number):
            # Distinct names, so that no case name stands for two patients.
            name = f"{prefix}_unseen_{i:03d}" if split else f"{prefix}_{i:03d}"
            yield _Case(
                seed=case_seed(seed, number=i, unseen=bool(split)),
                image=Path(f"images{suffix}") / f"{name}_0000{FILE_ENDING}",
                label=Path(f"labels{suffix}") / f"{name}{FILE_ENDING}",
            )


def _refuse_other_content(folder: Path, *, plan: list[_Case], record: Mapping[str, Any]) -> None:
    """Raise ValueError if ``folder`` holds anything that this dataset would mix with or replace."""
    description = folder / "dataset.json"
    if description.is_file():
        try:
            found = json.loads(description.read_text(encoding="utf-8")).get("phantom")
        except ValueError:
            found = "a file that is not JSON"
        if found != dict(record):
            raise ValueError(
                f"{folder} holds another dataset: expected {dict(record)}, found {found}. "
                "Choose another folder or dataset id, or remove that folder first."
            )
    expected = {path for case in plan for path in (case.image, case.label)}
    present = {
        p.relative_to(folder)
        for s in ("Tr", "Ts")
        for k in ("images", "labels")
        for p in (folder / f"{k}{s}").glob("*")
    }
    if strangers := sorted(str(p) for p in present - expected):
        raise ValueError(
            f"{folder} holds {len(strangers)} files that are not part of this dataset, such as "
            f"{strangers[0]}. Choose another folder or dataset id, or remove that folder first."
        )


def _with_progress(plan: list[_Case], *, title: str, progress: bool) -> Iterator[_Case]:
    """The cases, with a progress bar on stderr if wanted."""
    from tqdm import tqdm

    # None: tqdm is silent where stderr is no terminal, so that log files stay readable.
    yield from tqdm(plan, desc=title, unit="case", disable=None if progress else True)
