from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.cli import phantom

SMALL = ["--size-vox", "12", "16", "16", "--spacing-mm", "16", "24", "24"]


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    phantom.add_arguments(parser)
    return phantom.run(parser.parse_args(arguments))


def test_writes_a_dataset_and_prints_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(
        "liver-target", "--cases", "1", "--test-cases", "2", "--seed", "5", "--dataset-id", "17",
        "--out", str(tmp_path), *SMALL,
    )  # fmt: skip
    folder = tmp_path / "Dataset017_LiverTargetPhantom"
    assert code == 0
    assert capsys.readouterr().out == f"{folder}\n"
    record = json.loads((folder / "dataset.json").read_text())["phantom"]
    assert record == {
        "name": "liver-target",
        "size_vox": [12, 16, 16],
        "spacing_mm": [16.0, 24.0, 24.0],
        "seed": 5,
        "cases": 1,
        "test_cases": 2,
    }
    assert len(list((folder / "labelsTs").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "0"], "cases must be a whole number >= 1, got 0"),
        (["--cases", "1", "--size-vox", "4", "16", "16"], "size_vox"),
        (["--cases", "1", "--spacing-mm", "-1", "1", "1"], "spacing_mm"),
        (
            ["--cases", "1", "--dataset-id", "1000"],
            "dataset_id must be a whole number from 1 to 999, got 1000",
        ),
    ],
)
def test_wrong_values_give_exit_code_2(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, arguments: list[str], message: str
) -> None:
    with caplog.at_level(logging.ERROR):
        assert run("liver-target", "--out", str(tmp_path), *arguments) == 2
    assert message in caplog.text
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_made_gives_exit_code_2(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert run("liver-target", "--cases", "1", "--out", str(file), *SMALL) == 2
    assert str(file) in caplog.text


def test_unknown_phantom_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        run("spleen", "--cases", "1", "--out", "x")
    assert leaving.value.code == 2
    assert "liver-target" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["phantom", "demo"])
def test_help_has_an_example_and_imports_nothing_heavy(verb: str) -> None:
    code = (
        f"import argparse, sys; from nnunet_ext.cli import {verb} as verb; p = argparse.ArgumentParser();"
        "verb.add_arguments(p); print(p.format_help());"
        "heavy = {'numpy', 'scipy', 'torch', 'SimpleITK', 'matplotlib', 'nnunetv2'};"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"nnunet_ext {verb}" in done.stdout.split("example:")[1]
