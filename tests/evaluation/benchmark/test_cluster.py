"""Trainings as jobs of submitit's local cluster: processes of this computer, with a stand-in for nnU-Net."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from fake_training import calls, install, install_python, wait_until_interruptible

from nnunet_ext.evaluation.benchmark.cluster import Submitted, submit_missing, wait_for
from nnunet_ext.evaluation.benchmark.live_jobs import live_jobs
from nnunet_ext.evaluation.benchmark.matrix import Matrix
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import read_record
from nnunet_ext.evaluation.benchmark.resources import Resources
from nnunet_ext.evaluation.benchmark.tickets import read_ticket

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="submitit needs POSIX signals")


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, monkeypatch)
    install_python(tmp_path)
    monkeypatch.setenv("CONTROL", str(tmp_path))
    return tmp_path


def places(control: Path, *, folds: tuple[int, ...] = (0,)) -> Places:
    matrix = Matrix("Dataset004_X", (), folds=folds, precision="float32", budget="4epochs", baselines=())
    return Places(control / "benchmark", matrix)


def submit(where: Places) -> Submitted:
    variables = {"OMP_WAIT_POLICY": "PASSIVE", "UNRELATED": "1"}
    return submit_missing(where, device="cpu", environment=variables, resources=Resources("local"))


def test_all_train_and_one_that_fails_does_so_alone(control: Path) -> None:
    where = places(control, folds=(0, 1))
    good, bad = where.matrix.runs
    broken = where.fold(bad)
    broken.parent.mkdir(parents=True)
    broken.touch()  # where its folder should be
    jobs = submit(where)
    assert (set(jobs.new), jobs.before) == ({good, bad}, {})
    reasons = wait_for(jobs.new, where)
    assert set(reasons) == {bad}
    assert "nnUNetv2_train ended with exit code 1" in reasons[bad]
    assert "_log.err" in reasons[bad]
    record = read_record(where.record(good))
    assert (record.status, record.mean_dice, record.epochs, record.reason) == ("finished", 0.5, 4, "")
    assert record.machine["versions"]["nnunet_ext"]
    assert read_record(where.record(bad)).status == "failed"
    (call,) = calls(control)
    assert call[-1] == "0"  # float32, and no GPU to be seen
    assert list(where.submission(jobs.new[good].submission).glob("*_log.out"))

    broken.unlink()
    again = submit(where)
    assert set(again.new) == {bad}
    assert wait_for(again.new, where) == {}
    assert submit(where) == Submitted({}, {})
    assert len(calls(control)) == 2


def test_cascades_are_submitted_once_what_they_go_on_from_is_there(control: Path) -> None:
    matrix = Matrix(
        "Dataset004_X",
        (),
        folds=(0,),
        configurations=("3d_lowres", "3d_cascade_fullres"),
        precision="float32",
        budget="4epochs",
        baselines=(),
    )
    where = Places(control / "benchmark", matrix)
    coarse, fine = matrix.runs
    first = submit(where)
    assert (set(first.new), first.waiting) == ({coarse}, (fine,))
    assert wait_for(first.new, where) == {}
    second = submit(where)
    assert (set(second.new), second.waiting) == ({fine}, ())
    assert wait_for(second.new, where) == {}


def test_a_job_that_is_there_is_not_submitted_again_and_one_that_was_killed_goes_on(control: Path) -> None:
    where = places(control)
    (run,) = where.matrix.runs
    (control / "wait").touch()
    first = submit(where)
    wait_until_interruptible(where.fold(run))
    assert submit(where) == Submitted({}, first.new)
    assert live_jobs(where)[run].state == "running"
    for process in (control / "processes.txt").read_text().split():
        os.kill(int(process), signal.SIGKILL)
    assert "was killed" in wait_for(first.new, where)[run]
    assert live_jobs(where) == {}
    second = submit(where)
    assert second.new[run] != first.new[run]
    assert wait_for(second.new, where) == {}
    assert ["--c" in call for call in calls(control)] == [False, True]
    assert read_record(where.record(run)).attempts == 2


def test_a_job_that_is_preempted_is_queued_again_and_goes_on(control: Path) -> None:
    where = places(control)
    (run,) = where.matrix.runs
    (control / "wait").touch()
    jobs = submit(where)
    wait_until_interruptible(where.fold(run))
    _, job = (control / "processes.txt").read_text().split()
    os.kill(int(job), signal.SIGUSR2)  # what Slurm sends before a job's time is over
    assert wait_for(jobs.new, where) == {}
    assert read_ticket(run, where) == jobs.new[run]
    assert ["--c" in call for call in calls(control)] == [False, True]
    assert (read_record(where.record(run)).epochs, read_record(where.record(run)).attempts) == (4, 2)
