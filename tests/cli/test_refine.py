"""The verb refine, predict --refiner and export-model with a refiner, as a user types them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refinement_home import (
    DATASET,
    RefinementHome,
    make_refinement_home,
    read,
    small_refiners,
    trained_refiner,
    write_probabilities,
)

from nnunet_ext.cli.main import main
from nnunet_ext.inference import run as room

NAMES = ("-d", "990", "-c", "tiny", "--device", "cpu", "--threads", "1", "--no-pbar")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RefinementHome:
    """A model with a refiner in its folder, and two unseen images."""
    home = make_refinement_home(tmp_path_factory.mktemp("home"))
    trained_refiner(home, home.model / "refiner")
    for number in range(2):
        write_probabilities(
            home,
            f"unseen_{number}",
            seed=100 + number,
            folder=home.root / "unseen",
            references=home.root / "references",
        )
        name = f"unseen_{number}_0000.nii.gz"
        (home.root / "in").mkdir(exist_ok=True)
        shutil.copy(home.root / "images" / name, home.root / "in")
    for name in ("dataset.json", "plans.json"):
        shutil.copy(home.model / name, home.root / "unseen")
    (home.root / "raw" / DATASET).mkdir(parents=True)
    return home


@pytest.fixture
def home(
    made: RefinementHome, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> RefinementHome:
    caplog.set_level(logging.INFO)
    use(made, monkeypatch)
    # In this process: one of its own for preprocessing is what tests/inference/test_run.py is about.
    real = room.predict_cases
    monkeypatch.setattr(room, "predict_cases", lambda *a, **k: real(*a, **{**k, "worker": False}))
    monkeypatch.setattr("nnunet_ext.inference.memory.keep_freed_memory", lambda: False)
    return made


def use(made: RefinementHome, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in made.environment.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture(autouse=True, scope="module")
def _small_and_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with small_refiners():
        yield
    torch.set_num_threads(before)


def typed(*words: Any) -> int:
    return main([str(word) for word in words])


def labels_of(folder: Path) -> dict[str, np.ndarray]:
    return {file.name: read(file) for file in sorted(folder.glob("*.nii.gz"))}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, labels in expected.items():
        np.testing.assert_array_equal(found[name], labels)


def test_train_says_what_it_found(
    home: RefinementHome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a network that errs nowhere: there is nothing to gain."""
    perfect = make_refinement_home(tmp_path / "home", wrong=False)
    (perfect.root / "raw" / DATASET).mkdir(parents=True)
    use(perfect, monkeypatch)
    short = ("--iterations", "2", "--no-pbar", "--threads", "1", "--out", tmp_path / "refiner")
    assert typed("refine", "train", "990", "-c", "tiny", *short) == 0
    said = capsys.readouterr().out
    assert "Dice of held-out cases, refined where the first network was unsure" in said
    assert "does not gain: changes nothing without --force-refiner" in said
    assert "mean of structures" in said
    # Typed again, there is nothing left to do, and the answer is the same.
    assert typed("refine", "train", "990", "-c", "tiny", *short, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["gains"] is False
    assert len(answer["held_out"]["cases"]) == 6


def test_options_of_the_network_reach_it(home: RefinementHome, tmp_path: Path) -> None:
    options = ("--kernels", "5x5x5", "--local-grid", "2", "--factor", "4", "--logits", "--folds", "0", "2")
    short = ("--iterations", "1", "--no-pbar", "--threads", "1", "--out", tmp_path / "refiner")
    assert typed("refine", "train", "990", "-c", "tiny", *short, *options) == 0
    said = json.loads((tmp_path / "refiner" / "refiner.json").read_text())
    assert said["network"] == {
        "channels": 3,
        "factor": [2, 4, 4],
        "kernel_size": [5, 5, 5],
        "hidden_convs": 3,
        "features": 8,
        "local_grid": [1, 2, 2],
        "inputs": "logits",
        "has_regions": False,
    }
    assert said["cases"] == ["case_0", "case_2", "case_3", "case_5"]
    assert set(said["source"]["sha256"]) == {
        "plans.json",
        "dataset.json",
        "fold_0/checkpoint_final.pth",
        "fold_2/checkpoint_final.pth",
    }


def test_a_case_that_cannot_be_used_ends_with_1(
    home: RefinementHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home.validation(0) / "case_0.npz"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        short = ("--iterations", "1", "--no-pbar", "--threads", "1", "--out", tmp_path / "refiner")
        assert typed("refine", "train", "990", "-c", "tiny", *short) == 1
    finally:
        file.write_bytes(content)
    assert "case_0: FAILED" in capsys.readouterr().out
    said = json.loads((tmp_path / "refiner" / "refiner.json").read_text())
    assert list(said["failed"]) == ["case_0"]
    assert len(said["held_out"]["cases"]) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "990", "-c", "tiny", "--folds", "all"), "fold all validates the cases"),
        (("train", "990", "-c", "nothing"), "expected a trained model in"),
        (("train", "990", "-c", "tiny", "--iterations", "0"), "expected 1 iteration or more, got 0"),
        (("train", "990", "-c", "tiny", "--factor", "3"), "expected a power of two as factor, got 3"),
        (("train", "990", "-c", "tiny", "--threads", "0"), "expected --threads of 1 or more, got 0"),
        (("apply", "nowhere", "-o", "out", "--refiner", "nowhere"), "expected a refiner (refiner.json"),
    ],
)
def test_wrong_usage_ends_with_2(
    home: RefinementHome,
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ("--out", tmp_path / "refiner") if words[0] == "train" else ()
    assert typed("refine", *words, *more, "--no-pbar") == 2
    assert message in caplog.text


def test_apply_reports_each_case(
    home: RefinementHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("refine", "apply", home.root / "unseen", "-o", tmp_path / "out")
    words = (*words, "--refiner", home.model / "refiner", "--no-pbar")
    assert typed(*words) == 0
    said = capsys.readouterr().out
    assert "unseen_0: refined: " in said
    assert "2 of 2 cases are in" in said
    assert typed(*words, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert [case["status"] for case in answer["cases"]] == ["skipped", "skipped"]
    assert answer["cases"][0]["changes"]["voxels"] > 0


def test_predict_with_a_refiner_is_predict_and_apply(
    home: RefinementHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = ("-i", home.root / "in")
    first, both, applied = (tmp_path / name for name in ("first", "both", "applied"))
    assert typed("predict", *images, "-o", first, *NAMES, "--save-probabilities") == 0
    assert typed("predict", *images, "-o", both, *NAMES, "--refiner", "--save-probabilities") == 0
    said = capsys.readouterr().out
    assert "refined: " in said
    assert "refinement " in said, "its seconds"
    refiner = ("--refiner", home.model / "refiner", "--no-pbar")
    assert typed("refine", "apply", first, "-o", applied, *refiner, "--save-probabilities") == 0
    assert_equal(labels_of(both), labels_of(applied))
    changed = [(labels != labels_of(first)[name]).any() for name, labels in labels_of(both).items()]
    assert any(changed)
    with np.load(both / "unseen_0.npz") as one, np.load(applied / "unseen_0.npz") as other:
        np.testing.assert_array_equal(one["probabilities"], other["probabilities"])
    # Refined once is enough.
    assert typed("refine", "apply", both, "-o", tmp_path / "twice", *refiner) == 2
    # A second run skips; one without the refiner is no continuation.
    capsys.readouterr()
    assert typed("predict", *images, "-o", both, *NAMES, "--refiner", "--save-probabilities") == 0
    assert "finished before" in capsys.readouterr().out
    assert typed("predict", *images, "-o", both, *NAMES, "--save-probabilities") == 2
    assert not (both / ".predicting").exists()


def test_predict_with_a_refiner_of_another_model_is_refused(
    home: RefinementHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(home.model, tmp_path / home.model.name)
    checkpoint = tmp_path / home.model.name / "fold_1" / "checkpoint_final.pth"
    shutil.copy(home.model / "fold_0" / "checkpoint_final.pth", checkpoint)
    words = ("predict", "-i", home.root / "in", "-o", tmp_path / "out", "-m", tmp_path / home.model.name)
    assert typed(*words, *NAMES[4:], "--refiner") == 2
    assert "differs in fold_1/checkpoint_final.pth" in caplog.text
    assert typed(*words, *NAMES[4:], "-f", "0", "2", "--refiner") == 0, "folds that it knows"


def test_a_refiner_that_does_not_gain_is_not_used(
    home: RefinementHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(home.model / "refiner", tmp_path / "refiner")
    file = tmp_path / "refiner" / "refiner.json"
    content = json.loads(file.read_text())
    content["held_out"]["unsure"]["gains"] = False
    file.write_text(json.dumps(content))
    images = ("-i", home.root / "in")
    words = (*images, *NAMES, "--refiner", tmp_path / "refiner")
    assert typed("predict", *images, "-o", tmp_path / "plain", *NAMES) == 0
    assert typed("predict", *words, "-o", tmp_path / "off") == 0
    assert "did not gain on held-out cases and is not used (--force-refiner)" in caplog.text
    assert_equal(labels_of(tmp_path / "off"), labels_of(tmp_path / "plain"))
    assert typed("predict", *words, "-o", tmp_path / "forced", "--force-refiner") == 0
    record = json.loads((tmp_path / "forced" / "predictions_ext.json").read_text())
    assert "refiner" in record["cases"]["unseen_0"]["settings"]


@pytest.mark.parametrize("option", ["--force-refiner", "--refine-everywhere"])
def test_options_of_a_refiner_want_one(
    home: RefinementHome, option: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert typed("predict", "-i", home.root / "in", "-o", tmp_path / "out", *NAMES, option) == 2
    assert f"{option} wants a refiner" in caplog.text


def test_packed_and_installed_elsewhere_it_refines_the_same(
    home: RefinementHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ("-i", home.root / "in")
    assert typed("predict", *images, "-o", tmp_path / "here", *NAMES, "--refiner") == 0
    assert typed("export-model", "-m", home.model, "-o", tmp_path / "model.zip") == 0
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "elsewhere"))
    assert typed("export-model", "--install", tmp_path / "model.zip") == 0
    installed = tmp_path / "elsewhere" / DATASET / home.model.name
    assert (installed / "refiner" / "refiner.json").is_file()
    assert typed("predict", *images, "-o", tmp_path / "there", "-m", installed, *NAMES[4:], "--refiner") == 0
    assert_equal(labels_of(tmp_path / "there"), labels_of(tmp_path / "here"))


def test_export_model_takes_a_refiner_from_elsewhere_and_refuses_others(
    home: RefinementHome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(home.model, tmp_path / home.model.name)
    shutil.move(tmp_path / home.model.name / "refiner", tmp_path / "refiner")
    words = ("export-model", "-m", tmp_path / home.model.name, "-o", tmp_path / "model.zip")
    assert typed(*words) == 0
    from zipfile import ZipFile

    assert not [name for name in ZipFile(tmp_path / "model.zip").namelist() if "refiner" in name]
    assert typed(*words, "--refiner", tmp_path / "refiner") == 0
    inside = [name for name in ZipFile(tmp_path / "model.zip").namelist() if "refiner" in name]
    assert [Path(name).name for name in inside] == ["refiner.json", "refiner.safetensors"]
    shutil.copy(home.model / "fold_0" / "checkpoint_final.pth", tmp_path / home.model.name / "fold_1")
    assert typed(*words, "--refiner", tmp_path / "refiner") == 2
    assert "differs in fold_1/checkpoint_final.pth" in caplog.text


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from nnunet_ext.cli.main import main; main(['refine', 'train', '--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'safetensors')))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True).returncode == 0
