from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.cli import phantom
from nnunet_ext.phantoms.clinic.catalog import DEFECTS, NAMES, clinic_of

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


LEGS = ["--size-vox", "16", "48", "48"]


def test_writes_a_clinic_with_defects_and_prints_the_folder_to_convert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    defects = ["--defect", "flipped-png", "--defect", "orientation"]
    assert run("lower-limb", "--cases", "3", "--seed", "2", "--out", str(tmp_path), *LEGS, *defects) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'clinic'}\n"
    record = json.loads((tmp_path / "phantom.json").read_text())
    assert record["complete"]
    assert record["asked"]["defects"] == ["flipped-png", "orientation"]
    assert [about.get("refused_as") for about in record["written"].values()] == ["flipped-png", "", None]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clinic", "phantom.json", "truth"]


@pytest.mark.parametrize(
    ("arguments", "clinic"),
    [
        (["liver-target", "--layout", "clinic"], "liver-target"),
        (["liver-target", "--defect", "hole"], "liver-target"),
        (["coronary"], "coronary"),
        (["coronary-cta"], "coronary-cta"),
        (["whole-heart"], "whole-heart-ct"),
        (["whole-heart", "--modality", "MR"], "whole-heart-mr"),
        (["brain-oar", "--misaligned"], "brain-oar"),
    ],
)
def test_every_name_is_written_as_its_clinic(
    arguments: list[str], clinic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr("nnunet_ext.phantoms.clinic.write.write_clinic", lambda name, **a: asked.update(a))
    assert run(*arguments, "--cases", "4", "--out", str(tmp_path)) == 0
    assert asked["cases"] == 4
    assert asked["defects"] == (["hole"] if "hole" in arguments else [])
    assert asked["misaligned"] == ("--misaligned" in arguments)
    assert clinic_of(arguments[0], modality=asked["modality"]) == clinic


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coronary", "--layout", "nnunet"], "--layout nnunet is for liver-target alone"),
        (["coronary", "--dataset-id", "2"], "--layout clinic takes no --dataset-id"),
        (["liver-target", "--layout", "nnunet", "--defect", "tilt"], "--layout nnunet takes no --defect"),
        (["liver-target", "--misaligned"], "--layout nnunet takes no --misaligned"),
        (["coronary", "--modality", "MR"], "modality is for whole-heart alone"),
        (["coronary", "--misaligned"], "misaligned is for brain-oar alone"),
        (["coronary", "--defect", "flipped-png"], "expected some of truncated-file, nan,"),
        (["coronary", "--defect", "nan", "--defect", "nan"], "cases must be a whole number from 2 to 1000"),
    ],
)
def test_what_makes_no_sense_gives_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert run(*arguments, "--cases", "1", "--out", str(tmp_path / "out")) == 2
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


def test_help_lists_every_phantom_and_defect() -> None:
    parser = argparse.ArgumentParser()
    phantom.add_arguments(parser)
    shown = parser.format_help()
    for name in (*NAMES, *DEFECTS):
        assert f"  {name}" in shown


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
