"""Dealing out GPUs and cores to trainings that run at the same time."""

from __future__ import annotations

import os
import sys
from itertools import chain
from pathlib import Path

import pytest

from nnunet_ext.commands import run_logged
from nnunet_ext.evaluation.benchmark.shares import Share, shares_of_cores, shares_of_gpus

AFFINITY = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no processes")


def test_a_gpu_that_is_named_twice_has_two_trainings() -> None:
    assert shares_of_gpus(("0", "0", "3")) == (Share("0"), Share("0"), Share("3"))


@pytest.mark.parametrize(("number", "cores"), [(2, 2), (3, 8), (4, 64), (8, 8)])
def test_every_core_is_in_one_share(number: int, cores: int) -> None:
    shares = shares_of_cores(number, cores=range(10, 10 + cores))
    assert len(shares) == number
    assert sorted(chain.from_iterable(share.cores for share in shares)) == list(range(10, 10 + cores))
    assert max(len(share.cores) for share in shares) - min(len(share.cores) for share in shares) <= 1


def test_a_training_alone_is_not_pinned() -> None:
    assert shares_of_cores(1, cores=range(4)) == (Share(),)


@pytest.mark.parametrize("number", [-1, 0, 5])
def test_more_trainings_than_cores(number: int) -> None:
    with pytest.raises(ValueError, match=f"expected 1 to 4 trainings at a time, one a core, got {number}"):
        shares_of_cores(number, cores=range(4))


@AFFINITY
def test_a_command_and_its_children_get_their_cores(tmp_path: Path) -> None:
    # The parent pins the command right after it has begun; Python takes longer to start.
    tell = "import os; print(sorted(os.sched_getaffinity(0)))"
    run_child = f"subprocess.run([sys.executable, '-c', '{tell}'])"
    code = f"import subprocess, sys; {tell}; sys.stdout.flush(); {run_child}"
    core = max(os.sched_getaffinity(0))
    lines: list[str] = []
    done = run_logged(
        [sys.executable, "-c", code],
        log=tmp_path / "log",
        environment=os.environ,
        on_line=lines.append,
        cores=(core,),
    )
    assert (done.code, lines) == (0, [f"[{core}]"] * 2)
