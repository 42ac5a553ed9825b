"""The out-of-fold probabilities of a trained model: found, and known to be of cases their fold never saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.evaluation.cases import label_maps
from nnunet_ext.files import checksum
from nnunet_ext.inference.model import FINAL, Fold
from nnunet_ext.refinement.outputs import Outputs


class InFoldError(ValueError):
    """Probabilities are missing, or their network may have seen the case."""


@dataclass(frozen=True)
class OutOfFoldCase:
    """Probabilities of a case by a network that never saw it, and its reference.

    Attributes:
        name: of the case.
        fold: whose network predicted it.
        probabilities: nnU-Net's ``.npz``; its ``.pkl`` lies beside it.
        reference: label map.
    """

    name: str
    fold: int
    probabilities: Path
    reference: Path

    @property
    def properties(self) -> Path:
        """nnU-Net's ``.pkl``."""
        return self.probabilities.with_suffix(".pkl")


@dataclass(frozen=True)
class Source:
    """A trained model whose folds predicted their validation cases.

    Attributes:
        folder: ``.../TRAINER__PLANS__CONFIGURATION``.
        outputs: of its network.
        folds: that are used.
        cases: by name.
    """

    folder: Path
    outputs: Outputs
    folds: tuple[int, ...]
    cases: tuple[OutOfFoldCase, ...]

    def identity(self) -> dict[str, Any]:
        """Which model this is: names, and SHA-256 of plans, labels and checkpoints."""
        trainer, plans, configuration = names_of(self.folder)
        files = ["plans.json", "dataset.json", *(f"fold_{fold}/{FINAL}" for fold in self.folds)]
        return {
            "dataset": self.outputs.plans["dataset_name"],
            "trainer": trainer,
            "plans": plans,
            "configuration": configuration,
            "sha256": {name: checksum(self.folder / name) for name in files},
        }


def names_of(folder: Path) -> tuple[str, str, str]:
    """Trainer, plans and configuration of a model's folder.

    Example:
        >>> names_of(Path("results/Dataset004_Hippocampus/nnUNetTrainer__nnUNetPlans__3d_fullres"))
        ('nnUNetTrainer', 'nnUNetPlans', '3d_fullres')
    """
    parts = folder.name.split("__")
    if len(parts) != 3:
        raise ValueError(f"expected a folder TRAINER__PLANS__CONFIGURATION, got {folder.name}")
    return parts[0], parts[1], parts[2]


def out_of_fold(folder: Path, *, preprocessed: Path, folds: Sequence[Fold] | None = None) -> Source:
    """The validation probabilities of a model's folds, checked to be out-of-fold.

    Args:
        folder: of the model, in ``nnUNet_results``.
        preprocessed: the dataset's folder in ``nnUNet_preprocessed``, with the splits and references.
        folds: to use; None takes all of the splits.

    Raises:
        InFoldError: a fold validated what it was trained on, or its probabilities are missing.
        ValueError: a file is missing, or the configuration is two-dimensional.
    """
    configuration = names_of(folder)[2]
    outputs = Outputs.of_folder(folder, configuration)
    splits = _splits(preprocessed)
    chosen = _checked_folds(splits, folds)
    cases: dict[str, OutOfFoldCase] = {}
    for fold in chosen:
        for case in _cases_of(folder, fold, splits[fold], outputs=outputs, preprocessed=preprocessed):
            if case.name in cases:
                raise InFoldError(
                    f"{case.name} is in the validation of folds {cases[case.name].fold} and {fold}: choose "
                    "folds whose validation cases differ, with --folds"
                )
            cases[case.name] = case
    return Source(folder, outputs, chosen, tuple(cases[name] for name in sorted(cases)))


def _splits(preprocessed: Path) -> list[dict[str, list[str]]]:
    file = preprocessed / "splits_final.json"
    if not file.is_file():
        raise InFoldError(
            f"expected the splits in {file}, found none: without them nobody knows which cases a fold was "
            "trained on. nnUNetv2_train writes them"
        )
    try:
        splits = json.loads(file.read_text(encoding="utf-8"))
        return [{part: [str(c) for c in split[part]] for part in ("train", "val")} for split in splits]
    except (ValueError, KeyError, TypeError) as error:
        raise InFoldError(f"{file} cannot be read ({error})") from error


def _checked_folds(splits: Sequence[Any], folds: Sequence[Fold] | None) -> tuple[int, ...]:
    if folds is not None and "all" in folds:
        raise InFoldError(
            "fold all validates the cases that it was trained on: its probabilities are better than those of "
            "any new case. Train the numbered folds"
        )
    chosen = tuple(range(len(splits))) if folds is None else tuple(sorted({int(fold) for fold in folds}))
    unknown = [fold for fold in chosen if fold >= len(splits)]
    if unknown:
        raise InFoldError(
            f"fold {unknown[0]} is not in splits_final.json, which has {len(splits)}: nnU-Net draws a random "
            "split for it, which nobody can check"
        )
    if len(chosen) < 2:
        raise ValueError(
            f"expected two folds at least, got {list(chosen)}: the refiner is judged on folds that it was "
            "not trained on"
        )
    return chosen


def _cases_of(
    folder: Path, fold: int, split: dict[str, list[str]], *, outputs: Outputs, preprocessed: Path
) -> list[OutOfFoldCase]:
    seen = sorted(set(split["train"]) & set(split["val"]))
    if seen:
        raise InFoldError(f"fold {fold} trains on cases that it validates: {_some(seen)} (splits_final.json)")
    trainer, plans, configuration = names_of(folder)
    dataset = outputs.plans["dataset_name"]
    command = f"nnUNetv2_train {dataset} {configuration} {fold} -tr {trainer} -p {plans}"
    if not (folder / f"fold_{fold}" / FINAL).is_file():
        raise InFoldError(
            f"expected {FINAL} of fold {fold} in {folder}, found none. Type: {command} --npz; or choose "
            "--folds"
        )
    validation = folder / f"fold_{fold}" / "validation"
    there = {file.stem for file in validation.glob("*.npz")}
    others = sorted(there - set(split["val"]))
    if others:
        trained = sorted(set(others) & set(split["train"]))
        which = f"which it was trained on: {_some(trained)}" if trained else f"of no split: {_some(others)}"
        raise InFoldError(
            f"{validation} holds probabilities of cases that are not in the validation of fold {fold}, "
            f"{which}. The splits changed after the training, or files were copied: remove them, and train "
            "the fold again if its split changed"
        )
    _refuse_earlier_splits(validation, split, fold=fold, file_ending=outputs.file_ending)
    missing = sorted(set(split["val"]) - there)
    if missing:
        raise InFoldError(
            f"{len(missing)} validation cases of fold {fold} have no probabilities: {_some(missing)}. Type: "
            f"{command} --val --npz"
        )
    references = preprocessed / "gt_segmentations"
    return [
        OutOfFoldCase(case, fold, validation / f"{case}.npz", references / f"{case}{outputs.file_ending}")
        for case in split["val"]
    ]


def _refuse_earlier_splits(
    validation: Path, split: dict[str, list[str]], *, fold: int, file_ending: str
) -> None:
    """Label maps stay from a validation under other splits, which the fold was trained under."""
    validated = set(label_maps(validation, file_ending)) if validation.is_dir() else set()
    trained = sorted(validated & set(split["train"]))
    if trained:
        raise InFoldError(
            f"{validation} holds label maps of {_some(trained)}, which fold {fold} trains on by "
            "splits_final.json: it validated them under other splits, and may have been trained on what it "
            "validates now. Train the fold again, or put back the splits that it was trained with"
        )


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def identity_differences(expected: dict[str, Any], sha256: dict[str, str]) -> list[str]:
    """Files of a model that are not those a refiner was trained with.

    Args:
        expected: :meth:`Source.identity`.
        sha256: of the files of the model that predicts.

    Example:
        >>> identity_differences({"sha256": {"plans.json": "a"}}, {"plans.json": "b"})
        ['plans.json']
    """
    known = expected["sha256"]
    return [name for name, digest in sha256.items() if known.get(name) != digest]
