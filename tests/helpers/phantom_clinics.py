"""Phantoms written as clinics, the smallest that show everything, and what ``convert`` makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import SimpleITK
from nnunet_ext.dataset_conversion.registry import converter

from nnunet_ext.cli.main import main
from nnunet_ext.phantoms.clinic.anatomies import Anatomy, anatomy_of
from nnunet_ext.phantoms.clinic.case import ClinicCase
from nnunet_ext.phantoms.clinic.catalog import CLINICS
from nnunet_ext.phantoms.clinic.write import CLINIC, WrittenCase, write_clinic
from nnunet_ext.preparation import Preparation, write_preparation

SIZES: Mapping[str, tuple[int, int, int]] = {
    "liver-target": (14, 28, 30),
    "coronary": (20, 48, 50),
    "coronary-cta": (20, 48, 50),
    "whole-heart-ct": (16, 32, 34),
    "whole-heart-mr": (16, 32, 34),
    "lower-limb": (16, 48, 50),
    "brain-oar": (24, 64, 66),
}
SPACINGS_MM: Mapping[str, tuple[float, float, float] | None] = {
    **dict.fromkeys(SIZES),
    "liver-target": (14.0, 12.0, 11.5),
}
# Whom a test that is not about anatomies shows in every case: drawing one takes a second.
ONE_SEED = 11


@dataclass(frozen=True)
class Converted:
    """A clinic and the dataset that came of it.

    Attributes:
        cases: what was written as the clinic.
        dataset: folder of the dataset.
        names: from the clinic's name of a case to the dataset's.
        report: what ``conversion_report.json`` says of each case of the dataset.
        code: exit code.
    """

    cases: tuple[WrittenCase, ...]
    dataset: Path
    names: Mapping[str, str]
    report: Mapping[str, Mapping[str, Any]]
    code: int

    def about(self, case: WrittenCase) -> Mapping[str, Any]:
        """What the report says of a case."""
        return self.report[self.names[case.name]]

    def label(self, case: WrittenCase) -> SimpleITK.Image:
        """The label that was written of a case."""
        return SimpleITK.ReadImage(str(self.dataset / "labelsTr" / f"{self.names[case.name]}.nii.gz"))

    def image(self, case: WrittenCase, channel: int = 0) -> SimpleITK.Image:
        """A channel that was written of a case."""
        name = f"{self.names[case.name]}_{channel:04d}.nii.gz"
        return SimpleITK.ReadImage(str(self.dataset / "imagesTr" / name))


def phantom_of(clinic: str) -> dict[str, str | None]:
    """The arguments of ``write_clinic`` that name a clinic."""
    name, _, modality = clinic.partition("heart-")
    return {"name": f"{name}heart" if modality else name, "modality": modality.upper() or None}


def write_small(clinic: str, out: Path, **arguments: Any) -> tuple[WrittenCase, ...]:
    """``write_clinic`` on the small grid."""
    own = {"size_vox": SIZES[clinic], "spacing_mm": SPACINGS_MM[clinic], "cases": 1, "seed": 1}
    phantom = phantom_of(clinic)
    return write_clinic(phantom["name"] or "", out=out, modality=phantom["modality"], **(own | arguments))


def write_alike(clinic: str, out: Path, **arguments: Any) -> tuple[WrittenCase, ...]:
    """The same, with one anatomy in all cases; whose they are differs."""
    with patch.object(Anatomy, "make", _make_alike):
        return write_small(clinic, out, **arguments)


def anatomy(clinic: str, *, number: int, seed: int) -> ClinicCase:
    """A case in memory, on the small grid."""
    found = anatomy_of(clinic, size_vox=SIZES[clinic], spacing_mm=SPACINGS_MM[clinic])
    return found.make(number=number, seed=seed)


def convert(clinic: str, out: Path, cases: Sequence[WrittenCase], *, prepared: bool = False) -> Converted:
    """Run ``nnunet_ext convert`` on what was written to ``out``.

    Args:
        clinic: which.
        out: as it was given to ``write_clinic``.
        cases: what that returned.
        prepared: do what the converter does of its own accord; otherwise voxels stay as they are.
    """
    name = CLINICS[clinic]
    arguments = ["--dataset-id", "7", "--out", str(out / "raw"), "--key", str(out / "key.json"), "--no-pbar"]
    asked = converter(name).preparation
    if asked is not None and not prepared:
        nothing = Preparation(channels=asked.channels, label_channel=asked.label_channel, steps=())
        write_preparation(nothing, out / "nothing.json")
        arguments += ["--preparation", str(out / "nothing.json")]
    code = main(["convert", name, str(out / CLINIC), *arguments])
    dataset = out / "raw" / f"Dataset007_{converter(name).title}"
    key = json.loads((out / "key.json").read_text())["cases"]
    by_source = {entry["source"]: case for case, entry in key.items()}
    names = {c.name: c.name if c.name in key else by_source[c.name] for c in cases}
    report = json.loads((dataset / "conversion_report.json").read_text())["cases"]
    return Converted(tuple(cases), dataset, names, report, code)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


@cache
def _one(whose: Anatomy) -> ClinicCase:
    return _MAKE(whose, number=1, seed=ONE_SEED)


def _make_alike(whose: Anatomy, *, number: int, seed: int) -> ClinicCase:
    return replace(_one(whose), number=number, seed=seed)


_MAKE = Anatomy.make
