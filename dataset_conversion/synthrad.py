"""SynthRAD 2023 and 2025, Task 1: what the converters of its CT and its MR share (SPEC D10)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from nnunet_ext.dataset_conversion.declaration import Converter, Label, Option, Options, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.volume_cases import file_of, files_below, read_pair, with_numbers

from nnunet_ext.clinical_io import CaseError

LABELS = (Label("body"),)
# SPEC D10: of 1BA001 the 1 is the task, B the region, A the center; regions of 2025 have two letters.
REGIONS = {"brain": "B", "pelvis": "P", "abdomen": "AB", "head-neck": "HN", "thorax": "TH"}
REFERENCE = "Thummerer et al., SynthRAD2023, arXiv 2303.16320; SynthRAD2025, arXiv 2502.17609"
REGION = Option(
    "--region",
    {"choices": (*REGIONS, "all"), "default": "all", "help": "cases of one region of the body only (all)"},
    may_differ=True,
)
_FILE = re.compile(r"(?:ct|mr|mask)\.(?:nii\.gz|mha)")


def converter(modality: Literal["CT", "MR"]) -> Converter:
    """The converter of one half of the pairs."""
    return Converter(
        name=f"synthrad-{modality.lower()}",
        title=f"SynthRAD_{modality}",
        summary=f"SynthRAD 2023 and 2025, Task 1: the {modality} of pairs of CT and MR (paper 001)",
        channels=(modality,),
        labels=LABELS,
        discover=discover,
        read=partial(read, modality=modality, partner="MR" if modality == "CT" else "CT"),
        options=(REGION,),
        reference=REFERENCE,
    )


def discover(source: Path, options: Options) -> Sequence[SourceCase]:
    """Every folder of Task 1 that is called like a case of the region.

    Raises:
        ValueError: there is no such folder.
    """
    wanted = options[REGION.name]
    letters = "|".join(REGIONS.values()) if wanted == "all" else REGIONS[wanted]
    name = re.compile(rf"1(?:{letters})[A-Z]\d{{3}}")
    cases: dict[Path, list[Path]] = {}
    for file in files_below(source):
        if _FILE.fullmatch(file.name) and name.fullmatch(file.parent.name):
            cases.setdefault(file.parent, []).append(file)
    return [
        SourceCase(source=folder.name, folder=folder, files=tuple(files), public_name=folder.name)
        for folder, files in sorted(cases.items(), key=lambda case: case[0].name)
    ]


def read(case: SourceCase, options: Options, *, modality: str, partner: str) -> ReadCase:
    """One image of a pair with the outline of the body; a new patient need be no pair."""
    found = read_pair(case, image=f"{modality.lower()}.*", label="mask.*", channel=modality)
    if case.is_training and file_of(case, f"{partner.lower()}.*") is None:
        raise CaseError(
            "missing-channel",
            reason=f"the case has no {partner}: it is no pair",
            remedy="add it, or leave the case out",
        )
    return with_numbers(found, {1: 1})
