"""The verb ``predict``: models by folder or by name, nnU-Net's spellings, exit codes and the report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.inference import predict_from_raw_data as stock
from tiny_models import Tiny, write_case

from nnunet_ext.cli import predict
from nnunet_ext.cli.main import main
from nnunet_ext.inference import run as room

MODEL = "Dataset990_tiny/nnUNetTrainer__nnUNetPlans__tiny"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nnUNet_results with one tiny model of two folds."""
    root = tmp_path_factory.mktemp("results")
    Tiny(folds=(0, 1), mirroring=(0, 1)).create(root / "Dataset990_tiny")
    return root


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # In this process: a process of its own for preprocessing is what tests/inference/test_run.py is about.
    real = room.predict_cases
    monkeypatch.setattr(room, "predict_cases", lambda *a, **k: real(*a, **{**k, "worker": False}))
    monkeypatch.setattr("nnunet_ext.inference.memory.keep_freed_memory", lambda: False)
    for seed, name in enumerate("ab"):
        write_case(tmp_path / "in", name, seed=seed, shape=(9, 18, 18))
    return tmp_path / "in"


def typed(images: Path, *options: Any) -> int:
    threads = torch.get_num_threads()
    try:
        common = ("-i", images, "-o", images.parent / "out", "--device", "cpu", "--threads", 1, "--no-pbar")
        return main(["predict", *map(str, common), *map(str, options)])
    finally:
        torch.set_num_threads(threads)


def report(images: Path, results: Path, *options: Any) -> dict[str, Any]:
    file = images.parent / "report.json"
    assert typed(images, "-m", results / MODEL, "--report", file, *options) == 0
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def test_low_memory_gives_freed_memory_back(
    images: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []
    monkeypatch.setattr("nnunet_ext.inference.memory.keep_freed_memory", lambda: kept.append(True))
    report(images, results, "--low-memory")
    assert not kept
    report(images, results, "--overwrite")
    assert kept


def test_by_folder_with_all_folds_and_mirroring(images: Path, results: Path) -> None:
    content = report(images, results)
    assert content["settings"]["mirroring_axes"] == [0, 1]
    assert content["settings"]["precision"] == "float32"
    assert set(content["settings"]["files"]) >= {"fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth"}
    assert [case["status"] for case in content["cases"]] == ["done", "done"]
    assert content["threads"] == 1
    assert set(content["versions"]) == {"nnunet_ext", "nnunetv2", "torch", "python"}


def test_by_nnunets_names(images: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_results", str(results))
    for name in ("raw", "preprocessed"):
        monkeypatch.setenv(f"nnUNet_{name}", str(images.parent))
    assert typed(images, "-d", "990", "-c", "tiny", "-f", "1", "--disable_tta") == 0
    arguments = json.loads((images.parent / "out" / "predict_from_raw_data_args.json").read_text())
    assert (arguments["dataset"], arguments["folds"]) == ("990", ["1"])


def test_results_go_to_stdout_and_only_they(
    images: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(images, "-m", results / MODEL, "-f", "0", "--disable-mirroring") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in shown[:2]] == ["a", "b"]
    assert shown[-1] == f"2 of 2 cases are in {images.parent / 'out'}"
    assert typed(images, "-m", results / MODEL, "-f", "0", "--disable-mirroring", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert [case["status"] for case in content["cases"]] == ["skipped", "skipped"]


def test_single_files_and_some_axes(images: Path, results: Path) -> None:
    out = images.parent / "single"
    code = main(
        [
            *("predict", "-i", str(images / "b_0000.nii.gz"), "-o", str(out), "-m", str(results / MODEL)),
            *("-device", "cpu", "--mirroring-axes", "1", "-step_size", "1", "--no-pbar", "--threads", "1"),
        ]
    )
    assert code == 0
    assert [p.name for p in out.glob("*.nii.gz")] == ["b.nii.gz"]


def test_a_bad_case_ends_with_1_and_its_reason(
    images: Path, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "a_0000.nii.gz").write_bytes(b"not an image")
    assert typed(images, "-m", results / MODEL, "-f", "0") == 1
    shown = capsys.readouterr().out
    assert "a: FAILED: " in shown
    assert "1 of 2 cases are in" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "either -m FOLDER, or -d DATASET and -c CONFIGURATION"),
        (["-m", "MODEL", "-d", "4", "-c", "2d"], "either -m FOLDER, or -d"),
        (["-d", "4"], "either -m FOLDER, or -d DATASET and -c"),
        (["-m", "/no/such/model"], "expected dataset.json in /no/such/model"),
        (["-m", "MODEL", "-f", "7"], "fold 7"),
        (["-m", "MODEL", "-f", "first"], "folds as numbers or all, got 'first'"),
        (["-m", "MODEL", "--step-size", "2"], "step size above 0 and at most 1, got 2.0"),
        (["-m", "MODEL", "--skip-tolerance", "-1"], "tolerance of 0 or more"),
        (["-m", "MODEL", "--mirroring-axes", "2"], "mirroring axes among"),
        (["-m", "MODEL", "--precision", "float16"], "float16 needs --device cuda"),
        (["-m", "MODEL", "--prev-stage-predictions", "x"], "has no previous stage"),
        (["-m", "MODEL", "--threads", "0"], "--threads of 1 or more"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_written(
    options: list[str], said: str, images: Path, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert typed(images, *(str(results / MODEL) if o == "MODEL" else o for o in options)) == 2
    assert said in caplog.text
    assert not list((images.parent / "out").glob("*.nii.gz"))


def test_no_gpu_is_said(images: Path, results: Path, caplog: pytest.LogCaptureFixture) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert typed(images, "-m", results / MODEL, "--device", "cuda") == 2
    assert "torch finds none; predict with --device cpu" in caplog.text


@pytest.mark.parametrize(
    "option", [("--on-empty", "fail"), ("--coarse-folds", "0"), ("--everywhere",)], ids=lambda o: o[0]
)
def test_options_of_cascades_are_refused_for_other_models(
    images: Path, results: Path, option: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    assert typed(images, "-m", results / MODEL, *option) == 2
    assert f"tiny has no previous stage: leave {option[0]} out" in caplog.text


def test_nnunets_own_spellings_are_taken() -> None:
    """Those of nnUNetv2_predict that mean something here."""
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    own = {option for action in parser._actions for option in action.option_strings}
    source = Path(stock.__file__).read_text()
    shared = [
        *("-i", "-o", "-d", "-p", "-tr", "-c", "-f", "-m", "-step_size", "--disable_tta", "-chk", "-device"),
        *("--save_probabilities", "--continue_prediction", "-prev_stage_predictions"),
        "--disable_progress_bar",
    ]
    for option in shared:
        assert f"'{option}'" in source, option
        assert option in own
