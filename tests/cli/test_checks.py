"""The checks behind `nnunet_ext doctor`, each cause planted in the environment or in a process's report."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from nnunet_ext.trainers import registry
from nnunet_ext.trainers.registry import hook_folder

import nnunet_ext
from nnunet_ext.cli import checks as checks_module
from nnunet_ext.cli.checks import check_folders, check_hook_variable, why_not_writable
from nnunet_ext.cli.fresh_checks import check_look_up, check_nnunet, check_package_name, check_torchvision
from nnunet_ext.cli.fresh_process import FreshProcess, LookUp, Package, TorchFacts
from nnunet_ext.cli.hardware_checks import check_compile, check_gpu, check_hardware
from nnunet_ext.cli.hook_variable import VARIABLE

OURS = str(hook_folder())
PACKAGE = hook_folder().parent
HEADER = str(Path(__file__))  # a file that exists
LOOK_UP = LookUp("nnUNetTrainerX", "nnunet_ext.trainers", "file", "", True, "", ())
CPU = TorchFacts("", (), False, (), "", "/usr/bin/gcc", HEADER)
GPU = replace(CPU, gpu_build="12.8", gpus=("A100",))
HEALTHY = FreshProcess(
    executable="python",
    nnunet_ext=Package("0.1.0", str(PACKAGE / "__init__.py"), ""),
    trainers=Package("", str(Path(registry.__file__).parent / "__init__.py"), ""),
    nnunet_ext_candidates=(PACKAGE / "__init__.py",),
    nnunet_ext_distributions=(("nnunet-ext", PACKAGE), ("nnUNet_ext", PACKAGE)),
    torch=Package("2.9", "torch.py", ""),
    torchvision=Package("0.24", "torchvision.py", ""),
    nnunetv2=Package("2.8.1", "/site/nnunetv2/__init__.py", ""),
    look_ups=(LOOK_UP,),
    torch_facts=CPU,
)


def variable(*folders: str | Path) -> dict[str, str]:
    return {VARIABLE: os.pathsep.join(map(str, folders))}


# nnUNet_extTrainer


@pytest.mark.parametrize(("environment", "word"), [({}, "is not set"), ({VARIABLE: ""}, "set but empty")])
def test_variable_unset_or_empty(environment: dict[str, str], word: str) -> None:
    (check,) = check_hook_variable(environment)
    assert check.status == "failure"
    assert word in check.found
    assert f"export {VARIABLE}=" in check.remedy
    assert "nnunet_ext activate" in check.remedy


def test_variable_with_our_folder_before_and_behind_another_teams(tmp_path: Path) -> None:
    for folders in ((OURS,), (OURS, tmp_path), (tmp_path, OURS), (tmp_path, OURS + os.sep)):
        (check,) = check_hook_variable(variable(*folders))
        assert check.status == "ok"
        assert (str(tmp_path) in check.found) == (len(folders) == 2)


def test_variable_through_a_symbolic_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(OURS, target_is_directory=True)
    (check,) = check_hook_variable(variable(link))
    assert check.status == "ok"


def test_variable_with_a_relative_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PACKAGE)
    (check,) = check_hook_variable(variable("hook"))
    assert check.status == "warning"
    assert "from this folder only" in check.found


def test_activation_is_mentioned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "some.pth"
    file.write_text("")
    monkeypatch.setattr(checks_module, "activation_file", lambda: file)
    (check,) = check_hook_variable(variable(OURS))
    assert str(file) in check.found


def wrong_places(tmp_path: Path) -> list[tuple[str | Path, str]]:
    (tmp_path / "file").write_text("")
    (tmp_path / "packages" / "nnunet_ext").mkdir(parents=True)
    return [
        (tmp_path / "missing", "does not exist"),
        ("~/hook", "~ is not expanded"),
        (tmp_path / "file", "is a file, not a folder"),
        (Path(registry.__file__).parent, "is the folder of our trainer classes"),
        (PACKAGE, "is our package, not the hook folder"),
        (PACKAGE / "cli", "is our package, not the hook folder"),
        (tmp_path / "packages", "holds whole packages"),
        (Path(pytest.__file__).parents[1], "holds whole packages"),
        (tmp_path, "is not our hook folder"),
    ]


def test_variable_pointing_elsewhere(tmp_path: Path) -> None:
    for folder, word in wrong_places(tmp_path):
        (check,) = check_hook_variable(variable(folder))
        assert check.status == "failure"
        assert f"{folder} {word}" in check.found.replace("does not exist (~", "~")
        assert OURS in check.found
        kept = f"{os.pathsep}{folder}" if folder == tmp_path else ""
        assert f'export {VARIABLE}="$(nnunet_ext trainers --path){kept}"' in check.remedy


def test_wrong_places_beside_ours(tmp_path: Path) -> None:
    for folder, word in wrong_places(tmp_path)[:-1]:
        ours, behind = check_hook_variable(variable(OURS, folder))
        assert (ours.status, behind.status) == ("ok", "warning")
        assert word in behind.found
        _, in_front = check_hook_variable(variable(folder, OURS))
        assert in_front.status == ("failure" if Path(folder).exists() else "warning")


# nnU-Net's folders


def test_folders_unset_missing_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {"nnUNet_preprocessed": str(tmp_path / "missing"), "nnUNet_results": str(tmp_path / "file")}
    unset, missing, file = check_folders(environment)
    assert {check.status for check in (unset, missing, file)} == {"failure"}
    assert (unset.name, missing.name, file.name) == ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    assert "is not set" in unset.found
    assert "does not exist" in missing.found
    assert "mkdir -p" in missing.remedy
    assert "is a file" in file.found


def test_folders_that_are_fine_stay_untouched(tmp_path: Path) -> None:
    environment = dict.fromkeys(checks_module.FOLDER_VARIABLES, str(tmp_path))
    assert [check.status for check in check_folders(environment)] == ["ok"] * 3
    assert list(tmp_path.iterdir()) == []


def test_folders_without_write_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks_module, "why_not_writable", lambda folder: "Read-only file system")
    raw, preprocessed, results = check_folders(dict.fromkeys(checks_module.FOLDER_VARIABLES, str(tmp_path)))
    assert (raw.status, preprocessed.status, results.status) == ("warning", "failure", "failure")
    for check in (raw, preprocessed, results):
        assert "cannot be written to (Read-only file system)" in check.found
        assert check.remedy


def test_writability_is_tried(tmp_path: Path) -> None:
    assert why_not_writable(tmp_path) == ""
    (tmp_path / "file").write_text("")
    assert why_not_writable(tmp_path / "file")  # denies root, too


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_writability_of_a_protected_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert why_not_writable(tmp_path) == "Permission denied"
    tmp_path.chmod(0o700)


# packages


@pytest.mark.parametrize(
    ("package", "status", "word"),
    [
        (Package("2.8", "f", ""), "ok", "2.8"),
        (Package("2.10.0", "f", ""), "ok", "2.10.0"),
        (Package("2.7.9", "f", ""), "failure", "too old"),
        (Package("1.7.1", "f", ""), "failure", "too old"),
        (Package("3.0.0", "f", ""), "failure", "newer than this"),
        (Package("", "f", ""), "warning", "unknown version"),
        (Package("", "", "ModuleNotFoundError: No module named 'nnunetv2'"), "failure", "does not import"),
    ],
)
def test_release_of_nnunet(package: Package, status: str, word: str) -> None:
    check = check_nnunet(replace(HEALTHY, nnunetv2=package))
    assert check.status == status
    assert word in check.found
    assert (check.remedy == "") == (status == "ok")


def test_our_package_alone() -> None:
    (check,) = check_package_name(HEALTHY)
    assert check.status == "ok"
    assert nnunet_ext.__version__ in check.found


@pytest.mark.parametrize(
    ("imported", "word"),
    [
        (Package("", "/lifelong/nnunet_ext/__init__.py", ""), "/lifelong/nnunet_ext/__init__.py"),
        (Package("", "", ""), "a folder without __init__.py"),
        (Package("", "", "ImportError: theirs is broken"), "theirs is broken"),
    ],
)
def test_foreign_package_instead_of_ours(imported: Package, word: str) -> None:
    (check,) = check_package_name(replace(HEALTHY, nnunet_ext=imported))
    assert check.status == "failure"
    assert word in check.found
    assert "Lifelong-nnUNet" in check.found


def test_foreign_package_further_back_and_distributions() -> None:
    elsewhere = Path("/lifelong/nnunet_ext")
    sick = replace(
        HEALTHY,
        nnunet_ext_candidates=(PACKAGE / "__init__.py", elsewhere / "__init__.py"),
        nnunet_ext_distributions=(("nnunet-ext", PACKAGE), ("lifelong", elsewhere), ("mixed", PACKAGE)),
    )
    ours, folder, apart, mixed = check_package_name(sick)
    assert [c.status for c in (ours, folder, apart, mixed)] == ["ok", "warning", "warning", "failure"]
    assert str(elsewhere / "__init__.py") in folder.found
    assert "pip uninstall lifelong" in apart.remedy
    assert "their files mixed" in mixed.found
    assert "then reinstall nnunet-ext" in mixed.remedy


def test_our_package_with_trainers_that_do_not_import() -> None:
    (check,) = check_package_name(replace(HEALTHY, trainers=Package("", "", "ImportError: no scipy")))
    assert check.status == "failure"
    assert "no scipy" in check.found


def test_torchvision_and_torch() -> None:
    broken = Package("0.28", "", "RuntimeError: operator torchvision::nms does not exist")
    failed = replace(LOOK_UP, error="RuntimeError: operator torchvision::nms does not exist")
    assert check_torchvision(HEALTHY).status == "ok"
    assert check_torchvision(replace(HEALTHY, torchvision=broken)).status == "warning"
    check = check_torchvision(replace(HEALTHY, torchvision=broken, look_ups=(failed,)))
    assert check.status == "failure"
    assert "torchvision 0.28 does not import with torch 2.9" in check.found
    no_torch = check_torchvision(replace(HEALTHY, torch=Package("", "", "OSError: libcudart.so")))
    assert (no_torch.name, no_torch.status) == ("torch", "failure")


# look-ups


@pytest.mark.parametrize(
    ("look_up", "word"),
    [
        (
            replace(LOOK_UP, module="trainers.segmentation"),
            "takes a class of that name from trainers.segmentation",
        ),
        (replace(LOOK_UP, module="nnunet_ext.trainers_of_others"), "not ours"),
        (replace(LOOK_UP, pickle_error="PicklingError: x"), "does not pickle"),
        (replace(LOOK_UP, same_object=False), "imported twice"),
        (
            replace(LOOK_UP, error="RuntimeError: Could not find requested nnunet trainer X"),
            "does not find it",
        ),
        (replace(LOOK_UP, error="ModuleNotFoundError: No module named 'nnunetv2.u'"), "missing or too old"),
        (replace(LOOK_UP, error="ValueError: odd", error_files=("/a.py", "/b.py")), "fails in /b.py"),
    ],
)
def test_look_up_that_fails(look_up: LookUp, word: str) -> None:
    check = check_look_up(look_up, environment=variable(OURS), torchvision_works=True)
    assert check.status == "failure"
    assert word in check.found
    assert check.remedy


def test_torchvision_is_blamed_by_its_files_too(tmp_path: Path) -> None:
    error_files = ("/site/timm/layers.py", "/site/torchvision/extension.py")
    look_up = replace(LOOK_UP, error="AttributeError: partially initialized", error_files=error_files)
    blamed = check_look_up(look_up, environment=variable(OURS), torchvision_works=False)
    assert blamed.found.startswith("torchvision stops")
    innocent = check_look_up(look_up, environment=variable(OURS), torchvision_works=True)
    assert "torchvision stops" not in innocent.found


def test_another_teams_folder_is_blamed_for_what_its_import_breaks_elsewhere(tmp_path: Path) -> None:
    theirs = tmp_path / "deep" / "theirs.py"
    files = ("/site/nnunetv2/find.py", str(theirs), "/site/numpy/core.py")
    look_up = replace(LOOK_UP, error="AttributeError: np.bool", error_files=files)
    check = check_look_up(look_up, environment=variable(tmp_path, OURS), torchvision_works=True)
    assert f"{theirs}, which is not ours" in check.found


# GPU and torch.compile


@pytest.mark.parametrize(
    ("facts", "environment", "status", "word"),
    [
        (GPU, {}, "ok", "A100"),
        (replace(CPU, mps=True), {}, "ok", "mps"),
        (CPU, {}, "warning", "CPU build"),
        (CPU, {}, "warning", "stays in float32"),
        (replace(CPU, bfloat16=("AMX",)), {}, "warning", "computes bfloat16 (AMX)"),
        (replace(GPU, gpus=()), {}, "warning", "driver does not fit"),
        (replace(GPU, gpus=()), {"CUDA_VISIBLE_DEVICES": ""}, "warning", "hides every GPU"),
    ],
)
def test_gpu(facts: TorchFacts, environment: dict[str, str], status: str, word: str) -> None:
    check = check_gpu(facts, environment=environment)
    assert check.status == status
    assert word in check.found
    assert ("-device cpu" in check.remedy) == (status == "warning")


@pytest.mark.parametrize(
    ("facts", "os_name", "word"),
    [
        (replace(GPU, triton_error="ModuleNotFoundError: No module named 'triton'"), "posix", "triton"),
        (replace(GPU, c_compiler=""), "posix", "no C compiler"),
        (replace(GPU, python_header="/missing/Python.h"), "posix", "/missing/Python.h"),
        (GPU, "nt", "Windows"),
    ],
)
def test_compile_that_is_unavailable(facts: TorchFacts, os_name: str, word: str) -> None:
    check = check_compile(facts, environment={}, os_name=os_name)
    assert check.status == "warning"
    assert word in check.found
    assert "nnUNet_compile=f" in check.remedy
    assert check_compile(facts, environment={"nnUNet_compile": "f"}, os_name=os_name).status == "ok"


def test_compile_that_works_or_is_not_used() -> None:
    assert check_compile(GPU, environment={}, os_name="posix").found.startswith("triton imports")
    assert "CUDA only" in check_compile(CPU, environment={}).found
    assert check_hardware(None, environment={}) == ()
