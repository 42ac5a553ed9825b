"""Entry point of the command ``nnunet_ext``: reads the verb, imports that verb's module and runs it.

A verb is a module with standard library imports only at its top level and two functions:
``add_arguments(parser) -> None`` and ``run(args) -> int``, which returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import nnunet_ext

DONE = 0
SOME_CASES_FAILED = 1
WRONG_USAGE = 2
# 128 + the signal's number, as shells report a program that SIGINT or SIGPIPE ended.
INTERRUPTED = 130
READER_GONE = 141

EXIT_CODES = """\
exit codes:
  0  done
  1  some cases failed; the others were done
  2  wrong usage, or an environment in which the verb cannot work
"""
# Of verbs that take no cases; those that do say what a case is to them.
_WITHOUT_CASES = "exit code: 0 done, 2 wrong usage or environment\n"


@dataclass(frozen=True)
class Verb:
    """One verb of the command.

    Attributes:
        name: what the user types.
        module: module with ``add_arguments`` and ``run``.
        summary: one line for ``--help``.
    """

    name: str
    module: str
    summary: str


VERBS: tuple[Verb, ...] = (
    Verb("trainers", "nnunet_ext.cli.trainers", "list our trainers and how their names compose"),
    Verb("doctor", "nnunet_ext.cli.doctor", "check that nnU-Net finds our trainers, and name what is wrong"),
    Verb("activate", "nnunet_ext.cli.activate", "let nnU-Net find our trainers from every shell"),
    Verb("deactivate", "nnunet_ext.cli.deactivate", "undo activate"),
    Verb("plan", "nnunet_ext.cli.plan", "plan a dataset for one of our networks, by traced memory"),
    Verb("convert", "nnunet_ext.cli.convert", "clinical data to a verified nnU-Net raw dataset"),
    Verb(
        "prepare",
        "nnunet_ext.cli.prepare",
        "couch and mask removal, N4, registration, for all cases alike",
    ),
    Verb("translate", "nnunet_ext.cli.translate", "MRI becomes CT to train on: a CycleGAN, its controls"),
    Verb("predict", "nnunet_ext.cli.predict", "predict in bounded memory, with both stages of a cascade"),
    Verb("refine", "nnunet_ext.cli.refine", "learn from a model's errors how structures lie, and correct"),
    Verb("export-model", "nnunet_ext.cli.export_model", "a model in one file, with what it predicts with"),
    Verb("export", "nnunet_ext.cli.export", "predicted labels to RTSTRUCT on the original DICOM series"),
    Verb("evaluate", "nnunet_ext.cli.evaluate", "every metric of the papers, with named definitions"),
    Verb("render", "nnunet_ext.cli.render", "a case as a picture, its structures as STL or PLY"),
    Verb("benchmark", "nnunet_ext.cli.benchmark", "trainers against vanilla nnU-Net, fairly"),
    Verb("demo", "nnunet_ext.cli.demo", "the whole job on synthetic patients, DICOM to DICOM, on a CPU"),
    Verb("phantom", "nnunet_ext.cli.phantom", "write synthetic patients in a clinic's layout"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments after the command's name; None reads them from ``sys.argv``.

    Returns:
        0 done, 1 some cases failed, 2 wrong usage or environment, 130 after Ctrl-C, 141 where the reader of
        our output went away (``nnunet_ext trainers | head``).

    Example:
        >>> main(["trainers", "--no-such-option"])
        2
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Results go to stdout, progress and complaints to stderr: programs that read the results see only them.
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # it announces its threads
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return READER_GONE
    return code


def build_parser(typed_verb: str | None = None) -> tuple[argparse.ArgumentParser, Callable[..., int] | None]:
    """The parser of the command, complete for one verb.

    Args:
        typed_verb: verb whose module is imported and whose arguments are declared; None imports none.

    Returns:
        The parser and the verb's ``run``, None where no verb of ours was typed.
    """
    parser = argparse.ArgumentParser(
        prog="nnunet_ext",
        description="Trainers for an unmodified nnU-Net v2. Train and predict with nnU-Net's own commands; "
        "this command does what nnU-Net has no command for.",
        epilog=EXIT_CODES + "\nnnunet_ext VERB --help explains a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # A foreign package installed over ours has no version; `doctor` has to run there all the same.
    version = getattr(nnunet_ext, "__version__", "(version unknown)")
    parser.add_argument("--version", action="version", version=f"nnunet_ext {version}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    run: Callable[..., int] | None = None
    for verb in VERBS:
        verb_parser = subparsers.add_parser(
            verb.name,
            help=verb.summary,
            epilog=_WITHOUT_CASES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if verb.name == typed_verb:
            module = importlib.import_module(verb.module)
            verb_parser.description = (module.__doc__ or verb.summary).strip()
            module.add_arguments(verb_parser)
            run = module.run
    return parser, run


def _run(arguments: Sequence[str]) -> int:
    # The options in front of a verb take no value, so the first other word is the verb.
    typed_verb = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser, run = build_parser(typed_verb)
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit as leaving:  # argparse leaves after --help, --version and its own complaints
        return leaving.code if isinstance(leaving.code, int) else DONE
    if run is None:
        parser.print_help(sys.stderr)
        return WRONG_USAGE
    return run(parsed)


def _silence_stdout() -> None:
    """Keep Python from writing to the closed pipe once more when it exits."""
    with suppress(OSError, ValueError):  # stdout may be no real file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
