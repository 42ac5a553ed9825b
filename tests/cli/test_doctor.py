"""`nnunet_ext doctor` in real fresh processes: healthy, and sick in each way that can be planted."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from nnunet_ext.trainers import registry
from nnunet_ext.trainers.registry import TRAINERS, hook_folder

from nnunet_ext.cli import doctor
from nnunet_ext.cli.checks import FOLDER_VARIABLES, Check
from nnunet_ext.cli.doctor import checks_of, examine, names_to_look_up
from nnunet_ext.cli.fresh_process import FreshProcess, look_up_in_fresh_process
from nnunet_ext.cli.hook_variable import VARIABLE
from nnunet_ext.cli.main import main

ANOTHER_TEAMS_TRAINER = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
class nnUNetTrainerOfAnotherTeam(nnUNetTrainer): pass
"""


def environment_with(*folders: Path, home: Path, python_path: Path | None = None) -> dict[str, str]:
    """A user's environment with nnU-Net's folders below ``home`` and these folders of trainers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", VARIABLE: os.pathsep.join(map(str, folders))}
    for name in FOLDER_VARIABLES:
        (home / name).mkdir(exist_ok=True)
        environment[name] = str(home / name)
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    return environment


def fresh_process(environment: dict[str, str]) -> FreshProcess:
    return look_up_in_fresh_process(names_to_look_up(), environment=environment)


def named(checks: Sequence[Check], start: str) -> list[Check]:
    return [check for check in checks if check.name.startswith(start)]


def failures(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.status == "failure"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def healthy_environment(home: Path) -> dict[str, str]:
    """Ours last, another team's folder before it."""
    team = home / "another_team"
    team.mkdir()
    (team / "their_trainers.py").write_text(ANOTHER_TEAMS_TRAINER)
    return environment_with(team, hook_folder(), home=home)


@pytest.fixture(scope="module")
def healthy(healthy_environment: dict[str, str]) -> FreshProcess:
    return fresh_process(healthy_environment)


def test_every_trainer_and_a_composed_one_are_looked_up() -> None:
    assert set(names_to_look_up()) > {trainer.name for trainer in TRAINERS}
    assert sum("_5epochs" in name for name in names_to_look_up()) == 1


def test_healthy_look_ups_are_ours_pickle_and_are_stable(healthy: FreshProcess) -> None:
    assert [look_up.name for look_up in healthy.look_ups] == list(names_to_look_up())
    for look_up in healthy.look_ups:
        assert look_up.module.startswith("nnunet_ext.trainers")
        assert Path(look_up.file).is_file()
        assert (look_up.error, look_up.pickle_error, look_up.same_object) == ("", "", True)


def test_healthy_environment_has_no_failure(
    healthy: FreshProcess, healthy_environment: dict[str, str]
) -> None:
    checks = checks_of(healthy, environment=healthy_environment)
    assert failures(checks) == []
    (variable,) = named(checks, VARIABLE)
    assert "another_team" in variable.found
    assert {check.name for check in checks} >= {"nnunetv2", "package nnunet_ext", "GPU", "torch.compile"}


@pytest.fixture
def planted_report(
    healthy: FreshProcess, healthy_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """The verb sees the healthy environment, without a fresh process of its own."""
    monkeypatch.setattr(doctor, "look_up_in_fresh_process", lambda names, environment: healthy)
    for name in (VARIABLE, *FOLDER_VARIABLES):
        monkeypatch.setenv(name, healthy_environment[name])
    return monkeypatch


@pytest.mark.usefixtures("planted_report")
def test_verb_exits_with_0_where_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "0 failed" in shown
    assert f"look-up of {TRAINERS[0].name}" in shown


def test_verb_exits_with_2_and_shows_the_line_to_type_unbroken(
    planted_report: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planted_report.delenv(VARIABLE)
    assert main(["doctor"]) == 2
    shown = capsys.readouterr().out
    assert f"failure   {VARIABLE}: is not set" in shown
    assert f'export {VARIABLE}="$(nnunet_ext trainers --path)${{{VARIABLE}:+:${VARIABLE}}}"\n' in shown


def test_json_says_the_same(planted_report: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    planted_report.delenv("nnUNet_raw")
    assert main(["doctor", "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["failures"] == 1
    (failure,) = [check for check in report["checks"] if check["status"] == "failure"]
    assert failure["name"] == "nnUNet_raw"
    assert failure["found"].startswith("is not set")
    assert "export nnUNet_raw=" in failure["remedy"]


@pytest.fixture(scope="module")
def sick_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """On PYTHONPATH: a torchvision that does not fit, a foreign nnunet_ext, metadata of an old nnU-Net."""
    folder = tmp_path_factory.mktemp("sick")
    files = {
        "torchvision/__init__.py": "raise RuntimeError('operator torchvision::nms does not exist')",
        "nnunet_ext/__init__.py": "",
        "lifelong_nnunet-1.0.dist-info/METADATA": "Name: lifelong-nnunet\nVersion: 1.0\n",
        "lifelong_nnunet-1.0.dist-info/top_level.txt": "nnunet_ext\n",
        "nnunetv2-2.6.2.dist-info/METADATA": "Name: nnunetv2\nVersion: 2.6.2\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def sick_checks(sick_packages: Path, home: Path) -> tuple[Check, ...]:
    return examine(environment_with(hook_folder(), home=home, python_path=sick_packages))


def test_torchvision_that_does_not_fit_is_named(sick_checks: tuple[Check, ...]) -> None:
    (check,) = named(sick_checks, "torch, torchvision")
    assert check.status == "failure"
    assert "operator torchvision::nms does not exist" in check.found
    assert "pip install --force-reinstall torch torchvision" in check.remedy
    for look_up in named(sick_checks, "look-up"):
        assert look_up.status == "failure"
        assert look_up.found.startswith("torchvision stops nnU-Net's look-up")


def test_foreign_package_in_front_is_named(sick_checks: tuple[Check, ...], sick_packages: Path) -> None:
    shadow, distribution = named(sick_checks, "package nnunet_ext")
    assert shadow.status == "failure"
    assert str(sick_packages / "nnunet_ext" / "__init__.py") in shadow.found
    assert "PYTHONPATH" in shadow.remedy
    assert "lifelong-nnunet" in distribution.found
    assert "pip uninstall lifelong-nnunet" in distribution.remedy


def test_old_nnunet_is_named(sick_checks: tuple[Check, ...]) -> None:
    (check,) = named(sick_checks, "nnunetv2")
    assert check.status == "failure"
    assert "2.6.2 is too old" in check.found
    assert '-m pip install "nnunetv2>=2.8,<3"' in check.remedy


def test_broken_folder_of_another_team_in_front_is_named_as_theirs(tmp_path: Path, home: Path) -> None:
    broken = tmp_path / "their_folder"
    broken.mkdir()
    (broken / "their_trainer.py").write_text("import a_package_that_they_forgot\n")
    checks = examine(environment_with(broken, hook_folder(), home=home))
    look_ups = named(checks, "look-up")
    assert failures(checks) == look_ups  # everything else is well
    for check in look_ups:
        assert f"{broken / 'their_trainer.py'}, which is not ours" in check.found
        assert "a_package_that_they_forgot" in check.found
        assert f'export {VARIABLE}="$(nnunet_ext trainers --path){os.pathsep}{broken}"' in check.remedy


def test_pointing_at_the_trainers_folder_is_named(home: Path) -> None:
    folder = Path(registry.__file__).parent
    checks = examine(environment_with(folder, home=home))
    (variable,) = named(checks, VARIABLE)
    assert variable.status == "failure"
    assert f"{folder} is the folder of our trainer classes, not the hook folder" in variable.found
    assert f'export {VARIABLE}="$(nnunet_ext trainers --path)"' in variable.remedy
    for check in named(checks, "look-up"):
        assert check.status == "failure"
        assert "which is not ours" not in check.found


def test_a_process_that_takes_too_long_is_given_up(healthy_environment: dict[str, str]) -> None:
    with pytest.raises(RuntimeError, match=r"did not end within 0\.01 s"):
        look_up_in_fresh_process((), environment=healthy_environment, timeout_s=0.01)


def test_a_process_that_crashes_is_a_failure_with_its_last_words(tmp_path: Path, home: Path) -> None:
    (tmp_path / "torch.py").write_text(
        "import os, sys; print('no such instruction', file=sys.stderr, flush=True); os._exit(4)"
    )
    checks = examine(environment_with(hook_folder(), home=home, python_path=tmp_path))
    (failure,) = failures(checks)
    assert failure.name == "fresh process"
    assert "code 4" in failure.found
    assert "no such instruction" in failure.found


def test_missing_nnunet_is_named(tmp_path: Path, home: Path) -> None:
    """Packages that raise on import stand for missing ones, and for torch being absent."""
    for name in ("torch", "nnunetv2", "torchvision"):
        (tmp_path / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')"
        )
    checks = examine(environment_with(hook_folder(), home=home, python_path=tmp_path))
    assert "No module named 'nnunetv2'" in named(checks, "nnunetv2")[0].found
    assert "No module named 'torch'" in named(checks, "torch")[0].found
    for check in named(checks, "look-up"):
        assert check.found.startswith("nnU-Net is missing or too old")
    assert named(checks, "GPU") == []


def test_report_of_the_process_is_plain_data(healthy: FreshProcess) -> None:
    assert pickle.loads(pickle.dumps(healthy)) == healthy
