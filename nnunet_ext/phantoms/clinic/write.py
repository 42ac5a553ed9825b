"""Writes phantoms as their clinics keep patients, with the truth beside and defects where they are wanted."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.files import write_text
from nnunet_ext.phantoms.clinic.anatomies import Anatomy, anatomy_of, motion_of
from nnunet_ext.phantoms.clinic.case import Staged
from nnunet_ext.phantoms.clinic.catalog import CLINICS, DEFECTS, clinic_of, require_defects
from nnunet_ext.phantoms.clinic.clinics import DAMAGE, LAYOUTS
from nnunet_ext.phantoms.dataset import case_seed

logger = logging.getLogger(__name__)

CLINIC, UNSEEN, TRUTH, RECORD = "clinic", "unseen", "truth", "phantom.json"
_STAGING = ".writing-"


@dataclass(frozen=True)
class WrittenCase:
    """One case on disk.

    Attributes:
        name: what the converter calls it, or the name of its folder, which is the patient's number.
        folder: where its files are; cases of a challenge share one.
        seed: the seed that made the patient.
        defect: what is wrong with it, "" for nothing.
        truth: NIfTI file of the label as it must come out, in the phantoms' frame.
    """

    name: str
    folder: Path
    seed: int
    defect: str
    truth: Path


def write_clinic(
    name: str,
    *,
    out: Path,
    cases: int,
    seed: int,
    unseen_cases: int = 0,
    modality: str | None = None,
    misaligned: bool = False,
    size_vox: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    defects: Sequence[str] = (),
    progress: bool = False,
) -> tuple[WrittenCase, ...]:
    """Write the patients of a phantom as its clinic keeps them.

    ``out/clinic`` is what a converter reads: a folder for each patient with DICOM and RTSTRUCT (liver-target,
    brain-oar), with one PNG a slice (lower-limb) or with a label volume (coronary-cta), ImageCAS (coronary)
    or MM-WHS (whole-heart).
    ``out/unseen`` holds further patients in the same way, as they come once a model is trained.
    ``out/truth`` holds the label of every case, ``out/phantom.json`` what was asked for and, once
    ``complete`` is true, what was written. A case appears when all of it is there. The same arguments give
    the same bytes; patients are those of ``write_liver_target_dataset`` with the same seed.

    Args:
        name: liver-target, coronary, coronary-cta, whole-heart, lower-limb or brain-oar.
        out: folder to write; made if missing. One that holds anything else of this is refused.
        cases: number of cases, >= 1.
        seed: whole number >= 0; the patient of a case depends on it and on the case's number.
        unseen_cases: number of further cases, numbered after the others.
        modality: CT or MR, for whole-heart alone; None is CT.
        misaligned: for brain-oar alone: the head lies otherwise in the MR than in the CT, on other grids.
        size_vox: voxels (z, y, x) of the first channel; None takes what the clinic's scanner has.
        spacing_mm: voxel size (z, y, x) in mm; None takes the clinic's.
        defects: names of :data:`~nnunet_ext.phantoms.clinic.catalog.DEFECTS`; the first case gets the first,
            and so on, so that cases after the last defect are whole.
        progress: show a progress bar on stderr.

    Returns:
        The cases, in order, the unseen ones last.

    Raises:
        ValueError: an argument is outside its range, a defect cannot be planted, or the folder holds
            something else.
        TypeError: a whole number was expected.
        OSError: a file could not be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (case,) = write_clinic(
        ...         "lower-limb", out=Path(folder), cases=1, seed=1, size_vox=(16, 48, 48),
        ...         defects=["flipped-png"],
        ...     )
        ...     case.name, case.defect, len(list(case.folder.rglob("*.png")))
        ('PHANTOM-0001', 'flipped-png', 16)
    """
    clinic = clinic_of(name, modality=modality)
    require_defects(defects, clinic=clinic)
    most = LAYOUTS[clinic].most_cases
    _check_numbers(cases=cases, unseen_cases=unseen_cases, seed=seed, defects=defects, most=most)
    anatomy = anatomy_of(clinic, size_vox=size_vox, spacing_mm=spacing_mm, misaligned=misaligned)
    record = _record(anatomy, cases=cases, unseen_cases=unseen_cases, seed=seed, defects=defects)
    out = Path(out)
    _refuse_other_content(out, record)
    for left in out.glob(f"{_STAGING}*"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    _save_record(out, record, complete=False, written={})
    written, about = [], {}
    for number in _with_progress(cases + unseen_cases, clinic=clinic, progress=progress):
        defect = defects[number - 1] if number <= len(defects) else ""
        own_seed = case_seed(seed, number=number - 1)
        case = _write_case(
            anatomy,
            out,
            place=CLINIC if number <= cases else UNSEEN,
            number=number,
            seed=own_seed,
            defect=defect,
            another=len(defects) + 1,
        )
        written.append(case)
        about[case.name] = _about(case, misaligned=misaligned)
    _save_record(out, record, complete=True, written=about)
    logger.info("wrote %d cases of %s to %s", len(written), clinic, out)
    return tuple(written)


def _write_case(
    anatomy: Anatomy, out: Path, *, place: str, number: int, seed: int, defect: str, another: int
) -> WrittenCase:
    """Write a case out of sight, damage it, and move it to its place."""
    layout = LAYOUTS[anatomy.clinic]
    name = layout.name_of(number)
    staging = Path(tempfile.mkdtemp(dir=out, prefix=_STAGING))
    try:
        staged = Staged(
            case=anatomy.make(number=number, seed=seed),
            folder=staging / name,
            truth=staging / f"{name}.nii.gz",
            layout=layout,
            another=another,
        )
        write_image(staged.case.label, staged.truth)
        layout.write(staged.case, staged.folder)
        if defect:
            DAMAGE[anatomy.clinic][defect](staged)
        folder, truth = out / place / layout.folder_of(number), out / TRUTH / staged.truth.name
        truth.parent.mkdir(exist_ok=True)
        os.replace(staged.truth, truth)
        _move(staged.folder, folder, is_own=layout.has_own_folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return WrittenCase(name=name, folder=folder, seed=seed, defect=defect, truth=truth)


def _move(staged: Path, folder: Path, *, is_own: bool) -> None:
    """Move a case to its place: as one folder where it has one, else file by file."""
    if is_own:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # of the same case, written before
        os.rename(staged, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(staged.iterdir()):
        os.replace(file, folder / file.name)


def _check_numbers(*, cases: int, unseen_cases: int, seed: int, defects: Sequence[str], most: int) -> None:
    if index(seed) < 0:
        raise ValueError(f"seed must be a whole number >= 0, got {seed}")
    least = max(1, len(defects) + ("shared-patient" in defects))
    if not least <= index(cases) <= most:
        why = ""
        if least > 1:
            why = "; every defect needs a case, and shared-patient a whole one beside it"
        raise ValueError(f"cases must be a whole number from {least} to {most}, got {cases}{why}")
    if not 0 <= index(unseen_cases) <= most - cases:
        raise ValueError(f"unseen_cases must be a whole number from 0 to {most - cases}, got {unseen_cases}")


def _record(
    anatomy: Anatomy, *, cases: int, unseen_cases: int, seed: int, defects: Sequence[str]
) -> dict[str, Any]:
    return {
        "clinic": anatomy.clinic,
        "converter": CLINICS[anatomy.clinic],
        "seed": index(seed),
        "cases": index(cases),
        "unseen_cases": index(unseen_cases),
        "size_vox": list(anatomy.size_vox),
        "spacing_mm": list(anatomy.spacing_mm),
        "misaligned": anatomy.misaligned,
        "defects": list(defects),
    }


def _about(case: WrittenCase, *, misaligned: bool) -> dict[str, Any]:
    about: dict[str, Any] = {"seed": case.seed}
    if misaligned:
        motion = motion_of(case.seed)
        about["motion_zyx"] = {"turn_deg": motion.turn_deg, "shift_mm": motion.shift_mm}
    if case.defect:
        about |= {"defect": case.defect, "refused_as": DEFECTS[case.defect].expected}
    return about


def _save_record(out: Path, record: Mapping[str, Any], *, complete: bool, written: Mapping[str, Any]) -> None:
    content = {"asked": record, "complete": complete, "written": written}
    write_text(out / RECORD, json.dumps(content, indent=2) + "\n")


def _refuse_other_content(out: Path, record: Mapping[str, Any]) -> None:
    """Raise ValueError if the folder holds anything that these cases would mix with or replace."""
    found: object = "none"
    if (out / RECORD).is_file():
        try:
            found = json.loads((out / RECORD).read_text(encoding="utf-8"))["asked"]
        except (ValueError, KeyError, TypeError):
            found = "something else"
    elif not any((out / place).exists() for place in (CLINIC, UNSEEN, TRUTH)):
        return
    if found != record:
        raise ValueError(
            f"{out} holds other phantoms: expected those of {dict(record)}, found {found}. Choose another "
            "folder, or remove that one first."
        )


def _with_progress(cases: int, *, clinic: str, progress: bool) -> Iterator[int]:
    """Numbers of the cases, with a progress bar on stderr if wanted."""
    from tqdm import tqdm

    # None: tqdm is silent where stderr is no terminal, so that log files stay readable.
    yield from tqdm(range(1, cases + 1), desc=clinic, unit="case", disable=None if progress else True)
