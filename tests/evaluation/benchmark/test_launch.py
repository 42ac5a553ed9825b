"""Trainings through a stand-in for nnUNetv2_train: begun, gone on with, validated, failed, stopped."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from fake_training import calls, install, wait_until_interruptible

from nnunet_ext.commands import CommandStoppedError
from nnunet_ext.evaluation.benchmark.launch import train, train_all
from nnunet_ext.evaluation.benchmark.matrix import Arm, Matrix, Run
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import read_record
from nnunet_ext.evaluation.benchmark.shares import shares_of_gpus


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files tell the stand-in what to do, and where it notes its calls."""
    install(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    matrix = Matrix(
        "Dataset004_X",
        ("nnUNetTrainerAGUNet",),
        budget="4epochs",
        folds=(0, 1),
        precision="float32",
        baselines=(),
    )
    return Places(tmp_path / "benchmark", matrix)


def environment(control: Path) -> dict[str, str]:
    return {**os.environ, "CONTROL": str(control)}


RUN = Run(Arm("nnUNetTrainerAGUNet", "nnUNetPlans", "3d_fullres"), fold=1, repeat=0)


def test_a_training_and_what_is_known_of_it(control: Path, places: Places) -> None:
    record = train(RUN, places, device="cpu", environment=environment(control))
    (call,) = calls(control)
    assert call[:3] == ["Dataset004_X", "3d_fullres", "1"]
    assert call[3:9] == ["-tr", "nnUNetTrainerAGUNet_4epochs", "-p", "nnUNetPlans", "-device", "cpu"]
    assert call[9:] == ["0", "-"]  # float32, no GPU
    assert (record.status, record.reason, record.attempts, record.epochs) == ("finished", "", 1, 4)
    assert record.mean_dice == 0.6
    assert record.seconds_per_epoch == 11.5
    assert record.parameters == 7  # shared weights once, no whole numbers
    assert 0 < record.wall_seconds < 60
    assert (record.peak_memory_gib is None) == (sys.platform != "linux")
    assert record.peak_gpu_memory_gib is None
    assert record.machine["versions"]["torch"] == importlib.metadata.version("torch")
    assert read_record(places.record(RUN)) == record
    assert train(RUN, places, device="cpu", environment=environment(control)) == record
    assert len(calls(control)) == 1


def test_a_failed_training_is_told_and_gone_on_with(control: Path, places: Places) -> None:
    (control / "fail").touch()
    failed = train(RUN, places, device="cpu", environment=environment(control))
    assert failed.status == "failed"
    assert "nnUNetv2_train ended with exit code 1" in failed.reason
    assert failed.reason.endswith("the reason")
    assert math.isnan(failed.mean_dice)
    assert read_record(places.record(RUN)).reason == failed.reason
    (control / "fail").unlink()
    record = train(RUN, places, device="cpu", environment=environment(control))
    assert (record.status, record.epochs, record.attempts) == ("finished", 4, 2)
    assert [call[-3] for call in calls(control)] == ["cpu", "--c"]
    assert "the reason" in places.log(RUN).read_text()


def test_a_training_without_its_validation_is_only_validated(control: Path, places: Places) -> None:
    (control / "fail at the end").touch()
    assert train(RUN, places, device="cpu", environment=environment(control)).status == "failed"
    record = train(RUN, places, device="cpu", environment=environment(control))
    assert (record.status, record.attempts) == ("finished", 2)
    assert calls(control)[1][-3] == "--val"


def test_a_record_that_was_not_written_in_time_is_made_up_for(control: Path, places: Places) -> None:
    record = train(RUN, places, device="cpu", environment=environment(control))
    places.record(RUN).unlink()
    again = train(RUN, places, device="cpu", environment=environment(control))
    assert (again.status, again.mean_dice, again.wall_seconds) == ("finished", 0.6, record.wall_seconds)
    assert len(calls(control)) == 1


@pytest.mark.parametrize("file", ["checkpoint_final.pth", "validation/summary.json"])
def test_what_a_kill_cut_off_while_it_was_written_is_made_again(
    control: Path, places: Places, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """nnU-Net's own trainers write straight into their files."""
    record = train(RUN, places, device="cpu", environment=environment(control))
    places.record(RUN).unlink()
    written = places.fold(RUN) / file
    written.write_bytes(written.read_bytes()[:-5])
    if file.endswith(".pth"):
        (places.fold(RUN) / "validation" / "summary.json").unlink()
    (again,) = train_all([RUN], places, device="cpu", environment=environment(control))
    assert (again.status, again.mean_dice, again.parameters) == ("finished", 0.6, record.parameters)
    assert calls(control)[1][-3] == ("cpu" if file.endswith(".pth") else "--val")
    assert ("checkpoint_final.pth was cut off" in caplog.text) == file.endswith(".pth")


def test_a_training_goes_on_from_the_checkpoint_that_is_whole(control: Path, places: Places) -> None:
    (control / "fail").touch()
    train(RUN, places, device="cpu", environment=environment(control))
    (control / "fail").unlink()
    fold = places.fold(RUN)
    (fold / "checkpoint_final.pth").write_bytes(b"PK")
    assert places.state(RUN) == "interrupted"
    assert train(RUN, places, device="cpu", environment=environment(control)).status == "finished"
    assert calls(control)[1][-3] == "--c"
    assert (fold / "checkpoint_final.pth.cut_off").is_file()


def test_one_that_fails_does_not_stop_the_others(control: Path, places: Places) -> None:
    runs = places.matrix.runs
    broken = places.fold(runs[1])
    broken.parent.mkdir(parents=True)
    broken.touch()  # where its folder should be
    records = train_all(runs, places, device="cpu", environment=environment(control))
    assert [record.run for record in records] == [run.name for run in runs]
    assert [record.status for record in records] == ["finished", "failed", "finished", "finished"]
    broken.unlink()
    again = train_all(runs, places, device="cpu", environment=environment(control))
    assert {record.status for record in again} == {"finished"}
    assert len(calls(control)) == 4


def test_repeats_do_not_overwrite_one_another(control: Path, tmp_path: Path) -> None:
    matrix = Matrix("Dataset004_X", (), folds=(0,), repeats=3, precision="float32", baselines=())
    places = Places(tmp_path / "benchmark", matrix)
    train_all(matrix.runs, places, device="cpu", environment=environment(control))
    assert len(calls(control)) == 3
    assert len({places.fold(run) for run in matrix.runs}) == 3
    assert len(list(tmp_path.rglob("checkpoint_final.pth"))) == 3


def test_each_gpu_has_one_training_at_a_time(control: Path, places: Places) -> None:
    shares = shares_of_gpus(("0", "1"))
    train_all(places.matrix.runs, places, device="cuda", environment=environment(control), shares=shares)
    found = calls(control)
    assert {call[-1] for call in found} == {"0", "1"}
    assert {call[-2] for call in found} == {os.environ.get("nnUNet_ext_bfloat16", "-")}


def test_the_memory_is_that_of_the_gpu_that_is_used(
    control: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = control / "bin" / "nvidia-smi"
    script.write_text(f'#!/bin/sh\necho "$@" >> {control}/asked.txt\necho 1536\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{control / 'bin'}{os.pathsep}{os.environ['PATH']}")
    variables = environment(control) | {"CUDA_VISIBLE_DEVICES": "3,4"}
    assert train(RUN, places, device="cuda", environment=variables).peak_gpu_memory_gib == 1.5
    asked = [line.split()[-2:] for line in (control / "asked.txt").read_text().splitlines()]
    assert ["-i", "3"] in asked
    assert ["-i", "0"] not in asked


def test_cascades_begin_once_all_that_they_go_on_from_has_ended(control: Path, tmp_path: Path) -> None:
    matrix = Matrix(
        "Dataset004_X",
        (),
        folds=(0, 1),
        configurations=("3d_cascade_fullres", "3d_lowres"),
        precision="float32",
        baselines=(),
    )
    places = Places(tmp_path / "benchmark", matrix)
    (control / "slow").touch()
    assert [places.waits(run) for run in matrix.runs] == [False, False, True, True]
    shares = shares_of_gpus(("0", "1", "2", "3"))
    train_all(matrix.runs, places, device="cuda", environment=environment(control), shares=shares)
    assert sorted(call[1] for call in calls(control)[:2]) == ["3d_lowres", "3d_lowres"]
    ends = [max(f.stat().st_mtime for f in places.fold(run).rglob("*")) for run in matrix.runs[:2]]
    begins = [(places.fold(run) / "training_log_0.txt").read_text()[:26] for run in matrix.runs[2:]]
    assert max(ends) <= min(datetime.fromisoformat(begin).timestamp() for begin in begins)
    assert not any(places.waits(run) for run in matrix.runs)


def test_what_is_stopped_goes_on_later(control: Path, places: Places) -> None:
    (control / "wait").touch()
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            train(RUN, places, device="cpu", environment=environment(control), stop=stop)
        except CommandStoppedError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until_interruptible(places.fold(RUN))
    stop.set()
    thread.join(30)
    assert len(failures) == 1
    assert places.state(RUN) == "interrupted"
    (control / "wait").unlink()
    record = train(RUN, places, device="cpu", environment=environment(control))
    assert (record.status, record.epochs) == ("finished", 4)
    assert calls(control)[1][-3] == "--c"
    json.loads(places.record(RUN).read_text())
