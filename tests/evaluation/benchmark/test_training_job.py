"""What a job does, in this process: what it hands to submitit, what it does when it is told to end."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_training import calls, install, wait_until_interruptible
from submitit.core.utils import DelayedSubmission, UncompletedJobError

from nnunet_ext.commands import CommandStoppedError
from nnunet_ext.evaluation.benchmark import training_job
from nnunet_ext.evaluation.benchmark.matrix import Matrix
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import read_record
from nnunet_ext.evaluation.benchmark.tickets import Ticket, save_ticket
from nnunet_ext.evaluation.benchmark.training_job import TrainingJob


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, monkeypatch)
    return tmp_path


def job_for(control: Path, *, device: str = "cpu", given_to: str = "here") -> TrainingJob:
    matrix = Matrix(
        "Dataset004_X", (), folds=(0,), precision="float32", budget="4epochs", baselines=("nnUNetPlans",)
    )
    places = Places(control / "benchmark", matrix)
    (run,) = matrix.runs
    save_ticket(Ticket(given_to, "slurm", "7_0"), places.ticket(run))
    return TrainingJob(run, places, device, {"CONTROL": str(control), "nnUNet_compile": "f"}, "here")


def test_what_is_queued_again_is_the_same_job(control: Path) -> None:
    job = job_for(control)
    again = job.checkpoint()
    again.dump(control / "again.pkl")
    assert DelayedSubmission.load(control / "again.pkl").function == job
    assert pickle.loads(pickle.dumps(job)) == job
    (control / "fail").touch()
    assert job() == "failed"
    (control / "fail").unlink()
    assert again.result() == "finished"
    assert ["--c" in call for call in calls(control)] == [False, True]


def test_a_job_whose_training_was_given_to_another_does_nothing(control: Path) -> None:
    assert job_for(control, given_to="elsewhere")() == "given to another job"
    assert not (control / "calls.txt").exists()


@pytest.mark.parametrize(("visible", "seen"), [("3", "3"), ("3,4", "3")])
def test_nnunet_gets_the_gpu_that_the_cluster_gave(
    control: Path, monkeypatch: pytest.MonkeyPatch, visible: str, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert job_for(control, device="cuda")() == "finished"
    assert calls(control)[0][-1] == seen


def test_a_job_that_is_told_to_end_waits_for_it_and_is_no_failed_training(
    control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_job, "_LAST_S", 0.01)
    (control / "wait").touch()
    job = job_for(control)

    def end() -> None:
        wait_until_interruptible(job.places.fold(job.run))
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(CommandStoppedError, match="SIGTERM"):
        job()
    ending.join()
    assert signal.getsignal(signal.SIGTERM) == before
    assert job.places.state(job.run) == "interrupted"
    assert not job.places.record(job.run).exists()
    assert job() == "finished"


def test_a_job_whose_time_was_over_too_often_is_a_failed_training(
    control: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def over(*_: Any, **__: Any) -> None:
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    monkeypatch.setattr(training_job, "train", over)
    job = job_for(control)
    with pytest.raises(UncompletedJobError):
        job()
    record = read_record(job.places.record(job.run))
    assert record.status == "failed"
    assert "timed-out too many times" in record.reason
