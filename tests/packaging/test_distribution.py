"""Wheel and sdist carry everything: every module, the hook, the marker of types."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    "nnunet_ext": ROOT / "nnunet_ext",
    "nnunet_ext/trainers": ROOT / "trainers",
    "nnunet_ext/dataset_conversion": ROOT / "dataset_conversion",
}


def sources() -> dict[str, Path]:
    """Where every module of the checkout has to lie in a wheel."""
    return {
        f"{installed}/{path.relative_to(folder)}": path
        for installed, folder in MODULES.items()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".typed") and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the sdist and the wheel that is built from it, without a network."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_folder_with_modules_is_a_declared_package() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    declared = set(config["options"]["packages"].split())
    assert declared == {str(Path(name).parent).replace("/", ".") for name in sources()}


def test_wheel_and_sdist_carry_every_module(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert set(sources()) <= names
    assert "nnunet_ext/hook/nnunet_ext_hook.py" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"nnunet_ext"}
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        archived = {name.split("/", 1)[-1] for name in sdist.getnames()}
    assert {str(path.relative_to(ROOT)) for path in sources().values()} <= archived
    assert {"LICENSE", "README.md", "setup.cfg", "pyproject.toml"} <= archived


def install_into_fresh_environment(wheel: Path, tmp_path: Path) -> Path:
    """Python of a new environment that holds the wheel and nothing else."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", str(wheel)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return python


def test_wheel_in_a_fresh_environment_without_dependencies(built: Path, tmp_path: Path) -> None:
    """Everything is found there, and what must not need torch does not."""
    python = install_into_fresh_environment(next(built.glob("*.whl")), tmp_path)
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    assert [name for name in sources() if not (site / name).is_file()] == []
    command = str(python.with_name("nnunet_ext"))
    hook = subprocess.run([command, "trainers", "--path"], capture_output=True, text=True, check=True)
    folder = Path(hook.stdout.strip())
    assert folder.is_relative_to(tmp_path)
    assert [path.name for path in folder.glob("*.py")] == ["nnunet_ext_hook.py"]
    listed = subprocess.run([command, "trainers"], capture_output=True, text=True, check=True)
    assert "nnUNetTrainerRASUNet" in listed.stdout


def test_editable_install_finds_the_mapped_folders(tmp_path: Path) -> None:
    """The lenient kind, pip's default: modules stay in the checkout, under their installed names."""
    code = f"from setuptools import build_meta; build_meta.build_editable({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    python = install_into_fresh_environment(next(tmp_path.glob("*.whl")), tmp_path)
    code = (
        "import nnunet_ext, nnunet_ext.trainers.registry as r, nnunet_ext.dataset_conversion as d\n"
        "print(r.__file__, d.__file__, r.hook_folder())"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    registry, conversion, hook = found.stdout.split()
    assert Path(registry) == ROOT / "trainers" / "registry.py"
    assert Path(conversion) == ROOT / "dataset_conversion" / "__init__.py"
    assert Path(hook) == ROOT / "nnunet_ext" / "hook"
