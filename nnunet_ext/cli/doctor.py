"""Check that nnU-Net finds our trainers on this machine, and say what to do where it does not.

Looks every trainer up in a fresh process, as nnU-Net's commands do, with the environment of this shell, and
checks nnU-Net's version, variables and folders, torch, the GPU and torch.compile. Takes about ten seconds.
Exits with 2 where a check fails; warnings do not count.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import textwrap
from collections.abc import Mapping
from dataclasses import asdict

import nnunet_ext
from nnunet_ext.cli.checks import Check, check_folders, check_hook_variable
from nnunet_ext.cli.dataset_checks import check_datasets
from nnunet_ext.cli.fresh_checks import (
    check_look_up,
    check_nnunet,
    check_package_name,
    check_torchvision,
)
from nnunet_ext.cli.fresh_process import FreshProcess, look_up_in_fresh_process
from nnunet_ext.cli.hardware_checks import check_hardware
from nnunet_ext.trainers.registry import TRAINERS

_WIDTH = 100
_INDENT = " " * 10
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")


def run(args: argparse.Namespace) -> int:
    """Print every check; 0 where none failed, 2 otherwise."""
    _log.info("Looking trainers up in a fresh process, as nnU-Net does ...")
    checks = examine(os.environ)
    failures = sum(check.status == "failure" for check in checks)
    if args.json:
        report = {
            "version": getattr(nnunet_ext, "__version__", None),
            "failures": failures,
            "checks": [asdict(check) for check in checks],
        }
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_as_text(check) for check in checks))
        warnings = sum(check.status == "warning" for check in checks)
        print(f"\n{len(checks)} checks, {failures} failed, {warnings} with a warning")
    return 2 if failures else 0


def names_to_look_up() -> tuple[str, ...]:
    """Every trainer of ours, and one name that is composed."""
    return (*(trainer.name for trainer in TRAINERS), f"{TRAINERS[0].name}_5epochs")


def examine(environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Make every check.

    Args:
        environment: the environment variables that nnU-Net would see.

    Returns:
        The checks, in the order in which a reader repairs things.
    """
    try:
        fresh = look_up_in_fresh_process(names_to_look_up(), environment=environment)
    except RuntimeError as error:
        remedy = "See the other checks. Where all are ok, try `python -c 'import torch, nnunetv2'`."
        failed = Check("fresh process", "failure", f"{error}.", remedy)
        return (*check_hook_variable(environment), failed, *check_folders(environment))
    return checks_of(fresh, environment=environment)


def checks_of(fresh: FreshProcess, *, environment: Mapping[str, str]) -> tuple[Check, ...]:
    """Every check, given what a fresh process found.

    Args:
        fresh: its report.
        environment: the environment variables that it ran with.
    """
    torchvision_works = not fresh.torchvision.error
    look_ups = tuple(
        check_look_up(look_up, environment=environment, torchvision_works=torchvision_works)
        for look_up in fresh.look_ups
    )
    return (
        check_nnunet(fresh),
        *check_package_name(fresh),
        check_torchvision(fresh),
        *check_hook_variable(environment),
        *look_ups,
        *check_folders(environment),
        *check_datasets(environment),
        *check_hardware(fresh.torch_facts, environment=environment),
    )


def _as_text(check: Check) -> str:
    lines = _wrapped(f"{check.status:<8}  {check.name}: {check.found}")
    for line in check.remedy.splitlines():
        # Lines to type are not wrapped: they are copied.
        lines += [_INDENT + line] if line.startswith(" ") else _wrapped(_INDENT + line)
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False
    )
