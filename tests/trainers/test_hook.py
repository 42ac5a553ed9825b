"""nnU-Net's own look-up finds our trainers, from fresh processes, beside other teams' folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nnunet_ext.trainers import composition
from nnunet_ext.trainers.registry import TRAINERS, hook_folder

from nnunet_ext import trainers

LOOK_UP = """
import json, multiprocessing, pickle, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find

def module_of(trainer):
    return trainer.__module__

def describe(name, pool):
    try:
        trainer = find(name)
    except RuntimeError as error:
        return {"error": str(error)[:60]}
    return {
        "module": trainer.__module__,
        "name": trainer.__name__,
        "same": find(name) is trainer,
        "pickles": trainer.__module__ in sys.modules and pickle.loads(pickle.dumps(trainer)) is trainer,
        "bases": [base.__name__ for base in trainer.__mro__],
        "in_worker": pool.apply(module_of, (trainer,)) if pool else None,
    }

if __name__ == "__main__":
    names, spawn = json.loads(sys.argv[1])
    pool = multiprocessing.get_context("spawn").Pool(1) if spawn else None
    print("RESULT " + json.dumps({name: describe(name, pool) for name in names}))
"""

THEIR_TRAINER = """
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

class nnUNetTrainerOfAnotherTeam(nnUNetTrainer):
    pass
"""


def look_up(
    tmp_path: Path, *names: str, folders: list[str] | None = None, spawn: bool = False
) -> tuple[dict[str, Any], str]:
    """What a fresh process finds, and what it said on standard error."""
    script = tmp_path / "look_up.py"
    script.write_text(LOOK_UP)
    path = os.pathsep.join([str(hook_folder())] if folders is None else folders)
    done = subprocess.run(
        [sys.executable, script, json.dumps([names, spawn])],
        env={**os.environ, "nnUNet_extTrainer": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stdout + done.stderr
    return json.loads(lines[-1].removeprefix("RESULT ")), done.stderr


def test_the_hook_folder_holds_one_module() -> None:
    assert [path.name for path in hook_folder().iterdir() if path.name != "__pycache__"] == [
        "nnunet_ext_hook.py"
    ]


def test_every_trainer_is_found_pickles_and_stays_the_same(tmp_path: Path) -> None:
    plain = [trainer.name for trainer in TRAINERS]
    composed = [f"{name}_1epochs_2iters_NoDeepSupervision_NoMirroring" for name in plain]
    composed += ["nnUNetTrainer_20epochs_25iters", "nnUNetTrainer_NoDeepSupervision", "nnUNetTrainer_1epochs"]
    found, _ = look_up(tmp_path, *plain, *composed, spawn=True)
    for trainer in TRAINERS:
        assert found[trainer.name]["module"] == trainer.module
    for name in composed:
        assert found[name]["module"] == "nnunet_ext.trainers"
    for name, result in found.items():
        assert result["name"] == name
        assert result["same"]
        assert result["pickles"]
        assert result["in_worker"] == result["module"]
        assert "nnUNetTrainer" in result["bases"]


def test_upstream_s_names_still_give_upstream_s_classes(tmp_path: Path) -> None:
    import nnunetv2

    variants = Path(nnunetv2.__file__).parent / "training" / "nnUNetTrainer" / "variants"
    names = {
        line.split("(")[0].removeprefix("class ").rstrip(":")
        for path in variants.rglob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith("class nnUNetTrainer")
    }
    assert {"nnUNetTrainer_1epoch", "nnUNetTrainer_50epochs", "nnUNetTrainerNoMirroring"} <= names
    found, _ = look_up(tmp_path, "nnUNetTrainer", *sorted(names))
    assert {r["module"].split(".")[0] for r in found.values()} == {"nnunetv2"}


def test_a_name_that_upstream_has_is_upstream_s_class_through_our_package_too() -> None:
    from nnunetv2.training.nnUNetTrainer.variants.training_length import nnUNetTrainer_Xepochs

    assert trainers.nnUNetTrainer_50epochs is nnUNetTrainer_Xepochs.nnUNetTrainer_50epochs


@pytest.mark.parametrize("ours_first", [True, False])
def test_beside_another_team_s_folder(tmp_path: Path, ours_first: bool) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "their_trainers.py").write_text(THEIR_TRAINER)
    folders = [str(hook_folder()), str(theirs)]
    names = ("nnUNetTrainerOfAnotherTeam", "nnUNetTrainerRASUNet_5epochs", "nnUNetTrainer_5iters")
    found, complaints = look_up(tmp_path, *names, folders=folders if ours_first else folders[::-1])
    assert found[names[0]]["module"] == "their_trainers"
    assert found[names[1]]["module"] == found[names[2]]["module"] == "nnunet_ext.trainers"
    assert "not a trainer" not in complaints


def test_refusals_reach_the_user_through_nnunet(tmp_path: Path) -> None:
    names = {
        "nnUNetTrainerRASUNet_0epochs": "numbers start at 1",
        "nnUNetTrainerRASUNet_5iters_5epochs": "write nnUNetTrainerRASUNet_5epochs_5iters",
        "nnUNetTrainerRASUNet_5epochs_5epochs": "once",
        "nnUNetTrainerRASUNet_Unknown": "does not exist",
    }
    found, complaints = look_up(tmp_path, *names, "nnUNetTrainerOfNobody", "nnUNetTrainer_Sharp")
    assert all("Could not find" in result["error"] for result in found.values())
    for name, reason in names.items():
        assert any(line.startswith(name) and reason in line for line in complaints.splitlines())
    assert "OfNobody" not in complaints
    assert "Sharp" not in complaints


def test_a_trainer_that_cannot_be_loaded_is_not_a_name_that_nobody_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """nnU-Net asks with hasattr, which hides every AttributeError."""

    def lacking(_name: object) -> None:
        raise AttributeError("module 'torch' has no attribute 'something new'")

    monkeypatch.setattr(composition, "trainer_class", lacking)
    with pytest.raises(ImportError, match=r"nnUNetTrainerRASUNet cannot be loaded: .*something new"):
        hasattr(trainers, "nnUNetTrainerRASUNet")
    assert not hasattr(trainers, "nnUNetTrainerOfNobody")


@pytest.mark.long  # beside what doctor says of it, in tests/cli/test_doctor.py
def test_pointing_at_the_trainers_folder_says_so(tmp_path: Path) -> None:
    folder = str(Path(trainers.__file__).parent)
    code = (
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
        "find('nnUNetTrainerRASUNet')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "nnUNet_extTrainer": folder},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "it has to name the hook folder" in done.stderr


@pytest.mark.parametrize("name", ["trainers", "dataset_conversion"])
def test_the_checkout_s_folders_cannot_be_imported_by_their_short_names(name: str, tmp_path: Path) -> None:
    installed = Path(trainers.__file__).parent.with_name(name)
    if not installed.is_dir():  # an editable install: the folder itself stands at the top of the checkout
        installed = Path(trainers.__file__).parents[1] / name
    (tmp_path / name).symlink_to(installed)
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert f"ImportError: import 'nnunet_ext.{name}', not '{name}'" in done.stderr


@pytest.mark.skipif(
    "site-packages" not in str(hook_folder()),
    reason="an editable install answers for nnunet_ext.trainers even then",
)
def test_a_foreign_package_of_our_name_does_not_end_the_search_for_others(tmp_path: Path) -> None:
    (tmp_path / "nnunet_ext").mkdir()
    (tmp_path / "nnunet_ext" / "__init__.py").write_text("")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "their_trainers.py").write_text(THEIR_TRAINER)
    found, complaints = look_up(
        tmp_path,
        "nnUNetTrainerOfAnotherTeam",
        "nnUNetTrainerRASUNet",
        folders=[str(hook_folder()), str(theirs)],
    )
    assert found["nnUNetTrainerOfAnotherTeam"]["module"] == "their_trainers"
    assert "error" in found["nnUNetTrainerRASUNet"]
    assert "run `nnunet_ext doctor`" in complaints
