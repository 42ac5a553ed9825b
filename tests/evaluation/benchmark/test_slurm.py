"""What reaches Slurm: a stand-in for its commands keeps what sbatch was given, and answers for squeue."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_training import calls, install, install_python, wait_until_interruptible

from nnunet_ext.commands import EnvironmentProblemError
from nnunet_ext.evaluation.benchmark import cluster
from nnunet_ext.evaluation.benchmark.cluster import Submitted, submit_missing, wait_for
from nnunet_ext.evaluation.benchmark.live_jobs import live_jobs
from nnunet_ext.evaluation.benchmark.matrix import Matrix
from nnunet_ext.evaluation.benchmark.places import Places
from nnunet_ext.evaluation.benchmark.records import read_record
from nnunet_ext.evaluation.benchmark.resources import Resources, slurm_settings
from nnunet_ext.evaluation.benchmark.tickets import Ticket, read_ticket, result_file, save_ticket

SBATCH = """\
#!/bin/sh
if [ -f "$SLURM/refuse" ]; then echo "sbatch: error: invalid partition specified: no" >&2; exit 1; fi
cp "$1" "$SLURM/script.sh"
echo "Submitted batch job 77"
"""
SQUEUE = """\
#!/bin/sh
echo "$@" >> "$SLURM/asked.txt"
if [ -n "$SQUEUE_STATES" ]; then echo "states of the user" >&2; exit 1; fi
if [ -f "$SLURM/busy" ]; then echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; fi
if [ -f "$SLURM/queue" ]; then cat "$SLURM/queue"; exit 0; fi
echo "slurm_load_jobs error: Invalid job id specified" >&2
exit 1
"""
# Runs the command behind its options here.
SRUN = """\
#!/bin/sh
while [ "${1#-}" != "$1" ]; do case "$1" in --output|--error) shift;; esac; shift; done
exec "$@"
"""
SCONTROL = """\
#!/bin/sh
echo "$@" >> "$SLURM/requeued.txt"
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files tell the stand-in what to answer."""
    commands = tmp_path / "slurm"
    commands.mkdir()
    texts = {"sbatch": SBATCH, "squeue": SQUEUE, "srun": SRUN, "scontrol": SCONTROL}
    for name, text in texts.items():
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", os.pathsep.join([str(commands), os.environ["PATH"]]))
    monkeypatch.setenv("SLURM", str(tmp_path))
    monkeypatch.setenv("SQUEUE_STATES", "all")
    return tmp_path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "my benchmark", Matrix("Dataset004_X", (), folds=(0, 1), baselines=()))


def submit(places: Places, *, device: str = "cuda", **resources: Any) -> Submitted:
    asked = Resources("slurm", **resources)
    return submit_missing(places, device=device, environment={"nnUNet_raw": "raw"}, resources=asked)


def settings(slurm: Path) -> dict[str, str]:
    """What sbatch was told in its file."""
    text = (slurm / "script.sh").read_text()
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", text, flags=re.MULTILINE))


def test_one_array_with_a_gpu_a_job(slurm: Path, places: Places) -> None:
    jobs = submit(
        places,
        time_limit_min=90,
        cpus=8,
        memory_gib=32,
        max_jobs=1,
        slurm=slurm_settings(["partition=gpu", "account=onco", "exclusive", "mail-type=END"]),
    )
    assert [ticket.job for ticket in jobs.new.values()] == ["77_0", "77_1"]
    given = settings(slurm)
    assert given["array"] == "0-1%1"
    assert (given["time"], given["cpus-per-task"], given["mem"], given["gpus-per-node"]) == (
        "90",
        "8",
        "32GB",
        "1",
    )
    assert (given["partition"], given["account"], given["mail-type"]) == ("gpu", "onco", "END")
    assert (given["exclusive"], given["requeue"]) == ("", "")
    assert given["signal"].startswith("USR2@")
    assert given["chdir"] == os.getcwd()
    assert given["job-name"] == "'my benchmark'"
    last = (slurm / "script.sh").read_text().splitlines()[-1]
    assert last.startswith("srun ")
    assert "--cpus-per-task=8" in last
    assert f"{sys.executable} -u -m submitit.core._submit" in last
    (submission,) = {ticket.submission for ticket in jobs.new.values()}
    assert str(places.submission(submission)) in last


def test_what_slurm_is_given_trains_is_queued_again_and_goes_on(
    slurm: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(slurm, monkeypatch)
    install_python(slurm)
    monkeypatch.setenv("CONTROL", str(slurm))
    jobs = submit(places, cpus=1)
    run = places.matrix.runs[1]
    element = {"SLURM_JOB_ID": "78", "SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1"}
    element["CUDA_VISIBLE_DEVICES"] = "5"

    (slurm / "wait").touch()
    with subprocess.Popen(["bash", str(slurm / "script.sh")], env=os.environ | element) as job:
        wait_until_interruptible(places.fold(run))
        _, python = (slurm / "processes.txt").read_text().split()
        os.kill(int(python), signal.SIGUSR2)
        assert job.wait(60) != 0
    assert (slurm / "requeued.txt").read_text() == "requeue 77_1\n"
    assert not result_file(jobs.new[run], places).exists()
    assert places.state(run) == "interrupted"

    subprocess.run(["bash", str(slurm / "script.sh")], env=os.environ | element, check=True, timeout=120)
    assert read_record(places.record(run)).status == "finished"
    assert [("--c" in call, call[-1]) for call in calls(slurm)] == [(False, "5"), (True, "5")]
    monkeypatch.setattr(cluster, "_INTERVAL_S", {"slurm": 0.0})
    assert wait_for([run], places) == {}


def test_a_job_that_slurm_has_ended_is_looked_for_twice(
    slurm: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_INTERVAL_S", {"slurm": 0.0})
    jobs = submit(places)
    reasons = wait_for(jobs.new, places)
    assert [reason.partition(" (")[0] for reason in reasons.values()] == [
        f"its job 77_{number} could not begin, or was killed" for number in (0, 1)
    ]
    assert len((slurm / "asked.txt").read_text().splitlines()) == 2


def test_a_job_carries_the_variables_that_nnunet_needs(slurm: Path, places: Places) -> None:
    jobs = submit_missing(
        places,
        device="cpu",
        environment={
            "nnUNet_raw": "raw",
            "OMP_WAIT_POLICY": "PASSIVE",
            "CUDA_VISIBLE_DEVICES": "7",
            "KEY": "x",
        },
        resources=Resources("slurm", cpus=4),
    )
    from submitit.slurm.slurm import SlurmJob

    ticket = next(iter(jobs.new.values()))
    carried = SlurmJob(places.submission(ticket.submission), ticket.job).submission().function.environment
    assert carried == {"nnUNet_n_proc_DA": "4", "nnUNet_raw": "raw", "OMP_WAIT_POLICY": "PASSIVE"}
    assert "gpus-per-node" not in settings(slurm)


@pytest.mark.parametrize("words", ["gres=gpu:a100:1", "gpus-per-task=1", "--gpus=1"])
def test_which_gpu_may_be_said(slurm: Path, places: Places, words: str) -> None:
    submit(places, slurm=slurm_settings([words]))
    given = settings(slurm)
    key, _, value = words.lstrip("-").partition("=")
    assert given[key] == value
    assert "gpus-per-node" not in given


def test_jobs_in_the_queue_are_not_submitted_again(slurm: Path, places: Places) -> None:
    first = submit(places)
    (slurm / "script.sh").unlink()
    (slurm / "queue").write_text("77_0 RUNNING\n77_1 PENDING\n")
    assert submit(places) == Submitted({}, first.new)
    assert not (slurm / "script.sh").exists()
    assert [job.state for job in live_jobs(places).values()] == ["running", "queued"]
    assert "--jobs=77" in (slurm / "asked.txt").read_text()

    (slurm / "queue").write_text("77_1 RUNNING\n")
    second = submit(places)
    assert (set(second.new), set(second.before)) == ({places.matrix.runs[0]}, {places.matrix.runs[1]})

    (slurm / "queue").unlink()  # it has forgotten them
    assert live_jobs(places) == {}
    assert len(submit(places).new) == 2


def test_several_arrays_of_which_some_are_forgotten(slurm: Path, places: Places) -> None:
    for number, run in enumerate(places.matrix.runs):
        save_ticket(Ticket("then", "slurm", str(80 + number)), places.ticket(run))
    assert live_jobs(places) == {}
    asked = (slurm / "asked.txt").read_text().splitlines()
    assert [line.rpartition("=")[2] for line in asked] == ["80,81", "80", "81"]


def test_a_job_with_a_result_is_not_asked_for(slurm: Path, places: Places) -> None:
    for ticket in submit(places).new.values():
        result_file(ticket, places).touch()
    assert live_jobs(places) == {}
    assert not (slurm / "asked.txt").exists()


def test_nothing_is_submitted_where_slurm_cannot_be_asked(slurm: Path, places: Places) -> None:
    submit(places)
    (slurm / "busy").touch()
    with pytest.raises(EnvironmentProblemError, match=r"expected squeue .*Unable to contact"):
        submit(places)


def test_what_sbatch_refuses_is_told_and_can_be_typed_again(slurm: Path, places: Places) -> None:
    (slurm / "refuse").touch()
    with pytest.raises(EnvironmentProblemError, match=r"takes no jobs: .*invalid partition"):
        submit(places, slurm={"partition": "no"})
    ticket = read_ticket(places.matrix.runs[0], places)
    assert ticket is not None
    assert ticket.job == ""
    (slurm / "refuse").unlink()
    assert len(submit(places).new) == 2


def test_a_computer_without_slurm(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EnvironmentProblemError, match="srun"):
        submit(places)
    assert not (places.root / "jobs" / "script.sh").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cluster": "slurm", "time_limit_min": 0}, "--time-limit-min: expected a number above 0, got 0"),
        ({"cluster": "slurm", "memory_gib": -1.0}, "--memory-gib: expected a number above 0"),
        ({"cluster": "slurm", "slurm": {"time": "1:00:00"}}, "--slurm time: .* see --time-limit-min"),
        ({"cluster": "slurm", "slurm": {"array": "0-3"}}, "see --max-jobs"),
        ({"cluster": "local", "max_jobs": 2}, "for --cluster slurm, got local"),
        ({"cluster": "local", "slurm": {"partition": "gpu"}}, "for --cluster slurm, got local"),
    ],
)
def test_what_contradicts_itself_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Resources(**more)


@pytest.mark.parametrize("words", ["=gpu", "partition=", "a b=1", ""])
def test_settings_have_a_key_and_a_value(words: str) -> None:
    with pytest.raises(ValueError, match="expected KEY=VALUE"):
        slurm_settings([words])
