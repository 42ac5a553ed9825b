"""RAS U-Net and vanilla nnU-Net on the real hippocampus data: same fold, same data, same stated budget.

Needs ``Task04_Hippocampus`` of the Medical Segmentation Decathlon converted, planned and preprocessed, and
nnU-Net's environment variables:

    nnUNetv2_convert_MSD_dataset -i .../Task04_Hippocampus -overwrite_id 4
    nnUNetv2_plan_and_preprocess -d 4 -c 3d_fullres
    python benchmarks/hippocampus.py Dataset004_Hippocampus --epochs 20 --iterations 25

Each arm runs ``nnUNetv2_train`` on fold 0; the forward pass of every arm is in bfloat16 where this CPU
computes it, else in float32 (``--precision`` says otherwise). ``--trainers`` names other arms. The first arm
is killed (kill -9) once it has begun the epoch in the middle, and resumed with ``--c``. Prints, for each
arm, validation Dice per class, seconds an epoch (median; training and its validation iterations) and the
peak memory of the training process. What is finished is not run again; what was cut off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from nnunet_ext.trainers.precision import VARIABLE, cpu_computes_bfloat16

TRAINERS = ("nnUNetTrainerRASUNet", "nnUNetTrainer")


@dataclass(frozen=True)
class Arm:
    """What one training showed."""

    trainer: str
    dice: dict[str, float]
    seconds_per_epoch: float
    peak_memory_gib: float
    resumed_after_kill: bool
    precision: str


def environment(precision: str) -> dict[str, str]:
    """This shell's, with the same precision for every arm and threads that wait without spinning."""
    return {
        **os.environ,
        VARIABLE: "1" if precision == "bfloat16" else "0",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",
    }


def run(command: list[str], log: Path, *, precision: str, kill_at: str = "") -> tuple[int, float]:
    """Run a command into a log; exit code (negative: killed) and peak memory of its process in GiB."""
    print("+", " ".join(command), file=sys.stderr, flush=True)
    with log.open("a") as sink:
        process = subprocess.Popen(
            command,
            env=environment(precision),
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Looked at without reaping it: wait4 below is what tells the peak memory.
        watch = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while kill_at and os.waitid(os.P_PID, process.pid, watch) is None:
            time.sleep(0.5)
            if kill_at in log.read_text():
                time.sleep(5)  # in the middle of its epoch
                os.killpg(process.pid, signal.SIGKILL)
                break
        _, status, usage = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss / 2**20


def train(dataset: str, trainer: str, *, epochs: int, iterations: int, precision: str, kill: bool) -> Arm:
    """Train and validate one arm, killed once in the middle and resumed if asked."""
    name = f"{trainer}_{epochs}epochs_{iterations}iters"
    fold = Path(os.environ["nnUNet_results"]) / dataset / f"{name}__nnUNetPlans__3d_fullres" / "fold_0"
    record = fold / "benchmark.json"
    if record.is_file():
        return Arm(**json.loads(record.read_text()))
    fold.mkdir(parents=True, exist_ok=True)
    log = fold / "console.log"
    command = ["nnUNetv2_train", dataset, "3d_fullres", "0", "-tr", name, "-device", "cpu"]
    peaks = []
    if kill and not (fold / "checkpoint_latest.pth").is_file():
        code, peak = run(command, log, precision=precision, kill_at=f"Epoch {epochs // 2}\n")
        peaks.append(peak)
        if code != -signal.SIGKILL:
            raise RuntimeError(f"expected the training to be killed, got exit code {code}; see {log}")
    code, peak = run([*command, "--c"], log, precision=precision)
    peaks.append(peak)
    if code != 0:
        raise RuntimeError(f"training ended with {code}; see {log}")
    said = log.read_text()
    seconds = [float(s) for s in re.findall(r"Epoch time: ([\d.]+) s", said)]
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    arm = Arm(
        trainer=name,
        dice={label: values["Dice"] for label, values in summary["mean"].items()},
        seconds_per_epoch=statistics.median(seconds),
        peak_memory_gib=max(peaks),
        resumed_after_kill=kill,
        precision=precision,
    )
    record.write_text(json.dumps(asdict(arm), indent=2))
    return arm


def main() -> None:
    """Run the arms one after the other and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--trainers", nargs="+", default=TRAINERS)
    parser.add_argument(
        "--precision",
        choices=("bfloat16", "float32"),
        default="bfloat16" if cpu_computes_bfloat16() else "float32",
    )
    args = parser.parse_args()
    print(
        f"torch {torch.__version__}, {os.cpu_count()} cores, forward in {args.precision}, "
        f"{args.epochs} epochs x {args.iterations}"
    )
    for trainer in args.trainers:
        arm = train(
            args.dataset,
            trainer,
            epochs=args.epochs,
            iterations=args.iterations,
            precision=args.precision,
            kill=trainer == args.trainers[0],
        )
        dice = ", ".join(f"class {label} {value:.4f}" for label, value in arm.dice.items())
        resumed = ", resumed after kill -9" if arm.resumed_after_kill else ""
        print(
            f"{arm.trainer}: Dice {dice}; {arm.seconds_per_epoch:.1f} s an epoch; "
            f"peak {arm.peak_memory_gib:.2f} GiB{resumed}",
            flush=True,
        )


if __name__ == "__main__":
    main()
