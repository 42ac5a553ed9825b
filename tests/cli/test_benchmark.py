"""The verb: declared in a file or typed, run, gone on with, looked at."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_training import calls, install, install_python, preprocessed_dataset, wait_until_interruptible

from nnunet_ext.cli.main import main
from nnunet_ext.evaluation.benchmark.matrix import RESENC_PLANS

DATASET = "Dataset004_X"
TYPED = ["--dataset", "4", "--trainers", "nnUNetTrainerAGUNet", "--folds", "0", "--budget", "4epochs"]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, monkeypatch)
    folder = preprocessed_dataset(
        tmp_path / "preprocessed", dataset=DATASET, plans=("nnUNetPlans", RESENC_PLANS)
    )
    monkeypatch.setenv("nnUNet_preprocessed", str(folder))
    monkeypatch.setenv("CONTROL", str(tmp_path))
    for name in ("raw", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    return tmp_path


def benchmark(control: Path, *arguments: str) -> int:
    return main(["benchmark", "run", *arguments, "--out", str(control / "b"), "--device", "cpu", "--no-pbar"])


def test_a_benchmark_is_run_and_gone_on_with(control: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (control / "fail").touch()
    assert benchmark(control, *TYPED) == 1
    assert len(json.loads(capsys.readouterr().out)["failed"]) == 3
    (control / "fail").unlink()
    assert benchmark(control, *TYPED) == 0
    assert json.loads(capsys.readouterr().out) == {"finished": 3, "failed": []}
    trained = [(call[call.index("-tr") + 1], call[call.index("-p") + 1]) for call in calls(control)]
    assert set(trained) == {
        ("nnUNetTrainer_4epochs", "nnUNetPlans"),
        ("nnUNetTrainer_4epochs", RESENC_PLANS),
        ("nnUNetTrainerAGUNet_4epochs", "nnUNetPlans"),
    }
    assert main(["benchmark", "status", str(control / "b")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("finished     Dice 0.500") for line in lines)
    assert main(["benchmark", "status", str(control / "b"), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert {record["status"] for record in records.values()} == {"finished"}


def test_a_file_declares_it_and_what_is_typed_counts_more(control: Path) -> None:
    file = control / "bench.toml"
    file.write_text(
        'dataset = "Dataset004_X"\ntrainers = ["nnUNetTrainerAGUNet"]\nfolds = [0, 1]\nbaselines = []\n'
    )
    assert benchmark(control, str(file), "--folds", "1", "--repeats", "2", "--budget", "2epochs") == 0
    assert len(calls(control)) == 4
    assert {call[2] for call in calls(control)} == {"1"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "4"], "expected trainers"),
        (["missing.toml"], "missing.toml"),
        ([*TYPED, "--precision", "amp"], "precision amp does not go with --device cpu"),
        ([*TYPED, "--plans", "nnUNetOtherPlans"], "or the command that makes nnUNetOtherPlans"),
        ([*TYPED[:2], "--trainers", "nnUNetTrainer_5epochs"], "has a length of its own"),
        (["--dataset", "77", "--trainers", "T"], "no dataset 77"),
        ([*TYPED, "--cpus", "4"], "--cpus is for jobs of a cluster; give --cluster slurm"),
        ([*TYPED, "--no-wait"], "--no-wait is for jobs of a cluster"),
        ([*TYPED, "--cluster", "slurm", "--gpus", "0"], "--gpus is for this computer"),
        ([*TYPED, "--cluster", "slurm", "--at-once", "2"], "--at-once is for this computer"),
        ([*TYPED, "--trainers", "nnUNetTrainerRASUnet"], "nnUNetTrainerRASUnet_4epochs is not a trainer"),
        ([*TYPED, "--trainers", "nnUNetTrainerAGUNet_NoSAM"], "has nothing for NoSAM to leave out"),
        ([*TYPED, "--precision", "bfloat16"], "such as 4epochs_250iters"),
        (
            [
                *TYPED,
                "--trainers",
                "nnUNetTrainerDA5",
                *["--budget", "4epochs_5iters", "--precision", "bfloat16"],
            ],
            "nnUNetTrainerDA5 is not ours: on a CPU it would compute in float32",
        ),
        ([*TYPED, "--gpus", "0"], "--gpus goes with --device cuda, got cpu"),
        ([*TYPED, "--at-once", "0"], "trainings at a time, one a core, got 0"),
        (
            [*TYPED, "--cluster", "slurm", "--slurm", "mem=4G"],
            "--slurm mem: expected what has no option here",
        ),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(
    control: Path, caplog: pytest.LogCaptureFixture, arguments: list[str], message: str
) -> None:
    assert benchmark(control, *arguments) == 2
    assert message in caplog.text
    assert not (control / "b").exists()


@pytest.mark.skipif(
    len(getattr(os, "sched_getaffinity", lambda _: ())(0)) < 2, reason="one core, or it cannot be chosen"
)
def test_trainings_at_once_share_the_cores(control: Path) -> None:
    assert benchmark(control, *TYPED, "--baselines", "--repeats", "2", "--at-once", "2") == 0
    found = set((control / "cores.txt").read_text().splitlines())
    mine = sorted(os.sched_getaffinity(0))
    assert found <= {",".join(map(str, mine[start::2])) for start in (0, 1)}
    records = [json.loads(file.read_text()) for file in (control / "b").glob("records/*.json")]
    used = {record["machine"]["cores_used"] for record in records}
    assert used <= {(len(mine) + 1) // 2, len(mine) // 2}
    assert found
    assert used


def test_a_gpu_is_shared_by_naming_it(control: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["benchmark", "run", *TYPED, "--at-once", "2", "--out", str(control / "b")]) == 2
    assert "--at-once goes with --device cpu, got cuda; name --gpus instead" in caplog.text


@pytest.mark.parametrize(
    ("device", "precision", "is_refused"),
    [("mps", "amp", True), ("mps", "bfloat16", True), ("cuda", "float32", True), ("mps", "float32", False)],
)
def test_mixed_precision_is_that_of_cuda(
    control: Path, caplog: pytest.LogCaptureFixture, device: str, precision: str, is_refused: bool
) -> None:
    typed = ["benchmark", "run", *TYPED, "--budget", "4epochs_9iters", "--baselines", "--no-pbar"]
    typed += ["--out", str(control / "b"), "--device", device, "--precision", precision]
    assert (main(typed) == 2) == is_refused
    assert (f"precision {precision} does not go with --device {device}" in caplog.text) == is_refused


@pytest.mark.parametrize(("error", "is_there"), [("", True), ("RuntimeError: Could not find it", False)])
def test_trainers_of_others_are_looked_up_before_anything_trains(
    control: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    is_there: bool,
) -> None:
    asked: list[str] = []

    def look_up(names: list[str], *, environment: dict[str, str]) -> SimpleNamespace:
        asked.extend(names)
        assert "hook" in environment["nnUNet_extTrainer"]
        return SimpleNamespace(look_ups=[SimpleNamespace(name=name, error=error) for name in names])

    monkeypatch.setattr("nnunet_ext.cli.fresh_process.look_up_in_fresh_process", look_up)
    typed = [*TYPED, "--trainers", "nnUNetTrainerAGUNet", "nnUNetTrainerDA5", "--baselines"]
    assert benchmark(control, *typed) == (0 if is_there else 2)
    assert asked == ["nnUNetTrainerDA5_4epochs"]
    message = "nnU-Net finds no nnUNetTrainerDA5 with the budget 4epochs, as nnUNetTrainerDA5_4epochs"
    assert (message in caplog.text) != is_there
    assert (control / "b").exists() == is_there


def test_a_file_that_is_no_toml(control: Path, caplog: pytest.LogCaptureFixture) -> None:
    (control / "bench.toml").write_text("trainers = [")
    assert benchmark(control, str(control / "bench.toml")) == 2
    assert "is no TOML" in caplog.text


def test_a_folder_without_a_benchmark(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(["benchmark", "status", str(tmp_path)]) == 2
    assert "benchmark.json" in caplog.text


def test_folds_are_drawn_before_the_first_training(control: Path) -> None:
    dataset = control / "preprocessed" / DATASET
    (dataset / "splits_final.json").unlink()
    for number in range(5):
        (dataset / "nnUNetPlans_3d_fullres" / f"case_{number}.b2nd").touch()
    assert benchmark(control, *TYPED, "--baselines") == 0
    assert len(json.loads((dataset / "splits_final.json").read_text())) == 5  # the stand-in draws none
    declared = json.loads((control / "b" / "benchmark.json").read_text())
    assert "splits_final.json" in declared["sha256"]


@pytest.mark.skipif(sys.platform == "win32", reason="submitit needs POSIX signals")
def test_a_benchmark_on_a_cluster(control: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install_python(control)
    (control / "wait").touch()
    typed = [*TYPED, "--baselines", "--trainers", "nnUNetTrainer"]
    assert benchmark(control, *typed, "--cluster", "local", "--no-wait") == 0
    told = json.loads(capsys.readouterr().out)
    ((name, job),) = told["submitted"].items()
    assert name == "nnUNetTrainer__nnUNetPlans__3d_fullres__fold_0__repeat_0"
    model = "nnUNetTrainer_4epochs__nnUNetPlans__3d_fullres"
    wait_until_interruptible(control / "b" / "repeat_0" / DATASET / model / "fold_0")

    assert main(["benchmark", "status", str(control / "b")]) == 0
    assert capsys.readouterr().out.startswith("running ")
    assert benchmark(control, *typed, "--cluster", "local", "--no-wait") == 0
    assert json.loads(capsys.readouterr().out) == {"submitted": {}, "before": {name: job}}
    assert benchmark(control, *typed) == 2  # not here, too

    os.kill(int((control / "processes.txt").read_text().split()[1]), signal.SIGUSR2)
    assert benchmark(control, *typed, "--cluster", "local") == 0
    assert json.loads(capsys.readouterr().out) == {"finished": 1, "failed": []}
    assert ["--c" in call for call in calls(control)] == [False, True]
    assert (control / "b" / "records" / f"{name}.json").is_file()
    assert benchmark(control, *typed) == 0
    assert len(calls(control)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="submitit needs POSIX signals")
def test_a_job_that_fails_is_told_as_on_one_computer(
    control: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    install_python(control)
    (control / "fail").touch()
    typed = [*TYPED, "--baselines", "--trainers", "nnUNetTrainer", "--cluster", "local"]
    assert benchmark(control, *typed) == 1
    told = json.loads(capsys.readouterr().out)
    assert told == {"finished": 0, "failed": ["nnUNetTrainer__nnUNetPlans__3d_fullres__fold_0__repeat_0"]}
    assert "the reason" in caplog.text
