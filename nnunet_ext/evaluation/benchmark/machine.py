"""On what a benchmark ran: versions, hardware, the commit of the code."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import nnunet_ext

_PACKAGES = ("nnunetv2", "torch", "dynamic-network-architectures", "batchgeneratorsv2", "numpy", "monai")


def machine() -> dict[str, Any]:
    """Versions and hardware of this computer, as a record keeps them.

    Example:
        >>> sorted(machine())
        ['commit', 'cores', 'cpu', 'gpu', 'memory_gib', 'platform', 'versions']
    """
    return {
        "versions": _versions(),
        "commit": commit(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpu": _gpus(),
    }


def commit() -> str | None:
    """Commit of the checkout that this package lies in, with ``+`` where files differ from it."""
    folder, own = os.path.split(nnunet_ext.__file__)
    try:
        # An environment may lie in a checkout of something else, which does not track what is installed.
        _output("git", "-C", folder, "ls-files", "--error-unmatch", own)
        head = _output("git", "-C", folder, "rev-parse", "HEAD")
        changed = _output("git", "-C", folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):  # installed from a wheel, or no git here
        return None
    return head + ("+" if changed else "")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "nnunet_ext": nnunet_ext.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _gpus() -> list[str]:
    try:
        found = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    except (OSError, subprocess.CalledProcessError):
        return []
    return found.splitlines()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
