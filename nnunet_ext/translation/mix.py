"""Real CT and a share of synthetic CT in one raw dataset, whose folds validate real patients alone."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nnunetv2.utilities.crossval_split import generate_crossval_split
from tqdm import tqdm

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.dataset_conversion.description import DESCRIPTION, read_description
from nnunet_ext.dataset_conversion.raw_dataset import labeled_cases, require_complete
from nnunet_ext.dataset_conversion.splits import FILE as SPLITS
from nnunet_ext.dataset_conversion.splits import FOLDS, SEED, Splits, refuse_other_splits
from nnunet_ext.files import checksum, whole_file, write_text
from nnunet_ext.synthetic import KEY, synthetic_cases

SUFFIX = "_synthetic"
RECORD = "mix"
Of = Literal["translated", "final"]


@dataclass(frozen=True)
class Mixed:
    """What was written.

    Attributes:
        dataset: its folder.
        real: cases.
        synthetic: names of synthetic cases, as they are called there.
        with_real_patient: synthetic cases whose patient is among the real ones.
    """

    dataset: Path
    real: int
    synthetic: tuple[str, ...]
    with_real_patient: tuple[str, ...]


def how_many(fraction: float, *, of: Of, translated: int, real: int) -> int:
    """Synthetic cases that a fraction stands for, rounded to the nearest.

    Reference:
        Paper 001 adds 10 to 100 % "of the generated images" and finds 50 % best; whether of those that were
        generated or of the training set it leaves open. SPEC A2.1: of those that were generated.

    Args:
        fraction: 0 to 1.
        of: the translated cases, or the final training set.
        translated: cases there are.
        real: cases.

    Raises:
        ValueError: the fraction is out of range, or more cases would be needed than there are.

    Example:
        >>> how_many(0.5, of="translated", translated=20, real=30)
        10
        >>> how_many(0.25, of="final", translated=20, real=30)
        10
    """
    if not 0 <= fraction <= 1 or (of == "final" and fraction == 1):
        raise ValueError(f"expected a fraction from 0 to 1 (below 1 of the final set), got {fraction}")
    wanted = fraction * translated if of == "translated" else real * fraction / (1 - fraction)
    number = math.floor(wanted + 0.5)
    if number > translated:
        raise ValueError(
            f"a fraction of {fraction} of the final set needs {number} synthetic cases beside {real} real "
            f"ones, got {translated}"
        )
    return number


def mixed_splits(real: Splits, synthetic: Collection[str], *, patients: Mapping[str, str]) -> Splits:
    """Splits with synthetic cases in the training sets alone, and none beside its own patient's validation.

    Args:
        real: splits of the real cases.
        synthetic: names.
        patients: of each case; one that is missing is a patient of its own.

    Example:
        >>> real = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
        >>> splits = mixed_splits(real, ["b_synthetic"], patients={"b_synthetic": "b", "b": "b"})
        >>> [split["train"] for split in splits]
        [['a'], ['b', 'b_synthetic']]
    """
    mixed = []
    for split in real:
        validated = {patients.get(case, case) for case in split["val"]}
        allowed = [case for case in synthetic if patients.get(case, case) not in validated]
        mixed.append({"train": sorted([*split["train"], *allowed]), "val": sorted(split["val"])})
    return mixed


def mix(
    real: Path,
    synthetic: Path,
    dataset: Path,
    *,
    fraction: float,
    of: Of = "translated",
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
    preprocessed_real: Path | None = None,
    preprocessed: Path | None = None,
    progress: bool = True,
) -> Mixed:
    """Write a raw dataset of all real cases and some synthetic ones, with its splits.

    Args:
        real: raw CT dataset.
        synthetic: raw dataset that ``translate apply`` or ``translate match`` wrote.
        dataset: raw dataset to write; must not exist, unless an earlier call with the same arguments was
            interrupted.
        fraction: of ``of``.
        of: what the fraction is of.
        seed: of the choice; a larger fraction with the same seed holds the cases of a smaller one.
        patients: from names of cases, in either dataset, to patients. Cases that are not named are of the
            patient that is called like them: equal names in both datasets are one patient.
        preprocessed_real: where nnU-Net may keep splits of the real dataset.
        preprocessed: where nnU-Net would keep those of the new one.
        progress: show a bar.

    Raises:
        ValueError: labels, channels or endings differ, a case cannot be placed, or the new dataset holds
            something else.
        OSError: it cannot be written.
    """
    descriptions = read_description(real), read_description(synthetic)
    _check(real, synthetic, descriptions)
    channels = len(descriptions[0]["channel_names"])
    files = [_cases(folder, channels=channels) for folder in (real, synthetic)]
    number = how_many(fraction, of=of, translated=len(files[1]), real=len(files[0]))
    chosen = sorted(np.random.default_rng(seed).permutation(sorted(files[1]))[:number].tolist())
    names = {case: case + SUFFIX for case in chosen}
    if taken := sorted(set(names.values()) & set(files[0])):
        raise ValueError(f"{real} has cases with the name of a synthetic one, such as {taken[0]}")
    known = dict(patients or {})
    of_patient = {case: known.get(case, case) for case in files[0]}
    of_patient |= {name: known.get(case, case) for case, name in names.items()}
    splits = mixed_splits(
        _splits_of(real, preprocessed_real, sorted(files[0])), sorted(names.values()), patients=of_patient
    )
    if preprocessed is not None:
        refuse_other_splits(splits, preprocessed=preprocessed)
    record = {
        "fraction": fraction,
        "of": of,
        "seed": seed,
        "synthetic": len(chosen),
        "translated": len(files[1]),
        "real": len(files[0]),
        "from": {"real": real.name, "synthetic": synthetic.name},
        "translation": descriptions[1].get("translation", {}),
    }
    _begin(dataset, record)
    copies = {case: (case, files[0][case]) for case in files[0]}
    copies |= {names[case]: (case, files[1][case]) for case in chosen}
    for name, (case, sources) in tqdm(copies.items(), desc="Copying", unit="case", disable=not progress):
        _copy(sources, case, name, dataset)
    write_text(dataset / SPLITS, json.dumps(splits, indent=4) + "\n")
    content = {
        **descriptions[0],
        "name": dataset.name,
        "numTraining": len(copies),
        KEY: sorted(names.values()),
        RECORD: record,
    }
    write_text(dataset / DESCRIPTION, json.dumps(content, indent=2) + "\n")  # last: now it is a dataset
    patients_of_real = {of_patient[case] for case in files[0]}
    shared = tuple(name for name in sorted(names.values()) if of_patient[name] in patients_of_real)
    return Mixed(dataset, len(files[0]), tuple(sorted(names.values())), shared)


def _check(real: Path, synthetic: Path, descriptions: Sequence[Mapping[str, Any]]) -> None:
    """Refuse datasets whose cases do not belong into one."""
    of_real, of_synthetic = descriptions
    for key in ("channel_names", "labels", "regions_class_order", "file_ending"):
        if _comparable(key, of_real) != _comparable(key, of_synthetic):
            raise ValueError(
                f"expected the same {key} in both, got {of_real.get(key)} in {real} and "
                f"{of_synthetic.get(key)} in {synthetic}"
            )
    if synthetic_cases(of_real):
        raise ValueError(f"{real} holds synthetic cases itself; give the dataset of real CT")
    named = synthetic_cases(of_synthetic)
    if not named:
        raise ValueError(f"{synthetic} holds no synthetic cases; nnunet_ext translate apply writes them")
    if others := sorted({case.public_name for case in labeled_cases(synthetic)} - named):
        raise ValueError(
            f"expected synthetic cases alone in {synthetic}, got {others[0]} beside them: give the dataset "
            "that translate apply or match wrote, not a mixed one"
        )


def _comparable(key: str, description: Mapping[str, Any]) -> Any:
    """nnU-Net takes "ct" for CT."""
    found = description.get(key)
    return (
        {n: str(name).casefold() for n, name in found.items()} if key == "channel_names" and found else found
    )


def _cases(dataset: Path, *, channels: int) -> dict[str, tuple[Path, ...]]:
    """Files of each case: images, then the label."""
    found = labeled_cases(dataset)
    for case in found:
        try:
            require_complete(case, channels=channels, labels=1)
        except CaseError as error:
            raise ValueError(f"{case.public_name} of {dataset}: {error}") from error
    return {case.public_name: case.files for case in found}


def _splits_of(real: Path, preprocessed: Path | None, cases: Sequence[str]) -> Splits:
    """Those that the real dataset is trained with: its own, nnU-Net's copy, or what nnU-Net would draw."""
    for folder in (preprocessed, real):
        if folder is not None and (folder / SPLITS).is_file():
            splits: Splits = json.loads((folder / SPLITS).read_text(encoding="utf-8"))
            named = {case for split in splits for part in split.values() for case in part}
            if unknown := sorted(named - set(cases)):
                raise ValueError(
                    f"{folder / SPLITS} names cases that {real} has not, such as {unknown[0]}; remove that "
                    "file, or add them"
                )
            return splits
    try:
        drawn: Splits = generate_crossval_split(list(cases), seed=SEED, n_splits=FOLDS)
    except ValueError as error:
        raise ValueError(f"five splits need five real cases, got {len(cases)}; add patients") from error
    return [{part: [str(case) for case in named] for part, named in split.items()} for split in drawn]


def _begin(dataset: Path, record: Mapping[str, Any]) -> None:
    """Say what is being mixed, or refuse a folder that holds something else."""
    file = dataset / f"{RECORD}.json"
    plain = json.loads(json.dumps(record))
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != plain:
            raise ValueError(f"{dataset} was mixed otherwise; choose another --dataset-id, or remove it")
    elif dataset.is_dir() and any(dataset.iterdir()):
        raise ValueError(f"{dataset} holds another dataset; choose another --dataset-id, or remove it")
    write_text(file, json.dumps(plain, indent=2) + "\n")


def _copy(sources: Sequence[Path], case: str, name: str, dataset: Path) -> None:
    *images, label = sources
    for folder, files in (("imagesTr", images), ("labelsTr", [label])):
        for file in files:
            target = dataset / folder / f"{name}{file.name.removeprefix(case)}"
            if target.is_file() and checksum(target) == checksum(file):
                continue
            with whole_file(target, staging=dataset) as temporary:
                shutil.copyfile(file, temporary)
