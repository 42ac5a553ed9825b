"""Checks of the environment that need no fresh process: nnU-Net's variables and folders."""

from __future__ import annotations

import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.cli.activation import activation_file
from nnunet_ext.cli.hook_variable import VARIABLE, entries, export_line, replace_line, same_folder
from nnunet_ext.trainers import registry
from nnunet_ext.trainers.registry import hook_folder

Status = Literal["ok", "warning", "failure"]
FOLDER_VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@dataclass(frozen=True)
class Check:
    """One thing that ``doctor`` looked at.

    Attributes:
        name: what was looked at.
        status: "warning" where work goes on with a drawback, "failure" where it does not.
        found: what is there.
        remedy: what to do; "" where nothing is to be done. Lines to type are indented.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


def command(line: str) -> str:
    """A line to type, as a remedy shows it."""
    return f"\n    {line}"


def check_hook_variable(environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Does nnUNet_extTrainer name our hook folder, and what else does it name?

    Args:
        environment: the environment variables.

    Returns:
        One check of our folder, and one of each other entry that is in the way.
    """
    named, ours = entries(environment), hook_folder()
    others = [entry for entry in named if not same_folder(entry, ours)]
    kept = other_teams_folders(environment)
    repair = f"Type, and put it into your shell's start file:{command(replace_line(kept))}"
    if not named:
        return (_unset(environment),)
    if len(others) == len(named):
        reasons = "; ".join(f"{entry} {_why_wrong(entry) or 'is not our hook folder'}" for entry in others)
        found = f"nnU-Net does not find our trainers, because {VARIABLE} does not name {ours}: {reasons}."
        return (Check(VARIABLE, "failure", found, repair),)
    position = min(index for index, entry in enumerate(named) if same_folder(entry, ours))
    checks = [Check(VARIABLE, "ok", f"names our hook folder {ours}{_and_others(kept)}{_activated()}")]
    if not Path(named[position]).is_absolute():
        found = f"{named[position]} is a relative path: nnU-Net finds our trainers from this folder only."
        checks = [Check(VARIABLE, "warning", found, repair)]
    for index, entry in enumerate(named):
        reason = "" if entry not in others else _why_wrong(entry)
        if not reason:
            continue
        # nnU-Net skips folders that do not exist and stops at the first folder that has the name.
        harmless = not Path(entry).exists() or index > position
        checks.append(Check(VARIABLE, "warning" if harmless else "failure", f"{entry} {reason}.", repair))
    return tuple(checks)


def other_teams_folders(environment: Mapping[str, str]) -> list[str]:
    """The entries of nnUNet_extTrainer that are not ours and that nnU-Net can search: those to keep.

    Args:
        environment: the environment variables.
    """
    ours = hook_folder()
    return [entry for entry in entries(environment) if not same_folder(entry, ours) and not _why_wrong(entry)]


def _unset(environment: Mapping[str, str]) -> Check:
    found = "is not set, so nnU-Net does not find our trainers."
    if VARIABLE in environment:
        found = (
            "is set but empty, so nnU-Net does not find our trainers. A shell gives it so where the command "
            "nnunet_ext in the export line was not on the PATH."
        )
    remedy = (
        f"Type, and put it into your shell's start file:{command(export_line())}\n"
        f"or, once for every shell that uses this Python:{command('nnunet_ext activate')}"
    )
    return Check(VARIABLE, "failure", found, remedy)


def _why_wrong(entry: str) -> str:
    """Why an entry of the variable can be no folder for nnU-Net to search; "" for another team's folder."""
    path = Path(entry)
    if not path.exists():
        tilde = " (~ is not expanded inside the variable; write $HOME)" if entry.startswith("~") else ""
        return f"does not exist{tilde}"
    if not path.is_dir():
        return "is a file, not a folder"
    folder, package = path.resolve(), hook_folder().parent
    twice = "nnU-Net would import our classes a second time under wrong names, and they would not pickle"
    if folder == Path(registry.__file__).resolve().parent:
        return f"is the folder of our trainer classes, not the hook folder: {twice}"
    if folder == package or package in folder.parents:
        return f"is our package, not the hook folder in it: {twice}"
    if folder == Path(sysconfig.get_path("purelib")).resolve() or (folder / "nnunet_ext").is_dir():
        return "holds whole packages, and nnU-Net would import every module in it"
    return ""


def _and_others(kept: list[str]) -> str:
    return f", beside {', '.join(kept)}" if kept else ""


def _activated() -> str:
    file = activation_file()
    return f"; `nnunet_ext activate` keeps it there ({file})" if file.exists() else ""


def check_folders(environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Are nnU-Net's three folders named, there and writable?

    Args:
        environment: the environment variables.

    Returns:
        One check for each folder.
    """
    return tuple(_check_folder(name, environment.get(name)) for name in FOLDER_VARIABLES)


def _check_folder(variable: str, value: str | None) -> Check:
    if not value:
        found = "is not set; nnU-Net's commands need it."
        return Check(variable, "failure", found, f"Type:{command(f'export {variable}=/path/to/{variable}')}")
    folder = Path(value)
    if not folder.exists():
        remedy = f"Correct the path, or make the folder:{command(f'mkdir -p {value!r}')}"
        return Check(variable, "failure", f"{folder} does not exist.", remedy)
    if not folder.is_dir():
        return Check(
            variable, "failure", f"{folder} is a file, not a folder.", f"Set {variable} to a folder."
        )
    reason = why_not_writable(folder)
    if not reason:
        return Check(variable, "ok", str(folder))
    found = f"{folder} cannot be written to ({reason})."
    if variable == "nnUNet_raw":
        # Planning and training only read raw data, which hospitals often share read-only.
        return Check(
            variable, "warning", found, "Training works; converting a new dataset to nnU-Net does not."
        )
    remedy = f"Ask for write permission, or set {variable} to a folder of your own."
    return Check(variable, "failure", found, remedy)


def why_not_writable(folder: Path) -> str:
    """Why no file can be made in ``folder``; "" where one can.

    A file is made and removed: permission bits say nothing about root, read-only mounts and network drives.
    """
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".nnunet_ext_doctor_"):
            return ""
    except OSError as error:
        return error.strerror or str(error)
