from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from nnunet_ext.cli import demo, demo_clinic, demo_pipeline, overlay, steps
from nnunet_ext.cli.demo_recipe import RECIPES, EpochProgress
from nnunet_ext.cli.workplace import Workplace
from nnunet_ext.clinical_io.structure_set import read_structure_set

INTERPRETER = sys.executable
# Stand-ins for nnU-Net's commands: each notes its call; `predict` gives the phantoms' own labels back.
FAKE = """\
#!{python}
import json, os, pathlib, shutil, sys
root = pathlib.Path(os.environ["nnUNet_raw"]).parent
with (root / "calls.txt").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
name = pathlib.Path(sys.argv[0]).name
print("output of", name, flush=True)
if (root.parent / "fail").exists() and (root.parent / "fail").read_text() == name:
    print("the reason", file=sys.stderr)
    sys.exit(3)
if name == "nnUNetv2_predict":
    out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    out.mkdir()
    raw = next(root.glob("nnUNet_raw/*"))
    shutil.copy(raw / "dataset.json", out)
    (out / "plans.json").write_text(json.dumps(dict(dataset_name=raw.name)))
    cases = json.loads((root / "keys" / (raw.name + ".json")).read_text())["cases"]
    for image in (raw / "imagesTs").iterdir():
        case = image.name.removesuffix("_0000.nii.gz")
        patient = pathlib.Path(cases[case]["source"]).name
        shutil.copy(root / "patients" / "truth" / (patient + ".nii.gz"), out / (case + ".nii.gz"))
"""


@pytest.fixture
def fake_nnunet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fake commands in front of the real ones; returns the folder in which `fail` names one that fails."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    for name in demo_pipeline.COMMANDS:
        script = scripts / name
        script.write_text(FAKE.format(python=INTERPRETER))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    # A name beside the interpreter wins, so the interpreter has to seem to be here.
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    return tmp_path


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    return demo.run(parser.parse_args(["--size", "tiny", *arguments]))


def test_runs_every_step_and_reports(fake_nnunet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = fake_nnunet / "demo"
    assert run("--out", str(out)) == 0
    text = capsys.readouterr().out
    for command in (
        f"export nnUNet_results={out}/nnUNet_results",
        "$ nnunet_ext phantom liver-target --layout clinic --cases 5 --test-cases 1 --seed 4",
        f"$ nnunet_ext convert liver-target {out}/patients/clinic --dataset-id 4 --out {out}/nnUNet_raw",
        f"$ nnunet_ext convert liver-target {out}/patients/unseen --like 4 --out {out}/nnUNet_raw",
        "$ nnUNetv2_plan_and_preprocess -d 4 -c 3d_fullres --verify_dataset_integrity",
        f"$ nnUNetv2_train 4 3d_fullres 0 -tr {RECIPES['tiny'].trainer} -device cpu",
        "$ nnUNetv2_predict -d 4 -c 3d_fullres -f 0",
        f"$ nnunet_ext export {out}/predictions/LiverTarget_006.nii.gz {out}/patients/unseen/PHANTOM-0006",
        "mean             1.000",
    ):
        assert command in text
    assert (out / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert len((out / "calls.txt").read_text().splitlines()) == 3
    (structure,) = read_structure_set(out / "structures" / "PHANTOM-0006.dcm").structures
    assert structure.name == "GTV"
    assert not structure.is_empty
    assert (out / "logs" / "train.log").read_text() == "output of nnUNetv2_train\n"


def test_json_is_all_of_stdout(fake_nnunet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--out", str(fake_nnunet / "demo"), "--json") == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    assert result["mean_dice"] == 1
    assert result["dice"] == {"LiverTarget_006": 1}
    assert set(result["seconds"]) == {"phantom", "convert", "plan", "train", "predict", "export"}
    assert json.loads((fake_nnunet / "demo" / "result.json").read_text()) == result
    assert "$ nnUNetv2_train" in streams.err


def test_failed_step_names_step_code_and_log_and_is_resumed(
    fake_nnunet: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = fake_nnunet / "demo"
    (fake_nnunet / "fail").write_text("nnUNetv2_train")
    assert run("--out", str(out)) == 1
    for part in ("step 'train'", "nnUNetv2_train ended with exit code 3", str(out / "logs" / "train.log")):
        assert part in caplog.text
    assert "the reason" in (out / "logs" / "train.log").read_text()
    assert not (out / "predictions").exists()
    checkpoint = out / "nnUNet_results" / "fold_0" / "checkpoint_latest.pth"
    checkpoint.parent.mkdir()
    checkpoint.touch()
    (fake_nnunet / "fail").unlink()
    assert run("--out", str(out)) == 0
    calls = (out / "calls.txt").read_text().splitlines()
    # Planning is not repeated; training continues.
    assert [call.split()[0] for call in calls] == ["-d", "4", "4", "-d"]
    assert [call.endswith("--c") for call in calls] == [False, False, True, False]
    assert run("--out", str(out)) == 0
    assert len((out / "calls.txt").read_text().splitlines()) == 4


def test_missing_prediction_is_a_failed_step(fake_nnunet: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = fake_nnunet / "demo"
    assert run("--out", str(out)) == 0
    (out / "predictions" / "LiverTarget_006.nii.gz").unlink()
    assert run("--out", str(out)) == 1
    assert "LiverTarget_006.nii.gz" in caplog.text


def test_fresh_starts_over(fake_nnunet: Path) -> None:
    out = fake_nnunet / "demo"
    assert run("--out", str(out)) == 0
    (out / "notes.txt").touch()
    assert run("--out", str(out), "--fresh") == 0
    assert len((out / "calls.txt").read_text().splitlines()) == 6
    assert (out / "notes.txt").exists()


@pytest.mark.parametrize("fresh", [[], ["--fresh"]])
def test_folder_of_something_else_is_left_alone(
    fake_nnunet: Path, caplog: pytest.LogCaptureFixture, fresh: list[str]
) -> None:
    (fake_nnunet / "thesis.txt").touch()
    assert run("--out", str(fake_nnunet), *fresh) == 2
    assert "holds no demo" in caplog.text
    assert (fake_nnunet / "thesis.txt").exists()


def test_demo_of_another_size_is_refused(fake_nnunet: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = fake_nnunet / "demo"
    assert run("--out", str(out)) == 0
    assert run("--out", str(out), "--size", "full") == 2
    assert "--fresh" in caplog.text
    caplog.clear()
    (out / "demo.json").write_text("{")
    assert run("--out", str(out)) == 2
    assert "--fresh" in caplog.text


def test_missing_nnunet_gives_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level(logging.ERROR):
        assert run("--out", str(tmp_path / "demo")) == 2
    assert "pip install" in caplog.text
    assert not (tmp_path / "demo").exists()


def test_a_dataset_of_the_users_under_the_demos_name_is_not_looked_at(
    fake_nnunet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = fake_nnunet / "preprocessed"
    splits = theirs / demo_clinic.DATASET / "splits_final.json"
    splits.parent.mkdir(parents=True)
    splits.write_text("[]")
    monkeypatch.setenv("nnUNet_preprocessed", str(theirs))
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert run("--out", str(fake_nnunet / "demo")) == 0
    assert splits.read_text() == "[]"
    assert os.environ["nnUNet_preprocessed"] == str(theirs)
    assert "nnUNet_raw" not in os.environ


def test_environment_is_the_demos_own() -> None:
    inherited = {
        "PATH": "/bin",
        "nnUNet_raw": "/hospital/raw",
        "nnUNet_compile": "true",
        "nnUNet_ext_bfloat16": "0",
        "nnUNet_extTrainer": os.pathsep.join(["/theirs", "/hook"]),
    }
    exports, whole = steps.nnunet_environment(
        Workplace(Path("/demo")), hook=Path("/hook"), inherited=inherited
    )
    assert exports["nnUNet_extTrainer"] == os.pathsep.join(["/hook", "/theirs"])
    assert whole["nnUNet_raw"] == exports["nnUNet_raw"] == "/demo/nnUNet_raw"
    assert "nnUNet_compile" not in whole
    assert whole["nnUNet_ext_bfloat16"] == "0"
    assert (whole["nnUNet_def_n_proc"], whole["nnUNet_n_proc_DA"]) == ("1", "2")


def test_interrupt_ends_the_child_and_its_workers(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A step that is interrupted leaves no process behind, and no marker."""
    # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    pid_file = tmp_path / "pid"
    worker = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    child = (
        f"import subprocess, sys; print('up', flush=True); subprocess.run([sys.executable, '-c', {worker!r}])"
    )

    def interrupt(_: str) -> None:
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    workplace = Workplace(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        workplace.run_once(
            "wait",
            work=lambda: steps.run_command(
                [sys.executable, "-c", child],
                step="wait",
                log=tmp_path / "log",
                environment=dict(os.environ),
                on_line=interrupt,
            ),
            say=print,
        )
    assert not workplace.is_finished("wait")
    deadline = time.monotonic() + 10
    worker_folder = Path("/proc") / pid_file.read_text()
    while worker_folder.exists() and "zombie" not in (worker_folder / "status").read_text():
        assert time.monotonic() < deadline, "the worker is still running"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks a process up in /proc")
def test_terminated_demo_takes_nnunet_along(fake_nnunet: Path) -> None:
    pid_file = fake_nnunet / "pid"
    train = fake_nnunet / "bin" / "nnUNetv2_train"
    train.write_text(
        f"#!{INTERPRETER}\n"
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    code = (
        "import argparse, sys; from nnunet_ext.cli import demo;"
        f"sys.executable = {sys.executable!r}; p = argparse.ArgumentParser(); demo.add_arguments(p);"
        f"sys.exit(demo.run(p.parse_args(['--size', 'tiny', '--out', {str(fake_nnunet / 'demo')!r}])))"
    )
    running = subprocess.Popen([INTERPRETER, "-c", code], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (pid_file.exists() and pid_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.terminate()
        assert running.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        running.kill()
    assert not (Path("/proc") / pid_file.read_text()).exists()


@pytest.mark.skipif(os.name == "nt", reason="no process groups on Windows")
def test_killed_command_with_a_living_worker_is_reported(tmp_path: Path) -> None:
    """As when the system kills nnU-Net for want of memory: no endless wait for its workers."""
    worker = "import time; time.sleep(60)"
    child = (
        f"import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', {worker!r}]);"
        "os.kill(os.getpid(), 9)"
    )
    start = time.monotonic()
    with pytest.raises(steps.StepFailedError, match="exit code -9"):
        steps.run_command(
            [sys.executable, "-c", child], step="train", log=tmp_path / "log", environment=dict(os.environ)
        )
    assert time.monotonic() - start < 30


def test_epoch_progress_reads_nnunets_log() -> None:
    said: list[str] = []
    progress = EpochProgress(epochs=20, say=said.append)
    stamp = "2025-01-01 10:00:00.123456: "
    for line in ("Epoch 11 ", "train_loss -0.2", "Pseudo dice [np.float32(0.613)] ", "Epoch time: 9.87 s "):
        progress(f"{stamp}{line}\n")
    assert said == ["  epoch 12/20: 9.9 s, pseudo Dice on validation patches 0.61"]


def test_overlay_draws_empty_predictions_and_anisotropic_voxels(tmp_path: Path) -> None:
    reference = np.zeros((4, 12, 10), bool)
    reference[1:3, 4:8, 3:6] = True
    for prediction in (np.zeros_like(reference), reference):
        case = overlay.Comparison(
            case="a",
            image=np.zeros(reference.shape, np.int16),
            reference=reference,
            prediction=prediction,
            spacing_mm=(3.0, 1.0, 1.0),
        )
        overlay.write_overlay([case], path=tmp_path / "overlay.png")
        assert (tmp_path / "overlay.png").stat().st_size > 5000
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.png"]
    with pytest.raises(ValueError, match="at least one case"):
        overlay.write_overlay([], path=tmp_path / "none.png")


def test_dice_in_closed_form() -> None:
    a, b = np.zeros((2, 6), bool)
    a[:4], b[2:] = True, True
    assert overlay.dice(a, b) == 0.5
    assert np.isnan(overlay.dice(~a & a, ~b & b))


@pytest.mark.stock
def test_tiny_demo_end_to_end(tmp_path: Path) -> None:
    """The real commands, in the demo's smallest form; the user's own nnU-Net folders stay untouched."""
    theirs = tmp_path / "theirs"
    environment = {
        **os.environ,
        **{f"nnUNet_{kind}": str(theirs / kind) for kind in ("raw", "preprocessed", "results")},
    }
    out = tmp_path / "my demo"  # a space, as users' folders have
    done = subprocess.run(
        [sys.executable, "-m", "nnunet_ext.cli.main", "demo", "--size", "tiny", "--out", str(out), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 0 <= result["mean_dice"] <= 1
    assert "epoch 1/1" in done.stderr
    trained = out / "nnUNet_results" / demo_clinic.DATASET
    folder = trained / f"{RECIPES['tiny'].trainer}__nnUNetPlans__3d_fullres" / "fold_0"
    assert (folder / "checkpoint_final.pth").is_file()
    predicted = SimpleITK.ReadImage(str(out / "predictions" / "LiverTarget_006.nii.gz"))
    assert predicted.GetSize() == RECIPES["tiny"].size_vox[::-1]
    assert (out / "overlay.png").is_file()
    (structure,) = read_structure_set(out / "structures" / "PHANTOM-0006.dcm").structures
    assert structure.name == "GTV"
    assert stat.S_IMODE((out / "keys" / f"{demo_clinic.DATASET}.json").stat().st_mode) == 0o600
    assert not theirs.exists()
