"""Let nnU-Net find our trainers in every shell of this Python environment, without an export line.

Writes one file into site-packages that appends the hook folder to nnUNet_extTrainer whenever this Python
starts, and keeps the folders that are there. `nnunet_ext deactivate` removes it.
"""

from __future__ import annotations

import argparse
import json
import logging

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the file, say what was done and how to undo it; 2 where it cannot be written."""
    from nnunet_ext.cli.activation import activate

    try:
        done = activate()
    except RuntimeError as error:
        _log.error("%s", error)
        return 2
    undo = "nnunet_ext deactivate"
    if args.json:
        report = {"action": done.action, "file": str(done.file), "folder": str(done.folder), "undo": undo}
        print(json.dumps(report))
        return 0
    print(f"{done.action}: {done.file}")
    print(f"Every Python process started from now on appends {done.folder} to nnUNet_extTrainer.")
    print(f"To undo: {undo}")
    return 0
