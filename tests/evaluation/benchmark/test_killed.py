"""A benchmark that is killed at random moments ends with the same table as an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fake_training import install, preprocessed_dataset
from finished_benchmark import DATASET, finished_benchmark

from nnunet_ext.cli.main import main
from nnunet_ext.commands import CommandStoppedError
from nnunet_ext.evaluation.benchmark.matrix import RESENC_PLANS
from nnunet_ext.lock import alone

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills by POSIX signals")
PYTHON = sys.executable  # before the stand-in takes its name
TYPED = [
    "--dataset",
    DATASET,
    "--trainers",
    "nnUNetTrainerRASUNet",
    "--folds",
    "0",
    "1",
    "--budget",
    "3epochs",
    "--baselines",
]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    places = finished_benchmark(
        tmp_path, trainers={"nnUNetTrainer": 0.3, "nnUNetTrainerRASUNet": 0.1}, repeats=1
    )
    shutil.move(places.root, tmp_path / "predictions")
    preprocessed_dataset(tmp_path / "preprocessed", dataset=DATASET, plans=("nnUNetPlans", RESENC_PLANS))
    install(tmp_path, monkeypatch)
    monkeypatch.setenv("CONTROL", str(tmp_path))
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    (tmp_path / "slow").touch()
    return tmp_path


def command(control: Path, folder: str) -> list[str]:
    arguments = [*TYPED, "--out", str(control / folder), "--device", "cpu", "--no-pbar"]
    # As the command line would, with the stand-in beside the interpreter.
    program = f"import sys; sys.executable = {str(control / 'bin' / 'python')!r}\n"
    program += f"from nnunet_ext.cli.main import main; sys.exit(main(['benchmark', 'run', *{arguments!r}]))"
    return [PYTHON, "-c", program]


def table(control: Path, folder: str) -> str:
    """Verdicts and scores; times differ."""
    file = control / f"{folder}.md"
    arguments = ["--html", str(control / f"{folder}.html"), "--markdown", str(file), "--no-pbar"]
    assert main(["benchmark", "report", str(control / folder), *arguments]) == 0
    return file.read_text().split("## What it costs")[0]


@pytest.mark.long
def test_killed_at_random_moments_it_ends_with_the_same_table(control: Path) -> None:
    assert subprocess.run(command(control, "undisturbed"), check=False).returncode == 0
    moments = random.Random(0)
    kills = 0
    while True:
        benchmark = subprocess.Popen(command(control, "killed"))
        try:
            # The first seconds pass with imports; a machine may be slow.
            code = benchmark.wait(timeout=None if kills >= 3 else moments.uniform(2, 6))
        except subprocess.TimeoutExpired:
            benchmark.kill()  # its training stays behind, alive
            benchmark.wait()
            kills += 1
            if moments.random() < 0.5:  # as when the machine fails
                with suppress(ProcessLookupError):
                    os.killpg(int((control / "processes.txt").read_text().split()[0]), signal.SIGKILL)
            continue
        assert code == 0
        break
    assert kills > 0
    assert table(control, "killed") == table(control, "undisturbed")
    records = [json.loads(f.read_text()) for f in (control / "killed" / "records").glob("*.json")]
    assert {record["status"] for record in records} == {"finished"}


def test_a_training_that_was_left_behind_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with alone(file, what="first") as lock:
        assert lock is not None
        child = subprocess.Popen(["sleep", "60"], pass_fds=[lock], start_new_session=True)
    # Nobody but the child has the lock now.
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with (
        pytest.raises(CommandStoppedError, match="second was in another process"),
        alone(file, what="second", stop=stop),
    ):
        pass
    threading.Timer(0.3, child.kill).start()
    begin = time.monotonic()
    with alone(file, what="third"):
        assert time.monotonic() - begin > 0.2
    child.wait()
