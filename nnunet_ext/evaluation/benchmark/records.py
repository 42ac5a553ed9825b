"""What is known of one training: how it ended, what it cost, on what it ran."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.evaluation.benchmark.matrix import Run
from nnunet_ext.evaluation.benchmark.places import Places, is_whole, read_summary
from nnunet_ext.evaluation.benchmark.training_log import read_training_logs
from nnunet_ext.files import write_text

Status = Literal["finished", "failed"]
# nnU-Net sets no seed, and has no option for one.
RANDOM_STATE = "drawn anew by nnU-Net"


@dataclass(frozen=True)
class Record:
    """One training. Times are sums over its attempts.

    Attributes:
        run: its name.
        trainer: as it was typed, with the budget.
        status: whether it has its validation.
        reason: of a failure.
        mean_dice: nnU-Net's foreground mean over the validation cases; nan where there is none.
        epochs: that ended.
        seconds_per_epoch: median.
        wall_seconds: from nnU-Net's logs.
        validation_seconds_per_case: prediction of the validation cases, with what is written of them.
        attempts: how often it was started.
        peak_memory_gib: of nnU-Net's main process, over all attempts; None where unknown.
        peak_gpu_memory_gib: of the GPU while it ran, whoever used it; None without one.
        parameters: of the network; 0 where there is no checkpoint.
        precision: of the forward pass.
        random_state: how it was set.
        machine: versions and hardware, see :func:`~nnunet_ext.evaluation.benchmark.machine.machine`.
    """

    run: str
    trainer: str
    status: Status
    reason: str
    mean_dice: float
    epochs: int
    seconds_per_epoch: float
    wall_seconds: float
    validation_seconds_per_case: float
    attempts: int
    peak_memory_gib: float | None
    peak_gpu_memory_gib: float | None
    parameters: int
    precision: str
    random_state: str
    machine: Mapping[str, Any]


def record_of(
    run: Run,
    places: Places,
    *,
    reason: str,
    machine: Mapping[str, Any],
    peak_memory_gib: float | None,
    peak_gpu_memory_gib: float | None,
) -> Record:
    """Gather what nnU-Net's files say of a training, and what was measured while it ran.

    Args:
        run: which.
        places: where.
        reason: why it failed, ``""`` where it did not.
        machine: it ran on.
        peak_memory_gib: of this attempt.
        peak_gpu_memory_gib: of this attempt.
    """
    fold = places.fold(run)
    log = read_training_logs(fold)
    seconds = [epoch.seconds for epoch in log.epochs]
    summary = read_summary(fold) or {}
    cases = len(summary.get("metric_per_case", ()))
    before = _json(places.record(run))
    return Record(
        run=run.name,
        trainer=places.matrix.trainer_to_type(run.arm.trainer),
        status="failed" if reason else "finished",
        reason=reason,
        mean_dice=float(summary.get("foreground_mean", {}).get("Dice", math.nan)),
        epochs=len(seconds),
        seconds_per_epoch=statistics.median(seconds) if seconds else math.nan,
        wall_seconds=log.wall_seconds,
        validation_seconds_per_case=log.validation_seconds / cases if cases else math.nan,
        attempts=log.attempts,
        peak_memory_gib=_larger(before.get("peak_memory_gib"), peak_memory_gib),
        peak_gpu_memory_gib=_larger(before.get("peak_gpu_memory_gib"), peak_gpu_memory_gib),
        parameters=_parameters(fold / "checkpoint_final.pth"),
        precision=places.matrix.precision,
        random_state=RANDOM_STATE,
        machine=machine,
    )


def save_record(record: Record, file: Path) -> None:
    """Write a record; what is no number becomes null."""
    content = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(record).items()
    }
    write_text(file, json.dumps(content, indent=2) + "\n")


def read_record(file: Path) -> Record:
    """The inverse of :func:`save_record`.

    Raises:
        OSError: there is none.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    for name in ("mean_dice", "seconds_per_epoch", "validation_seconds_per_case"):
        if content[name] is None:
            content[name] = math.nan
    return Record(**content)


def _parameters(checkpoint: Path) -> int:
    """Numbers that are trained: nnU-Net's checkpoints name shared ones twice, and keep buffers too."""
    if not is_whole(checkpoint):
        return 0
    import torch

    # Ours, written by nnU-Net just now; it holds numpy numbers that weights_only does not read.
    weights = torch.load(checkpoint, map_location="cpu", weights_only=False)["network_weights"]
    counted = {
        tensor.data_ptr(): tensor.numel()
        for name, tensor in weights.items()
        if tensor.is_floating_point() and not name.endswith(("running_mean", "running_var"))
    }
    return sum(counted.values())


def _larger(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
