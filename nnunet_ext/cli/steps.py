"""Runs the steps of a longer job as child processes: echoed, logged, marked when finished, resumed later."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from nnunet_ext.cli.hook_variable import entries
from nnunet_ext.cli.workplace import Workplace
from nnunet_ext.commands import CPU_SETTINGS, run_logged


class StepFailedError(RuntimeError):
    """A step's command ended with an exit code other than 0, or its work could not be done."""


def nnunet_environment(
    workplace: Workplace, *, hook: Path, inherited: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Variables for nnU-Net's commands: its folders in the workplace, few processes, our hook.

    Args:
        workplace: where nnU-Net's three folders go.
        hook: folder of our trainers; put in front of those that ``nnUNet_extTrainer`` names already.
        inherited: variables of this process; nnU-Net's own are dropped so that they change nothing, ours
            (``nnUNet_ext_...``) are kept.

    Returns:
        The variables that a user has to export to run the same commands, and the whole environment of
        the children.

    Example:
        >>> exports, _ = nnunet_environment(
        ...     Workplace(Path("/demo")), hook=Path("/hook"), inherited={"nnUNet_extTrainer": "/theirs"}
        ... )
        >>> exports["nnUNet_extTrainer"]
        '/hook:/theirs'
    """
    hooks = [str(hook), *entries(inherited)]
    exports = {
        "nnUNet_raw": str(workplace.raw),
        "nnUNet_preprocessed": str(workplace.preprocessed),
        "nnUNet_results": str(workplace.results),
        "nnUNet_extTrainer": os.pathsep.join(dict.fromkeys(hooks)),
        # A process imports nnU-Net for itself, which takes longer than all of these small cases.
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "2",
    }
    kept = {
        key: value
        for key, value in inherited.items()
        if not key.startswith("nnUNet_") or key.startswith("nnUNet_ext_")
    }
    return exports, {**CPU_SETTINGS, **kept, **exports, "PYTHONUNBUFFERED": "1"}


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside it this process has these variables, as if the user had exported them before typing a verb.

    Example:
        >>> with exported({"nnUNet_raw": "/demo/raw"}):
        ...     os.environ["nnUNet_raw"]
        '/demo/raw'
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_command(
    command: Sequence[str],
    *,
    step: str,
    log: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run one command to its end; its output goes to ``log`` and, line by line, to ``on_line``.

    Args:
        command: program and arguments.
        step: name of the step, for messages.
        log: file for stdout and stderr, overwritten.
        environment: all variables of the child.
        on_line: called with every line, for progress.

    Raises:
        EnvironmentProblemError: the program does not exist.
        StepFailedError: it ended with another exit code than 0.
    """
    code = run_logged(command, log=log, environment=environment, on_line=on_line).code
    if code != 0:
        raise StepFailedError(
            f"step {step!r} failed: {command[0]} ended with exit code {code}. Its output is in {log}. "
            "Put right what its last lines name, then run the same command again: finished steps are kept."
        )


def run_verb(words: Sequence[str], *, step: str) -> None:
    """Run a verb of ours in this process; what it prints is not shown, what it logs is.

    Args:
        words: the verb and its arguments.
        step: name of the step, for messages.

    Raises:
        StepFailedError: it ended with another exit code than 0.
        KeyboardInterrupt: it was interrupted.

    Example:
        >>> run_verb(["trainers", "--path"], step="look")
    """
    from nnunet_ext.cli.main import INTERRUPTED, main

    with redirect_stdout(io.StringIO()):
        code = main(words)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise StepFailedError(f"step {step!r} failed: nnunet_ext {words[0]} ended with exit code {code}")
