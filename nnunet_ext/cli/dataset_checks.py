"""Checks of the datasets: may left and right be mixed up?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from nnunet_ext.cli.checks import Check, command
from nnunet_ext.laterality import laterality_of, pairs_by_name, record_line, spelled

FOLDERS = ("nnUNet_preprocessed", "nnUNet_raw")
VANILLA = "nnU-Net's own trainer mirrors every axis. Use ours, or train without mirroring:" + command(
    "-tr nnUNetTrainerNoMirroring"
)


def check_datasets(environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Which datasets have left and right, and who keeps them apart?

    Args:
        environment: the environment variables.

    Returns:
        One check for each dataset that records a laterality, or whose labels look like one without a record;
        the others need none.
    """
    return tuple(check for file in _descriptions(environment) for check in _check(file))


def _descriptions(environment: Mapping[str, str]) -> Iterator[Path]:
    """``dataset.json`` of each dataset once; training reads the preprocessed one."""
    seen: set[str] = set()
    for variable in FOLDERS:
        folder = Path(environment.get(variable) or "/nonexistent")
        for file in sorted(folder.glob("Dataset[0-9]*/dataset.json")):
            if file.parent.name not in seen:
                seen.add(file.parent.name)
                yield file


def _check(file: Path) -> Iterator[Check]:
    name = file.parent.name
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        laterality = laterality_of(description)
        labels = list(description["labels"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"{file} cannot be read ({error!r})."
        yield Check(name, "warning", found, "Correct it before you plan or train this dataset.")
        return
    if laterality is not None:
        found = f"has left and right ({laterality.summary}); our trainers keep them apart."
        yield Check(name, "warning", found, VANILLA)
        return
    looks = pairs_by_name(labels)
    if looks:
        shown = spelled(looks[:3]) + (f" and {len(looks) - 3} more" if len(looks) > 3 else "")
        yield Check(
            name,
            "warning",
            f"has labels that look like left and right, and no record of it: {shown}.",
            f"Add to {file}, with the left-right axis of the image array as nnU-Net reads it, (z, y, x):"
            f"{command(record_line(looks))}\n{VANILLA}",
        )
