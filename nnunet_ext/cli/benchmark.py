"""The verb ``benchmark``: trainers against vanilla nnU-Net, on the same splits and the same budget."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.evaluation.benchmark.matrix import Run
    from nnunet_ext.evaluation.benchmark.places import Places
    from nnunet_ext.evaluation.benchmark.resources import Resources
    from nnunet_ext.evaluation.benchmark.shares import Share

from nnunet_ext.cli import benchmark_report
from nnunet_ext.cli.benchmark_resources import add_resource_arguments, resources_from, shares_from

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Compare trainers with vanilla nnU-Net: every trainer on every fold, several times, all with stock
nnUNetv2_train, the same splits, budget and precision. Vanilla is trained on the same plans, and on the
residual encoder plans of matching memory. A benchmark that is interrupted goes on when it is typed again; a
training that fails is recorded, and the others go on.

  run     train what is not finished yet
  status  how far each training is
  report  one HTML file: verdicts, scores, costs, learning curves, overlays, surfaces

The benchmark is declared on the command line or in a file, TOML, with the same names:

  dataset = "Dataset004_Hippocampus"
  trainers = ["nnUNetTrainerRASUNet", "nnUNetTrainerAGUNet"]
  folds = [0, 1]
  repeats = 3                    # nnU-Net draws its random state anew each time
  budget = "20epochs_25iters"    # the same for all; without it 1000 epochs

With --cluster slurm every training that is not finished becomes one job of an array. A job that is preempted,
or whose time is over, is queued again and goes on. Typed again, the command waits for the jobs that are still
there, and submits none of them twice.
"""
EPILOG = """\
examples:
  nnunet_ext benchmark run bench.toml --out bench
  nnunet_ext benchmark run --dataset 4 --trainers nnUNetTrainerRASUNet --folds 0 1 --repeats 3 --out bench
  nnunet_ext benchmark run bench.toml --out bench --gpus 0 1
  nnunet_ext benchmark run bench.toml --out bench --device cpu --at-once 2
  nnunet_ext benchmark run bench.toml --out bench --cluster slurm --slurm partition=gpu account=onco
  nnunet_ext benchmark status bench
  nnunet_ext benchmark report bench --markdown table.md

exit code: 0 done, 1 some trainings failed, 2 wrong usage or environment
"""
# What trainings compute in on each device, the default first: nnU-Net has mixed precision on CUDA alone.
_PRECISIONS = {"cuda": ("amp",), "cpu": ("float32", "bfloat16"), "mps": ("float32",)}
# Options that stand for a value of the declaration, and how each is typed.
_DECLARED: dict[str, dict[str, Any]] = {
    "dataset": {"metavar": "D", "help": "number or name of the dataset"},
    "trainers": {"nargs": "+", "metavar": "TR", "help": "trainers to compare with vanilla"},
    "plans": {"nargs": "+", "metavar": "P", "help": "plans for all (nnUNetPlans)"},
    "configurations": {"nargs": "+", "metavar": "C", "help": "configurations (3d_fullres)"},
    "folds": {"nargs": "+", "type": int, "metavar": "F", "help": "folds (0 1 2 3 4)"},
    "repeats": {"type": int, "metavar": "N", "help": "trainings of each (1)"},
    "budget": {"metavar": "B", "help": "such as 20epochs_25iters (nnU-Net's own)"},
    "precision": {"choices": ("amp", "float32", "bfloat16"), "help": "amp on CUDA, else float32"},
    "baselines": {"nargs": "*", "metavar": "P", "help": "further plans of vanilla (nnUNetResEncUNetMPlans)"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["run", "--dataset", "4", "--trainers", "T", "--out", "b"]).trainers
        ['T']
    """
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    run_parser = actions.add_parser("run", help="train what is not finished yet")
    run_parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the declaration, TOML")
    for name, typed in _DECLARED.items():
        run_parser.add_argument(f"--{name}", **typed)
    run_parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the benchmark")
    run_parser.add_argument("--device", choices=("cuda", "cpu", "mps"), default="cuda", help="(cuda)")
    run_parser.add_argument("--no-pbar", action="store_true", help="no progress bar")
    add_resource_arguments(run_parser)
    status = actions.add_parser("status", help="how far each training is")
    status.add_argument("out", type=Path, metavar="DIR", help="folder of the benchmark")
    status.add_argument("--json", action="store_true", help="every record as JSON")
    benchmark_report.add_arguments(actions.add_parser("report", help="a page of what is complete"))


def run(args: argparse.Namespace) -> int:
    """Train, or show how far it is; returns the exit code."""
    from nnunet_ext.commands import EnvironmentProblemError

    try:
        return {"run": _run, "status": _status, "report": benchmark_report.run}[args.action](args)
    except (ValueError, OSError, EnvironmentProblemError) as error:
        logger.error("benchmark: %s", error)
        return 2


def _run(args: argparse.Namespace) -> int:
    from nnunet_ext.cli.benchmark_trainers import check_trainers
    from nnunet_ext.commands import find_command
    from nnunet_ext.evaluation.benchmark.inputs import check_inputs, keep_declaration
    from nnunet_ext.evaluation.benchmark.matrix import matrix_from
    from nnunet_ext.evaluation.benchmark.places import Places
    from nnunet_ext.evaluation.benchmark.splits import draw_splits

    find_command("nnUNetv2_train")
    resources = resources_from(args)
    shares = shares_from(args)
    matrix = matrix_from(_declaration(args))
    if matrix.precision not in _PRECISIONS[args.device]:
        raise ValueError(f"precision {matrix.precision} does not go with --device {args.device}")
    check_trainers(matrix, environment=_environment())
    preprocessed = _folder("nnUNet_preprocessed")
    check_inputs(matrix, preprocessed=preprocessed)
    if draw_splits(matrix, preprocessed=preprocessed):
        logger.info("nnU-Net has drawn the folds of %s", matrix.dataset)
    keep_declaration(matrix, root=args.out, preprocessed=preprocessed)
    places = Places(args.out.resolve(), matrix)
    failed = _train_here(args, places, shares) if resources is None else _train_there(args, places, resources)
    if failed is None:
        return 0
    keep_declaration(matrix, root=args.out, preprocessed=preprocessed)  # nobody has changed them since
    print(json.dumps({"finished": len(matrix.runs) - len(failed), "failed": failed}))
    return 1 if failed else 0


def _train_here(args: argparse.Namespace, places: Places, shares: Sequence[Share]) -> list[str]:
    """Train on this computer; names of the trainings that failed."""
    from nnunet_ext.evaluation.benchmark.launch import train_all
    from nnunet_ext.evaluation.benchmark.live_jobs import live_jobs

    if live := live_jobs(places):
        jobs = ", ".join(sorted({job.ticket.job for job in live.values()}))
        raise ValueError(f"{len(live)} trainings are in jobs ({jobs}): give --cluster, or cancel them first")
    records = train_all(
        places.matrix.runs,
        places,
        device=args.device,
        environment=_environment(),
        shares=shares,
        progress=not args.no_pbar,
    )
    return [record.run for record in records if record.status == "failed"]


def _train_there(args: argparse.Namespace, places: Places, resources: Resources) -> list[str] | None:
    """Train on a cluster; names of the trainings that failed, None where nobody waits for them."""
    from nnunet_ext.evaluation.benchmark.cluster import submit_missing, wait_for

    submit = partial(
        submit_missing, places, device=args.device, environment=_environment(), resources=resources
    )
    jobs = submit()
    failed: set[Run] = set()
    while True:
        logger.info("%d trainings submitted, %d in jobs before", len(jobs.new), len(jobs.before))
        if args.no_wait:
            if jobs.waiting:
                logger.warning("%d cascades wait for these: type the same again then", len(jobs.waiting))
            told = {"submitted": jobs.new, "before": jobs.before}
            print(json.dumps({k: {r.name: ticket.job for r, ticket in v.items()} for k, v in told.items()}))
            return None
        try:
            failed |= set(wait_for([*jobs.before, *jobs.new], places, progress=not args.no_pbar))
        except KeyboardInterrupt:
            logger.warning("jobs of Slurm go on; type the same again to wait for them, scancel to end them")
            raise
        if not jobs.waiting:
            break
        before, jobs = jobs, submit(among=jobs.waiting)
        if jobs.waiting == before.waiting:  # what they go on from has failed
            logger.error("%d cascades could not begin", len(jobs.waiting))
            failed |= set(jobs.waiting)
            break
    return [run_.name for run_ in places.matrix.runs if run_ in failed]


def _status(args: argparse.Namespace) -> int:
    from nnunet_ext.evaluation.benchmark.inputs import declared
    from nnunet_ext.evaluation.benchmark.places import Places

    places = Places(args.out.resolve(), declared(args.out))
    live = {} if args.json else _live_states(places)
    records = {}
    for run_ in places.matrix.runs:
        file = places.record(run_)
        records[run_.name] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        if not args.json:
            dice = (records[run_.name] or {}).get("mean_dice")
            state = live.get(run_) or places.state(run_)
            print(f"{state:<12} {'' if dice is None else f'Dice {dice:.3f}':<11} {run_.name}")
    if args.json:
        print(json.dumps(records, indent=2))
    return 0


def _live_states(places: Places) -> dict[Run, str]:
    """Which trainings are queued or running as jobs, as far as can be asked here."""
    from nnunet_ext.commands import EnvironmentProblemError
    from nnunet_ext.evaluation.benchmark.live_jobs import live_jobs

    try:
        return {run_: job.state for run_, job in live_jobs(places).items()}
    except EnvironmentProblemError as error:
        logger.warning("%s", error)
        return {}


def _declaration(args: argparse.Namespace) -> dict[str, Any]:
    """What the file says, with what was typed in its place."""
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    content: dict[str, Any] = {}
    if args.file is not None:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
        try:
            content = tomllib.loads(args.file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{args.file} is no TOML: {error}") from error
    content |= {name: value for name in _DECLARED if (value := getattr(args, name)) is not None}
    content.setdefault("precision", _PRECISIONS[args.device][0])
    if "dataset" in content:
        try:
            content["dataset"] = str(maybe_convert_to_dataset_name(content["dataset"]))
        except RuntimeError as error:
            raise ValueError(f"no dataset {content['dataset']}: {error}") from error
    return content


def _folder(variable: str) -> Path:
    folder = os.environ.get(variable)
    if folder is None:
        raise ValueError(f"set {variable}, as for nnU-Net's own commands")
    return Path(folder)


def _environment() -> dict[str, str]:
    """This shell's, in which nnU-Net finds our trainers beside those of others."""
    from nnunet_ext.cli.hook_variable import VARIABLE, entries
    from nnunet_ext.trainers.registry import hook_folder

    hooks = dict.fromkeys([*entries(os.environ), str(hook_folder())])
    return {**os.environ, VARIABLE: os.pathsep.join(hooks)}
