"""What each of several trainings on one computer may use: a GPU, or some of the cores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """One training's part of the computer.

    Attributes:
        gpu: number of the GPU; ``""`` leaves it to the environment.
        cores: numbers of the cores; none for all of them.
    """

    gpu: str = ""
    cores: tuple[int, ...] = ()


def shares_of_gpus(gpus: Sequence[str]) -> tuple[Share, ...]:
    """One share for each GPU, as often as it is named.

    Example:
        >>> [share.gpu for share in shares_of_gpus(["0", "0", "1"])]
        ['0', '0', '1']
    """
    return tuple(Share(gpu) for gpu in gpus)


def shares_of_cores(number: int, *, cores: Sequence[int] | None = None) -> tuple[Share, ...]:
    """The cores of this computer, dealt out.

    nnU-Net computes with one thread for each core of the computer, whatever it may use. Trainings that run
    beside each other therefore need cores of their own, or each waits for threads of the others.

    Args:
        number: of trainings at a time.
        cores: to deal out; those that this process may use by default, where the system tells (Linux).

    Returns:
        As many shares, without cores where the system does not tell or one training gets all of them.

    Raises:
        ValueError: there are fewer cores.

    Example:
        >>> [share.cores for share in shares_of_cores(2, cores=range(5))]
        [(0, 2, 4), (1, 3)]
    """
    if cores is None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(0)
    available = len(cores) or os.cpu_count() or 1
    if not 1 <= number <= available:
        raise ValueError(f"expected 1 to {available} trainings at a time, one a core, got {number}")
    if number == 1:
        return (Share(),)
    return tuple(Share(cores=tuple(cores[start::number])) for start in range(number))
