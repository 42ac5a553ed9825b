"""Checks of what torch computes on, and of what torch.compile needs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_ext.cli.checks import Check, command
from nnunet_ext.cli.fresh_process import TorchFacts


def check_hardware(facts: TorchFacts | None, *, environment: Mapping[str, str]) -> tuple[Check, ...]:
    """The checks of GPU and torch.compile; none where torch does not import.

    Args:
        facts: what the fresh process found.
        environment: the environment variables that it ran with.
    """
    if facts is None:
        return ()
    return (check_gpu(facts, environment=environment), check_compile(facts, environment=environment))


def check_gpu(facts: TorchFacts, *, environment: Mapping[str, str]) -> Check:
    """Is there a GPU, and what can the CPU do?

    Args:
        facts: what the fresh process found.
        environment: the environment variables that it ran with.
    """
    if facts.gpus or facts.mps:
        return Check("GPU", "ok", ", ".join(facts.gpus) or "Apple GPU (train with -device mps)")
    bfloat16 = (
        f"This CPU computes bfloat16 ({', '.join(facts.bfloat16)}); our trainers use it in the forward pass."
        if facts.bfloat16
        else "This CPU does not compute bfloat16 quickly, so training stays in float32."
    )
    found = f"torch sees no GPU, {_why_no_gpu(facts, environment)}. {bfloat16}"
    remedy = "Train with nnU-Net's option -device cpu, slowly."
    return Check("GPU", "warning", found, f"{remedy} For a GPU, install its driver and a torch built for it.")


def _why_no_gpu(facts: TorchFacts, environment: Mapping[str, str]) -> str:
    if not facts.gpu_build:
        return "and this torch is a CPU build"
    hidden = environment.get("CUDA_VISIBLE_DEVICES")
    if hidden in ("", "-1"):
        return f"because CUDA_VISIBLE_DEVICES={hidden!r} hides every GPU"
    return f"though it is built for CUDA or ROCm {facts.gpu_build}: there is none, or its driver does not fit"


def check_compile(facts: TorchFacts, *, environment: Mapping[str, str], os_name: str = os.name) -> Check:
    """Can torch.compile work, which nnU-Net uses on CUDA without being asked?

    Args:
        facts: what the fresh process found.
        environment: the environment variables.
        os_name: ``os.name`` of the system.

    Returns:
        The check; a warning names what is missing.
    """
    name, switch = "torch.compile", environment.get("nnUNet_compile", "true").lower()
    if not facts.gpus:
        return Check(name, "ok", "not used: nnU-Net compiles on CUDA only")
    if switch not in ("true", "1", "t"):
        return Check(name, "ok", "switched off by nnUNet_compile; training is slower than it could be")
    missing = _missing_for_compile(facts, os_name=os_name)
    if not missing:
        return Check(name, "ok", f"triton imports, C compiler {facts.c_compiler}")
    remedy = (
        f"Install what is missing, or train without, which is slower:{command('export nnUNet_compile=f')}"
    )
    return Check(
        name, "warning", f"unavailable: {'; '.join(missing)}. Training stops in its first step.", remedy
    )


def _missing_for_compile(facts: TorchFacts, *, os_name: str) -> Sequence[str]:
    missing = []
    if os_name == "nt":
        missing.append("Windows is not supported by nnU-Net's use of it")
    if facts.triton_error:
        missing.append(f"triton does not import ({facts.triton_error})")
    if not facts.c_compiler:
        missing.append("there is no C compiler (gcc or clang) on the PATH")
    if not Path(facts.python_header).is_file():
        missing.append(f"Python's C headers are not installed ({facts.python_header})")
    return missing
