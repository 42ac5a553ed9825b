"""Five splits in which no patient stands on both sides."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

FOLDS = 5
SEED = 12345  # nnU-Net's own
FILE = "splits_final.json"

Splits = list[dict[str, list[str]]]


def grouped_splits(patients: Mapping[str, str], *, if_shared: str = "") -> Splits:
    """Splits as nnU-Net reads them; every case is in one validation set, with all others of its patient.

    Patients are dealt out in random order, those with most cases first, each to the fold that has fewest.

    Args:
        patients: from the name of each training case to its patient.
        if_shared: what else to do about too few patients, where several cases are of one.

    Returns:
        Five splits, the same for the same cases and patients, whatever the patients are called; none where
        there is no case.

    Raises:
        ValueError: fewer than five patients.

    Example:
        >>> splits = grouped_splits({f"c{i}": f"p{i // 2}" for i in range(10)})
        >>> [len(split["val"]) for split in splits]
        [2, 2, 2, 2, 2]
    """
    cases: dict[str, list[str]] = {}
    for case in sorted(patients):
        cases.setdefault(patients[case], []).append(case)
    if 0 < len(cases) < FOLDS:
        remedies = ["add patients", "train with fold all"]
        if if_shared and len(cases) < len(patients):
            remedies.insert(0, if_shared)
        raise ValueError(
            f"five splits need five patients, got {len(cases)} with {len(patients)} cases; "
            + ", or ".join(remedies)
        )
    if not cases:
        return []
    # By the first case of each, so that hashes of patients decide nothing.
    order = sorted(cases.values())
    shuffled = [order[i] for i in np.random.RandomState(SEED).permutation(len(order))]
    folds: list[list[str]] = [[] for _ in range(FOLDS)]
    for group in sorted(shuffled, key=len, reverse=True):
        min(folds, key=len).extend(group)
    return [
        {"train": sorted(set(patients) - set(fold)), "val": sorted(fold)}
        for fold in sorted(folds, key=lambda f: min(f))
    ]


def splits_kept(dataset: Path, cases: Collection[str]) -> Splits:
    """The splits of another dataset without the cases that were refused; none where it has none.

    Args:
        dataset: which knows which cases are one patient.
        cases: training cases that there are now.

    Raises:
        ValueError: nothing is left to train on, or to validate.
        OSError: they cannot be read.
    """
    file = dataset / FILE
    if not file.exists():
        return []
    found: Splits = json.loads(file.read_text(encoding="utf-8"))
    splits = [{part: [c for c in named if c in cases] for part, named in split.items()} for split in found]
    for fold, split in enumerate(splits):
        if not all(split.values()):
            raise ValueError(
                f"in fold {fold} of {file} no case is left to train on or to validate; add cases, or give "
                "that dataset other splits"
            )
    return splits


def refuse_other_splits(splits: Splits, *, preprocessed: Path) -> None:
    """Raise where the preprocessed dataset has other splits, which nnU-Net would go on using.

    Raises:
        ValueError: with the command to type.
    """
    existing = preprocessed / FILE
    if existing.is_file() and json.loads(existing.read_text(encoding="utf-8")) != splits:
        raise ValueError(
            f"{existing} holds other splits than this dataset. Models trained with them have seen other "
            f"patients. To go on with the new ones:\n    rm '{existing}'"
        )
