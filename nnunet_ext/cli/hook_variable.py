"""nnU-Net's variable for folders with trainers: what it holds and how our folder gets into it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

VARIABLE = "nnUNet_extTrainer"
_OURS = "$(nnunet_ext trainers --path)"


def entries(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The folders that nnU-Net searches for trainers, in its order.

    Args:
        environment: the environment variables.

    Returns:
        The entries of ``nnUNet_extTrainer``, blank ones left out as nnU-Net does; empty where it is unset.

    Example:
        >>> entries({"nnUNet_extTrainer": os.pathsep.join(["a", "", "b"])})
        ('a', 'b')
    """
    return tuple(entry for entry in environment.get(VARIABLE, "").split(os.pathsep) if entry.strip())


def same_folder(entry: str, folder: Path) -> bool:
    """True where an entry of the variable names ``folder``, through symbolic links too."""
    return Path(entry).resolve() == folder.resolve()


def export_line() -> str:
    """The shell line that adds our folder to the variable and keeps what is there.

    Returns:
        A line for PowerShell on Windows, for sh, bash and zsh elsewhere.
    """
    if os.name == "nt":
        return f'$env:{VARIABLE} = "{_OURS}{os.pathsep}$env:{VARIABLE}"'
    return f'export {VARIABLE}="{_OURS}${{{VARIABLE}:+{os.pathsep}${VARIABLE}}}"'


def replace_line(kept: Sequence[str]) -> str:
    """The shell line that sets the variable to our folder, then the folders to keep.

    Args:
        kept: other teams' folders.

    Returns:
        A line for PowerShell on Windows, for sh, bash and zsh elsewhere.
    """
    prefix = f"$env:{VARIABLE} = " if os.name == "nt" else f"export {VARIABLE}="
    return f'{prefix}"{os.pathsep.join((_OURS, *kept))}"'
