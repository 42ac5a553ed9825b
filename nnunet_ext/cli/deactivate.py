"""Undo `nnunet_ext activate`: remove the file that it wrote into site-packages.

A line in your shell's start file that sets nnUNet_extTrainer is yours and stays.
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
    """Remove the file and say so; 2 where it cannot be removed."""
    from nnunet_ext.cli.activation import deactivate

    try:
        done = deactivate()
    except RuntimeError as error:
        _log.error("%s", error)
        return 2
    if args.json:
        print(json.dumps({"action": done.action, "file": str(done.file), "folder": str(done.folder)}))
    else:
        print(f"{done.action}: {done.file}")
    return 0
