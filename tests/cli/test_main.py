"""The command's frame: verbs, exit codes, lazy imports, Ctrl-C and broken pipes."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import ModuleType

import pytest

import nnunet_ext
from nnunet_ext.cli import main as command
from nnunet_ext.cli.main import VERBS, Verb, main

HEAVY = ("torch", "numpy", "nnunetv2", "SimpleITK", "matplotlib", "scipy")


def modules_after(arguments: list[str]) -> set[str]:
    """Names of the modules that a fresh process has loaded after ``main(arguments)``."""
    code = (
        "import io, json, sys; from contextlib import redirect_stdout\n"
        "from nnunet_ext.cli.main import main\n"
        f"with redirect_stdout(io.StringIO()): code = main({arguments!r})\n"
        "print(json.dumps([code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    exit_code, names = json.loads(done.stdout)
    assert exit_code == 0
    return set(names)


@pytest.mark.parametrize("arguments", [["--help"], ["trainers"], ["trainers", "--path"], ["--version"]])
def test_answers_without_importing_anything_heavy(arguments: list[str]) -> None:
    assert modules_after(arguments).isdisjoint(HEAVY)


def test_help_imports_no_verb() -> None:
    assert modules_after(["--help"]).isdisjoint(verb.module for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_of_a_verb_imports_nothing_heavy(verb: Verb) -> None:
    assert modules_after([verb.name, "--help"]).isdisjoint(HEAVY)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_keeps_the_contract(verb: Verb) -> None:
    module = importlib.import_module(verb.module)
    assert module.__doc__
    module.add_arguments(ArgumentParser())
    assert callable(module.run)


def test_help_lists_every_verb_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert f"    {verb.name}" in shown
        assert verb.summary in shown
    for line in ("0  done", "1  some cases failed", "2  wrong usage"):
        assert line in shown


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_of_a_verb_names_its_own_exit_codes(verb: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb.name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "exit code" in shown
    assert "2 wrong usage" in shown
    if verb.name in ("trainers", "doctor", "activate", "deactivate"):
        assert "cases" not in shown.partition("exit code")[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nnunet_ext {nnunet_ext.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["doctr"], ["trainers", "--nope"], ["trainers", "--path", "--json"]]
)
def test_wrong_usage_exits_with_2_and_leaves_stdout_empty(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: nnunet_ext" in shown.err


def plant_verb(monkeypatch: pytest.MonkeyPatch, *, result: int | BaseException) -> None:
    def run(args: Namespace) -> int:
        if isinstance(result, BaseException):
            raise result
        return result

    module = ModuleType("planted_verb")
    module.__dict__.update(add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(sys.modules, "planted_verb", module)
    monkeypatch.setattr(command, "VERBS", (Verb("planted", "planted_verb", "for this test"),))


@pytest.mark.parametrize("code", [0, 1, 2])
def test_exit_code_is_the_verbs(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_verb(monkeypatch, result=code)
    assert main(["planted"]) == code


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plant_verb(monkeypatch, result=KeyboardInterrupt())
    assert main(["planted"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_verb(monkeypatch, result=ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(["planted"])


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX shells")
def test_closed_pipe_leaves_no_traceback() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed_pipe:
        done = subprocess.run(
            [sys.executable, "-m", "nnunet_ext", "trainers"],
            stdout=closed_pipe,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 141
    assert done.stderr == ""


def test_runs_as_a_module_and_by_its_path_past_a_foreign_package(tmp_path: Path) -> None:
    foreign = tmp_path / "nnunet_ext"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("")
    ours = Path(nnunet_ext.__file__).parent
    by_path = subprocess.run(
        [sys.executable, str(ours), "trainers", "--path"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    as_module = subprocess.run(
        [sys.executable, "-m", "nnunet_ext", "trainers", "--path"],
        capture_output=True,
        text=True,
        cwd=tmp_path.parent,
    )
    assert by_path.stdout == as_module.stdout == f"{ours.resolve() / 'hook'}\n"
