"""The verb ``demo``: the whole job on phantoms, from DICOM to DICOM, on a CPU."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

DESCRIPTION = """\
From a clinic's DICOM to DICOM: write synthetic patients as a hospital keeps them, convert them, train RAS
U-Net (paper 004) on them, segment unseen patients and write the structures for their planning system, with
nnU-Net's own commands where it has them. Ends with a Dice table and a picture. Needs no data and no GPU.
Every command is shown as you can type it. An interrupted demo continues where it was.
"""
EPILOG = """\
example:
  nnunet_ext demo --out demo

exit code: 0 done, 1 a step failed, 2 wrong usage or environment
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["--size", "tiny"]).size
        'tiny'
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="folder for everything (./demo)"
    )
    parser.add_argument(
        "--size",
        choices=("tiny", "full"),
        default="full",
        help="full learns, tiny only runs every step (full)",
    )
    parser.add_argument("--fresh", action="store_true", help="start over instead of continuing")
    parser.add_argument("--json", action="store_true", help="result as JSON on stdout, the rest on stderr")


def run(args: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    from nnunet_ext.cli.demo_pipeline import run_demo
    from nnunet_ext.cli.steps import StepFailedError
    from nnunet_ext.commands import EnvironmentProblemError

    def say(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    try:
        with _termination_unwinds():
            result = run_demo(out=args.out, size=args.size, fresh=args.fresh, say=say)
    except EnvironmentProblemError as error:
        logger.error("demo: %s", error)
        return 2
    except StepFailedError as error:
        logger.error("demo: %s", error)
        return 1
    if args.json:
        print(json.dumps(result, indent=2))
    return 0


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Inside, SIGTERM and a closed terminal end the program by way of every ``finally``.

    nnU-Net's commands run in sessions of their own and would otherwise go on without us.
    """

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    # A signal that is ignored (nohup) stays ignored.
    names = ("SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    replaced = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)
