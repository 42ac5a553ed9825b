"""What all trainings of a benchmark share on disk: plans, preprocessed data, splits."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nnunet_ext.evaluation.benchmark.matrix import Matrix
from nnunet_ext.files import write_text

DECLARATION = "benchmark.json"
SPLITS = "splits_final.json"
# What makes two trainings comparable; the rest of a benchmark may grow.
_FIXED = ("dataset", "budget", "precision")
_FOLDS_OF_NNUNET = 5


def check_inputs(matrix: Matrix, *, preprocessed: Path) -> None:
    """Raise where a training could not begin, with the command to type.

    Args:
        matrix: the benchmark.
        preprocessed: nnU-Net's folder of preprocessed datasets.

    Raises:
        ValueError: plans, a configuration, its data or a fold is missing.
        OSError: something cannot be read.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    dataset = preprocessed / matrix.dataset
    if not dataset.is_dir():
        raise ValueError(f"expected {dataset}; type nnUNetv2_plan_and_preprocess -d {matrix.dataset}")
    stages: dict[str, str | None] = {}
    for plans, configuration in dict.fromkeys((arm.plans, arm.configuration) for arm in matrix.arms):
        file = dataset / f"{plans}.json"
        if not file.is_file():
            raise ValueError(f"expected {file}; type {_planning(matrix.dataset, plans)}")
        manager = PlansManager(str(file))
        if configuration not in manager.available_configurations:
            known = ", ".join(manager.available_configurations)
            raise ValueError(f"expected the configuration {configuration} in {file}, got {known}")
        data = dataset / manager.get_configuration(configuration).data_identifier
        if not data.is_dir():
            raise ValueError(
                f"expected {data}; type nnUNetv2_preprocess -d {matrix.dataset} -plans_name {plans} -c "
                f"{configuration}"
            )
        stages[configuration] = manager.get_configuration(configuration).previous_stage_name
    splits = dataset / SPLITS
    folds = _FOLDS_OF_NNUNET
    if splits.is_file():
        folds = len(json.loads(splits.read_text(encoding="utf-8")))
    if max(matrix.folds) >= folds:
        raise ValueError(
            f"folds: there are {folds}, got fold {max(matrix.folds)}, for which nnU-Net would draw a random "
            "split"
        )
    for configuration, before in stages.items():
        if before is not None and (before not in stages or len(matrix.folds) < folds):
            raise ValueError(
                f"{configuration} goes on from predictions of {before} for every case: expected the "
                f"configurations {before} and {configuration} on all {folds} folds, got "
                f"{', '.join(matrix.configurations)} on {len(matrix.folds)}"
            )


def keep_declaration(matrix: Matrix, *, root: Path, preprocessed: Path) -> None:
    """Write down what the benchmark is, or refuse one that cannot be compared with what lies there.

    A benchmark may grow by trainers, plans, folds and repeats.

    Raises:
        ValueError: dataset, budget, precision, splits or plans differ from those of an earlier run.
        OSError: the folder cannot be written.
    """
    content = {"matrix": asdict(matrix), "sha256": fingerprints(matrix, preprocessed=preprocessed)}
    file = root / DECLARATION
    if file.is_file():
        before = json.loads(file.read_text(encoding="utf-8"))
        for name in _FIXED:
            if before["matrix"][name] != content["matrix"][name]:
                raise ValueError(
                    f"{root} holds a benchmark with {name} {before['matrix'][name]!r}, got "
                    f"{content['matrix'][name]!r}: they cannot be compared. Choose another folder"
                )
        for name, checksum in before["sha256"].items():
            if content["sha256"].get(name, checksum) != checksum:
                raise ValueError(
                    f"{name} of {matrix.dataset} has changed since this benchmark began: its trainings "
                    "cannot be compared with new ones. Put the old file back, or choose another folder than "
                    f"{root}"
                )
        content["sha256"] = before["sha256"] | content["sha256"]
    write_text(file, json.dumps(content, indent=2) + "\n")


def declared(root: Path) -> Matrix:
    """The benchmark of a folder.

    Raises:
        OSError: there is none.
    """
    from nnunet_ext.evaluation.benchmark.matrix import matrix_from

    return matrix_from(json.loads((root / DECLARATION).read_text(encoding="utf-8"))["matrix"])


def fingerprints(matrix: Matrix, *, preprocessed: Path) -> dict[str, str]:
    """SHA-256 of the splits and of all plans that are there, by file name."""
    names = [SPLITS, *(f"{plans}.json" for plans in dict.fromkeys(arm.plans for arm in matrix.arms))]
    files = {name: preprocessed / matrix.dataset / name for name in names}
    return {n: hashlib.sha256(f.read_bytes()).hexdigest() for n, f in files.items() if f.is_file()}


def _planning(dataset: str, plans: str) -> str:
    """The command that makes plans of that name."""
    known: dict[str, Any] = {f"nnUNetResEncUNet{size}Plans": f"nnUNetPlannerResEnc{size}" for size in "ML"}
    known["nnUNetResEncUNetXLPlans"] = "nnUNetPlannerResEncXL"
    if plans in known:
        return f"nnUNetv2_plan_and_preprocess -d {dataset} -pl {known[plans]}"
    return f"nnUNetv2_plan_and_preprocess -d {dataset}, or the command that makes {plans}"
