"""What the trainings of a benchmark may use: GPUs or cores of this computer, or jobs of a cluster."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_ext.evaluation.benchmark.resources import Resources
    from nnunet_ext.evaluation.benchmark.shares import Share


def add_resource_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_resource_arguments(parser)
        >>> parser.parse_args(["--at-once", "2"]).at_once
        2
    """
    parser.add_argument(
        "--gpus", nargs="+", default=[], metavar="N", help="one training on each of these at a time"
    )
    parser.add_argument(
        "--at-once", type=int, metavar="N", help="trainings at a time with --device cpu; they share the cores"
    )
    group = parser.add_argument_group("on a cluster (jobs get one GPU each with --device cuda)")
    group.add_argument(
        "--cluster", choices=("slurm", "local"), help="local: all at once on this computer, to try it out"
    )
    group.add_argument(
        "--time-limit-min", type=int, metavar="MIN", help="of a job, after which it is queued again (1440)"
    )
    group.add_argument(
        "--cpus", type=int, metavar="N", help="cores of a job, and workers that load data (12)"
    )
    group.add_argument("--memory-gib", type=float, metavar="GIB", help="of a job (the cluster's own)")
    group.add_argument("--max-jobs", type=int, metavar="N", help="at a time (as many as there is room for)")
    group.add_argument(
        "--slurm", nargs="+", action="extend", metavar="KEY=VALUE", help="further settings of sbatch"
    )
    group.add_argument("--no-wait", action="store_true", help="submit, print the jobs and return")


def shares_from(args: argparse.Namespace) -> tuple[Share, ...]:
    """What each of the trainings at a time gets of this computer."""
    from nnunet_ext.evaluation.benchmark.shares import shares_of_cores, shares_of_gpus

    if args.gpus and args.device != "cuda":
        raise ValueError(f"--gpus goes with --device cuda, got {args.device}")
    if args.at_once is not None and args.device != "cpu":
        raise ValueError(f"--at-once goes with --device cpu, got {args.device}; name --gpus instead")
    if args.gpus:
        return shares_of_gpus(args.gpus)
    return shares_of_cores(1 if args.at_once is None else args.at_once)


def resources_from(args: argparse.Namespace) -> Resources | None:
    """What was typed for jobs of a cluster; None for this computer."""
    from nnunet_ext.evaluation.benchmark.resources import Resources, slurm_settings

    names = ("time_limit_min", "cpus", "memory_gib", "max_jobs")
    typed = {name: value for name in names if (value := getattr(args, name)) is not None}
    if args.slurm:
        typed["slurm"] = slurm_settings(args.slurm)
    if args.cluster is None:
        if wrong := [*typed, *(["no_wait"] if args.no_wait else [])]:
            raise ValueError(f"--{wrong[0].replace('_', '-')} is for jobs of a cluster; give --cluster slurm")
        return None
    if args.gpus:
        raise ValueError("--gpus is for this computer; a job has the GPU that the cluster gives it")
    if args.at_once is not None:
        raise ValueError("--at-once is for this computer; a job has the cores that the cluster gives it")
    return Resources(args.cluster, **typed)
