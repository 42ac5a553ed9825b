"""The demo's ends: patients in DICOM to nnU-Net raw, and predictions to RTSTRUCT, with verbs of ours."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from nnunet_ext.cli.demo_recipe import Recipe
from nnunet_ext.cli.steps import StepFailedError, run_verb
from nnunet_ext.cli.workplace import Say, Workplace
from nnunet_ext.phantoms.clinic.write import CLINIC, TRUTH, UNSEEN

CONVERTER = "liver-target"
DATASET = "Dataset004_LiverTarget"
DATASET_ID = 4
SEED = 4


def write_patients(workplace: Workplace, *, recipe: Recipe, say: Say) -> None:
    """Write the patients as their hospital keeps them."""
    words = ["phantom", "liver-target", "--layout", "clinic", "--cases", str(recipe.cases)]
    words += ["--test-cases", str(recipe.test_cases), "--seed", str(SEED)]
    words += ["--size-vox", *(str(n) for n in recipe.size_vox)]
    words += ["--spacing-mm", *(f"{mm:g}" for mm in recipe.spacing_mm), "--out", str(workplace.patients)]
    say(f"\n[1/6] a hospital's DICOM: {recipe.cases} patients to learn from, {recipe.test_cases} unseen")
    _run_verbs("phantom", [words], workplace=workplace, say=say)


def convert_patients(workplace: Workplace, *, say: Say) -> None:
    """DICOM and RTSTRUCT to nnU-Net raw: first those to learn from, then the unseen ones."""
    words = ["convert", CONVERTER, str(workplace.patients / CLINIC), "--dataset-id", str(DATASET_ID)]
    new = ["convert", CONVERTER, str(workplace.patients / UNSEEN), "--like", str(DATASET_ID)]
    for each in (words, new):
        each += ["--out", str(workplace.raw), "--key", str(_key_file(workplace))]
    say("\n[2/6] to nnU-Net raw: every case is checked, and nothing of its patient is kept")
    _run_verbs("convert", [words, new], workplace=workplace, say=say)


def export_structures(workplace: Workplace, *, say: Say) -> None:
    """Write what was predicted as RTSTRUCT on each patient's series."""
    commands = []
    for case, patient in _unseen_patients(workplace).items():
        structures = workplace.structures / f"{patient.name}.dcm"
        words = ["export", str(workplace.predictions / f"{case}.nii.gz"), str(patient)]
        words += ["--key", str(_key_file(workplace)), "--out", str(structures)]
        commands.append(words)
    say("\n[6/6] back to the hospital: RTSTRUCT on each patient's own series")
    _run_verbs("export", commands, workplace=workplace, say=say)


def truth_of_unseen(workplace: Workplace) -> dict[str, Path]:
    """The unseen cases of the dataset, and the file with the phantom's own label of each.

    Raises:
        StepFailedError: the key file, which knows whose case it is, is missing or something else.
    """
    truth = workplace.patients / TRUTH
    return {case: truth / f"{folder.name}.nii.gz" for case, folder in _unseen_patients(workplace).items()}


def _run_verbs(step: str, commands: Sequence[Sequence[str]], *, workplace: Workplace, say: Say) -> None:
    """Echo verbs of ours, and run them one after the other."""
    for words in commands:
        say(f"$ nnunet_ext {shlex.join(words)}")

    def work() -> None:
        for words in commands:
            run_verb(words, step=step)

    workplace.run_once(step, work=work, say=say)


def _key_file(workplace: Workplace) -> Path:
    return workplace.keys / f"{DATASET}.json"


def _unseen_patients(workplace: Workplace) -> dict[str, Path]:
    """The unseen cases of the dataset, and the folder of the patient that each of them is."""
    from nnunet_ext.dataset_conversion.key_file import KeyFile

    folder = workplace.patients / UNSEEN
    try:
        key = KeyFile.read(_key_file(workplace))
    except (OSError, ValueError) as error:
        raise StepFailedError(f"the key file of the demo cannot be read: {error}; use --fresh") from error
    sources = {case: Path(about["source"]) for case, about in sorted(key.cases.items())}
    return {case: folder / path.name for case, path in sources.items() if path.is_relative_to(folder)}
