"""What a job asks a cluster for, in submitit's words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from nnunet_ext.evaluation.benchmark.tickets import Cluster

# Settings of sbatch that would contradict an option of ours, or submitit's bookkeeping.
_OURS = {
    "time": "--time-limit-min",
    "cpus_per_task": "--cpus",
    "mem": "--memory-gib",
    "array": "--max-jobs",
    **dict.fromkeys(("nodes", "ntasks", "ntasks_per_node"), "one task a training"),
    **dict.fromkeys(("output", "error", "open_mode", "signal", "parsable", "wrap"), "what requeues the jobs"),
}


@dataclass(frozen=True)
class Resources:
    """What each job of a benchmark gets.

    Attributes:
        cluster: ``"slurm"``, or ``"local"`` for processes of this computer, all at once.
        time_limit_min: after which a job is queued again and goes on.
        cpus: cores; as many workers load data.
        memory_gib: main memory; None leaves it to the cluster.
        max_jobs: how many run at a time; None leaves it to the cluster.
        slurm: further settings of sbatch; True for one without a value.
    """

    cluster: Cluster
    time_limit_min: int = 24 * 60
    # The workers that nnU-Net starts by itself (get_allowed_n_proc_DA).
    cpus: int = 12
    memory_gib: float | None = None
    max_jobs: int | None = None
    slurm: Mapping[str, str | bool] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("time_limit_min", "cpus", "memory_gib", "max_jobs"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"--{name.replace('_', '-')}: expected a number above 0, got {value}")
        if self.cluster == "local" and (self.slurm or self.max_jobs or self.memory_gib):
            raise ValueError("--slurm, --max-jobs and --memory-gib are for --cluster slurm, got local")
        for name in self.slurm:
            if name in _OURS:
                raise ValueError(f"--slurm {name}: expected what has no option here, see {_OURS[name]}")

    def parameters(self, *, name: str, device: str) -> dict[str, Any]:
        """For ``update_parameters`` of submitit.

        Args:
            name: of the jobs.
            device: nnU-Net's; ``"cuda"`` asks for one GPU, unless ``slurm`` says which.

        Example:
            >>> asked = Resources("slurm", time_limit_min=60).parameters(name="b", device="cuda")
            >>> asked["timeout_min"], asked["gpus_per_node"]
            (60, 1)
        """
        named = any(each == "gres" or each.startswith("gpus") for each in self.slurm)
        return {
            "name": name,
            "timeout_min": self.time_limit_min,
            "cpus_per_task": self.cpus,
            "mem_gb": self.memory_gib,
            "gpus_per_node": 1 if device == "cuda" and not named else None,
            "slurm_array_parallelism": self.max_jobs,
            # srun takes one core from Slurm 22.05 to 23.02, whatever sbatch was told.
            "slurm_srun_args": [f"--cpus-per-task={self.cpus}"],
            # Not every cluster lets jobs be queued again unless they ask for it.
            "slurm_additional_parameters": {"requeue": True, "chdir": os.getcwd(), **self.slurm},
        }


def slurm_settings(typed: Sequence[str]) -> dict[str, str | bool]:
    """``KEY=VALUE``, or ``KEY`` alone, as typed after ``--slurm``.

    Raises:
        ValueError: one has no key.

    Example:
        >>> slurm_settings(["partition=gpu", "--gpus-per-task=a100:1", "exclusive"])
        {'partition': 'gpu', 'gpus_per_task': 'a100:1', 'exclusive': True}
    """
    found: dict[str, str | bool] = {}
    for words in typed:
        key, equals, value = words.partition("=")
        name = key.lstrip("-").replace("-", "_")
        if not name.isidentifier() or (equals and not value):
            raise ValueError(f"--slurm: expected KEY=VALUE such as partition=gpu, got {words!r}")
        found[name] = value if equals else True
    return found
