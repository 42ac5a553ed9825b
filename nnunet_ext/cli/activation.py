"""Makes the hook permanent for one Python environment: a ``.pth`` file that extends nnUNet_extTrainer.

Python runs the ``import`` lines of the ``.pth`` files in its site-packages at every start, so nnU-Net's
commands and their spawned workers find our trainers without any line in a shell's start file.
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_ext.cli.hook_variable import VARIABLE, export_line
from nnunet_ext.files import write_text
from nnunet_ext.trainers.registry import hook_folder

FILE_NAME = "nnunet_ext_activation.pth"

# The `.pth` line. An expression and no statements, for `.pth` files run line by line; `os` is an argument
# because a lambda run by exec() does not see what the line imported. Our folder is appended, so other teams'
# folders keep their precedence, and a folder that is gone (package uninstalled) is not.
_LINE = (
    "import os; (lambda os, name, folder: os.path.isdir(folder)"
    " and folder not in os.environ.get(name, '').split(os.pathsep)"
    " and os.environ.update({{name: os.pathsep.join(filter(None, (os.environ.get(name), folder)))}})"
    ")(os, {name}, {folder})\n"
)


@dataclass(frozen=True)
class Activation:
    """What activating or deactivating did.

    Attributes:
        action: what happened to the file.
        file: the ``.pth`` file.
        folder: the hook folder that the file adds, or added.
    """

    action: Literal["activated", "already active", "updated", "deactivated", "not active"]
    file: Path
    folder: Path


def activation_file(site_folder: Path | None = None) -> Path:
    """Where the ``.pth`` file of this Python environment is or would be.

    Args:
        site_folder: folder whose ``.pth`` files Python runs; None takes this environment's site-packages.
    """
    return (site_folder or Path(sysconfig.get_path("purelib"))) / FILE_NAME


def activate(site_folder: Path | None = None) -> Activation:
    """Write the ``.pth`` file; a file that is up to date is left alone.

    Args:
        site_folder: folder whose ``.pth`` files Python runs; None takes this environment's site-packages.

    Returns:
        What was done.

    Raises:
        RuntimeError: the file cannot be written.
    """
    file, folder = activation_file(site_folder), hook_folder()
    # ascii(): Python before 3.13 reads .pth files in the locale's encoding, which may be any.
    line = _LINE.format(name=ascii(VARIABLE), folder=ascii(str(folder)))
    try:
        existing = file.read_text(encoding="ascii", errors="replace") if file.exists() else None
        if existing == line:
            return Activation("already active", file, folder)
        write_text(file, line)
    except OSError as error:
        raise RuntimeError(
            f"{file} cannot be written ({_reason(error)}). Activate for this shell instead, or put "
            f"the line into your shell's start file:\n    {export_line()}"
        ) from error
    return Activation("activated" if existing is None else "updated", file, folder)


def deactivate(site_folder: Path | None = None) -> Activation:
    """Remove the ``.pth`` file; without one nothing is done.

    Args:
        site_folder: folder whose ``.pth`` files Python runs; None takes this environment's site-packages.

    Returns:
        What was done.

    Raises:
        RuntimeError: the file cannot be removed.
    """
    file, folder = activation_file(site_folder), hook_folder()
    try:
        file.unlink()
    except FileNotFoundError:
        return Activation("not active", file, folder)
    except OSError as error:
        raise RuntimeError(
            f"{file} cannot be removed ({_reason(error)}). Remove it as the user who installed this Python "
            "environment, or ask its administrator."
        ) from error
    return Activation("deactivated", file, folder)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
