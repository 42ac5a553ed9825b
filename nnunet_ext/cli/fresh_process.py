"""Runs ``lookup_probe`` in a fresh process, with the user's own environment, and reads its report."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_ext.cli import lookup_probe

# A first import of torch from a busy network drive takes minutes; a healthy look-up takes 5 to 10 s.
TIMEOUT_S = 300


@dataclass(frozen=True)
class Package:
    """What importing a package gave.

    Attributes:
        version: of the installed distribution; "" where there is none.
        file: file that was imported; "" where the import failed.
        error: why the import failed; "" where it did not.
    """

    version: str
    file: str
    error: str


@dataclass(frozen=True)
class LookUp:
    """What nnU-Net's look-up of one trainer gave.

    Attributes:
        name: the trainer's name.
        module: module of the class; "" where none was found.
        file: file of that module.
        pickle_error: why the class does not pickle; "" where it does.
        same_object: True where a second look-up gave the same class.
        error: what the look-up raised; "" where it raised nothing.
        error_files: files that the exception passed through, outermost first.
    """

    name: str
    module: str
    file: str
    pickle_error: str
    same_object: bool
    error: str
    error_files: tuple[str, ...]


@dataclass(frozen=True)
class TorchFacts:
    """What torch computes on, and what torch.compile needs.

    Attributes:
        gpu_build: CUDA or ROCm version that torch was built for; "" for a CPU build.
        gpus: names of the GPUs that torch sees.
        mps: True where torch sees an Apple GPU.
        bfloat16: CPU features that compute bfloat16 quickly.
        triton_error: why triton does not import; "" where it does or no GPU needs it.
        c_compiler: compiler that triton would use; "" where there is none.
        python_header: where Python.h has to be for triton.
    """

    gpu_build: str
    gpus: tuple[str, ...]
    mps: bool
    bfloat16: tuple[str, ...]
    triton_error: str
    c_compiler: str
    python_header: str


@dataclass(frozen=True)
class FreshProcess:
    """What a fresh Python process of this environment found.

    Attributes:
        executable: its Python.
        nnunet_ext: our package, or another one of its name.
        trainers: its sub-package ``nnunet_ext.trainers``.
        nnunet_ext_candidates: files on the search path that ``import nnunet_ext`` could mean, in order.
        nnunet_ext_distributions: name and package folder of each distribution that brings a nnunet_ext.
        torch: torch.
        torchvision: torchvision, which nnU-Net's look-up imports on its way.
        nnunetv2: nnU-Net.
        look_ups: one for each name asked for.
        torch_facts: None where torch does not import.
    """

    executable: str
    nnunet_ext: Package
    trainers: Package
    nnunet_ext_candidates: tuple[Path, ...]
    nnunet_ext_distributions: tuple[tuple[str, Path], ...]
    torch: Package
    torchvision: Package
    nnunetv2: Package
    look_ups: tuple[LookUp, ...]
    torch_facts: TorchFacts | None


def look_up_in_fresh_process(
    names: Sequence[str], *, environment: Mapping[str, str], timeout_s: float = TIMEOUT_S
) -> FreshProcess:
    """Look trainers up exactly as nnU-Net's commands would now.

    Args:
        names: trainer names.
        environment: the process's environment variables.
        timeout_s: seconds after which the process is given up.

    Returns:
        The process's report.

    Raises:
        RuntimeError: the process gave none: it crashed or took too long.
    """
    command = [sys.executable, str(Path(lookup_probe.__file__).resolve()), *names]
    try:
        done = subprocess.run(
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"the look-up did not end within {timeout_s:g} s") from error
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(lookup_probe.MARKER):
            return _decode(json.loads(line.removeprefix(lookup_probe.MARKER)))
    last_words = " / ".join(done.stderr.strip().splitlines()[-3:]) or "it printed nothing"
    raise RuntimeError(f"the look-up's process ended with code {done.returncode} and no report: {last_words}")


def _decode(report: dict[str, Any]) -> FreshProcess:
    facts = report["torch_facts"]
    return FreshProcess(
        executable=report["executable"],
        nnunet_ext=Package(**report["nnunet_ext"]),
        trainers=Package(**report["trainers"]),
        nnunet_ext_candidates=tuple(Path(path) for path in report["nnunet_ext_candidates"]),
        nnunet_ext_distributions=tuple((name, Path(at)) for name, at in report["nnunet_ext_distributions"]),
        torch=Package(**report["torch"]),
        torchvision=Package(**report["torchvision"]),
        nnunetv2=Package(**report["nnunetv2"]),
        look_ups=tuple(
            LookUp(**{**entry, "error_files": tuple(entry["error_files"])}) for entry in report["look_ups"]
        ),
        torch_facts=(
            TorchFacts(**{**facts, "gpus": tuple(facts["gpus"]), "bfloat16": tuple(facts["bfloat16"])})
            if facts
            else None
        ),
    )
