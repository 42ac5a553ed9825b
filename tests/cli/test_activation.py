"""`nnunet_ext activate` and `deactivate`, in a real second Python environment."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from nnunet_ext.trainers.registry import hook_folder

from nnunet_ext.cli import activation
from nnunet_ext.cli.activation import FILE_NAME, activate, activation_file, deactivate
from nnunet_ext.cli.hook_variable import VARIABLE, export_line, replace_line
from nnunet_ext.cli.main import main

# Prints the variable as a spawned worker sees it, which imports this script anew.
WORKER_SCRIPT = f"""
import multiprocessing, os
def show(): print(os.environ.get({VARIABLE!r}))
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=show)
    worker.start()
    worker.join()
"""


class Environment:
    """A Python environment in a folder, and its site-packages."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=os.name != "nt")
        paths = sysconfig.get_paths("venv", vars={"base": str(folder), "platbase": str(folder)})
        self.site_folder = Path(paths["purelib"])
        self.scripts = Path(paths["scripts"])
        self.python = self.scripts / ("python.exe" if os.name == "nt" else "python")

    def run(self, *command: str, variable: str | None = None) -> str:
        """Run this environment's Python and return what it printed."""
        environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
        if variable is not None:
            environment[VARIABLE] = variable
        done = subprocess.run([str(self.python), *command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # Python complains there about a .pth line that fails
        return done.stdout.strip()

    def variable(self, variable: str | None = None) -> str:
        """nnUNet_extTrainer as a process of this environment sees it."""
        return self.run("-c", f"import os; print(os.environ.get({VARIABLE!r}))", variable=variable)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture
def active(environment: Environment) -> Environment:
    activate(environment.site_folder)
    return environment


@pytest.fixture
def inactive(environment: Environment) -> Environment:
    deactivate(environment.site_folder)
    return environment


def test_sets_the_variable_where_it_is_unset(inactive: Environment) -> None:
    assert inactive.variable() == "None"
    done = activate(inactive.site_folder)
    assert (done.action, done.folder) == ("activated", hook_folder())
    assert inactive.variable() == inactive.variable(variable="") == str(hook_folder())


def test_appends_and_keeps_what_is_there(active: Environment) -> None:
    other = os.pathsep.join(["/another team", "/third"])
    assert active.variable(other) == os.pathsep.join([other, str(hook_folder())])


def test_adds_nothing_that_is_there(active: Environment) -> None:
    included = os.pathsep.join([str(hook_folder()), "/another"])
    assert active.variable(included) == included


def test_reaches_spawned_workers_once(active: Environment, tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER_SCRIPT)
    assert active.run(str(script)) == str(hook_folder())


@pytest.mark.skipif(os.name == "nt", reason="console scripts are programs there")
def test_reaches_console_scripts(active: Environment) -> None:
    script = active.scripts / "nnUNetv2_pretended"
    script.write_text(f"#!{active.python}\nimport os\nprint(os.environ.get({VARIABLE!r}))\n")
    script.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    assert subprocess.check_output([script], env=environment, text=True).strip() == str(hook_folder())


def test_does_nothing_where_the_package_is_gone(
    inactive: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(activation, "hook_folder", lambda: tmp_path / "uninstalled" / "hook")
    activate(inactive.site_folder)
    assert inactive.variable() == "None"
    assert inactive.variable("/another") == "/another"


@pytest.mark.parametrize("name", ["with space and 'quote\"", "Klinik für Strahlen", "back\\slash {brace}"])
def test_every_folder_name_survives(
    name: str, inactive: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(activation, "hook_folder", lambda: folder)
    activate(inactive.site_folder)
    assert inactive.run("-X", "utf8", "-c", f"import os; print(ascii(os.environ[{VARIABLE!r}]))") == ascii(
        str(folder)
    )


def test_is_idempotent_and_follows_a_moved_package(
    inactive: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(activation, "hook_folder", lambda: tmp_path)
        assert activate(inactive.site_folder).action == "activated"
    assert activate(inactive.site_folder).action == "updated"
    written = activation_file(inactive.site_folder).stat()
    assert activate(inactive.site_folder).action == "already active"
    assert activation_file(inactive.site_folder).stat().st_mtime_ns == written.st_mtime_ns
    assert inactive.variable() == str(hook_folder())


def test_deactivate_removes_it_and_is_idempotent(active: Environment) -> None:
    assert deactivate(active.site_folder).action == "deactivated"
    assert active.variable() == "None"
    assert deactivate(active.site_folder).action == "not active"
    assert [file.name for file in active.site_folder.iterdir() if "nnunet" in file.name] == []


def test_the_file_is_readable_for_everyone_and_nothing_else_is_left(tmp_path: Path) -> None:
    done = activate(tmp_path)
    assert list(tmp_path.iterdir()) == [done.file]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(done.file.stat().st_mode) == 0o666 & ~umask


def test_default_place_is_this_environments_site_packages() -> None:
    assert activation_file() == Path(sysconfig.get_path("purelib")) / FILE_NAME


def test_verbs_say_what_they_did_and_how_to_undo_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    file = str(tmp_path / FILE_NAME)
    assert main(["activate"]) == 0
    shown = capsys.readouterr().out
    assert f"activated: {file}" in shown
    assert "nnunet_ext deactivate" in shown
    assert main(["activate", "--json"]) == 0
    expected = {"action": "already active", "file": file, "folder": str(hook_folder())}
    assert json.loads(capsys.readouterr().out) == {**expected, "undo": "nnunet_ext deactivate"}
    assert main(["deactivate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**expected, "action": "deactivated"}
    assert main(["deactivate"]) == 0
    assert capsys.readouterr().out == f"not active: {file}\n"


def test_no_permission_exits_with_2_and_offers_the_export_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    activate()
    monkeypatch.setattr(Path, "write_text", refuse)
    activation_file().write_bytes(b"outdated")
    assert main(["activate"]) == 2
    assert f"{tmp_path / FILE_NAME} cannot be written (Permission denied)" in caplog.text
    assert export_line() in caplog.text
    assert activation_file().read_bytes() == b"outdated"
    monkeypatch.setattr(Path, "unlink", refuse)
    assert main(["deactivate"]) == 2
    assert "cannot be removed (Permission denied)" in caplog.text


def test_unwritable_place_for_any_user(tmp_path: Path) -> None:
    """A file where the folder should be denies root too."""
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    with pytest.raises(RuntimeError, match="cannot be written"):
        activate(no_folder)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(RuntimeError, match="cannot be removed"):
        deactivate(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="sh's spelling")
@pytest.mark.parametrize(("before", "after"), [(None, "{ours}"), ("", "{ours}"), ("/a:/b", "{ours}:/a:/b")])
def test_export_line_in_a_real_shell(before: str | None, after: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    if before is not None:
        environment[VARIABLE] = before
    script = f"{export_line()}; echo ${VARIABLE}"
    assert subprocess.check_output(["sh", "-c", script], env=environment, text=True).strip() == after.format(
        ours=hook_folder()
    )


def test_lines_for_powershell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_ext.cli.hook_variable.os.name", "nt")
    monkeypatch.setattr("nnunet_ext.cli.hook_variable.os.pathsep", ";")
    assert export_line() == f'$env:{VARIABLE} = "$(nnunet_ext trainers --path);$env:{VARIABLE}"'
    assert replace_line(["C:\\other"]) == f'$env:{VARIABLE} = "$(nnunet_ext trainers --path);C:\\other"'
