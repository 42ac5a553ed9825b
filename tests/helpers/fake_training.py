"""A stand-in for nnUNetv2_train that takes no time and leaves what nnU-Net leaves."""

from __future__ import annotations

import json
import site
import stat
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest
import torch

# As nnU-Net does: a checkpoint an epoch, logs with stamps, a validation, exit codes. Epochs take no time.
FAKE = """\
#!{python}
import argparse, datetime, json, os, pathlib, shutil, sys, time, zipfile
parser = argparse.ArgumentParser()
for name in ("dataset", "configuration", "fold"): parser.add_argument(name)
for name in ("-tr", "-p", "-device"): parser.add_argument(name)
for name in ("--c", "--val"): parser.add_argument(name, action="store_true")
args = parser.parse_args()
model = args.tr + "__" + args.p + "__" + args.configuration
fold = pathlib.Path(os.environ["nnUNet_results"]) / args.dataset / model / ("fold_" + args.fold)
fold.mkdir(parents=True, exist_ok=True)
control = pathlib.Path(os.environ["CONTROL"])
with (control / "calls.txt").open("a") as calls:
    variables = [os.environ.get(n, "-") for n in ("nnUNet_ext_bfloat16", "CUDA_VISIBLE_DEVICES")]
    if hasattr(os, "sched_getaffinity"):
        cores = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        with (control / "cores.txt").open("a") as file: file.write(cores + "\\n")
    calls.write(" ".join([*sys.argv[1:], *variables]) + "\\n")
(control / "processes.txt").write_text("%d %d" % (os.getpid(), os.getppid()))
logs = len(list(fold.glob("training_log_*.txt")))
log = (fold / ("training_log_%d.txt" % logs)).open("a")
def say(text):
    log.write(str(datetime.datetime.now()) + ": " + text + "\\n")
    log.flush()
    print(text, flush=True)
state = fold / "checkpoint_latest.pth"
if args.c and not state.exists(): sys.exit("nothing to go on from")
begin = int(zipfile.ZipFile(state).read("epoch")) if args.c else 0
if not args.val:
    for epoch in range(begin, 4):
        say("Epoch %d" % epoch)
        say("train_loss -0.5"); say("val_loss -0.4"); say("Pseudo dice [np.float32(0.5), np.float32(0.7)]")
        say("Epoch time: %.1f s" % (10 + epoch))
        with zipfile.ZipFile(state, "w") as archive: archive.writestr("epoch", str(epoch + 1))
        if (control / "slow").exists(): time.sleep(0.3)
        if (control / "fail").exists() and epoch == 1: sys.exit("the reason")
        if (control / "wait").exists() and epoch == 1: time.sleep(60)
    shutil.copy(control / "bin" / "final.pth", fold / "checkpoint_final.pth")
    state.unlink()
    if (control / "fail at the end").exists(): sys.exit("no validation")
say("predicting case_1")
(fold / "validation").mkdir(exist_ok=True)
# What a training would have predicted, where a test has put it: results/DATASET/MODEL/FOLD.
predicted = control / "predictions" / fold.relative_to(pathlib.Path(os.environ["nnUNet_results"]).parent)
if predicted.exists(): shutil.copytree(predicted / "validation", fold / "validation", dirs_exist_ok=True)
summary = dict(foreground_mean=dict(Dice=0.5 + 0.1 * int(args.fold)), metric_per_case=[dict(), dict()])
(fold / "validation" / "summary.json").write_text(json.dumps(summary))
say("Validation complete")
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put it in front of the real one; files in the folder tell it what to do (``CONTROL``)."""
    scripts = folder / "bin"
    scripts.mkdir()
    script = scripts / "nnUNetv2_train"
    script.write_text(FAKE.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    shared = torch.ones(3)
    weights = {"a": shared, "b": shared, "c": torch.ones(4), "d": torch.ones(2).int()}
    torch.save({"network_weights": weights}, scripts / "final.pth")
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))  # a name beside the interpreter wins


def install_python(folder: Path) -> None:
    """Make the folder an environment with the packages of this one, in which jobs find the stand-in."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({each!r})\n" for each in site.getsitepackages()]
    (packages / "packages_of_the_tests.pth").write_text("".join(lines))


def wait_until_interruptible(fold: Path) -> None:
    """Wait for a training that waits (``wait``), after its second epoch."""
    state, deadline = fold / "checkpoint_latest.pth", time.monotonic() + 120
    while not (zipfile.is_zipfile(state) and zipfile.ZipFile(state).read("epoch") == b"2"):
        assert time.monotonic() < deadline, f"expected two epochs in {fold}"
        time.sleep(0.05)


def calls(control: Path) -> list[list[str]]:
    """Arguments of each call, and the variables that it saw."""
    return [line.split() for line in (control / "calls.txt").read_text().splitlines()]


def preprocessed_dataset(folder: Path, *, dataset: str, plans: tuple[str, ...]) -> Path:
    """nnU-Net's folder of preprocessed data with one dataset that is empty, and two folds."""
    for name in plans:
        data = f"{name}_3d_fullres"
        (folder / dataset / data).mkdir(parents=True)
        configurations = {"3d_fullres": {"data_identifier": data, "architecture": {}}}
        (folder / dataset / f"{name}.json").write_text(json.dumps({"configurations": configurations}))
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]
    (folder / dataset / "splits_final.json").write_text(json.dumps(splits))
    return folder
