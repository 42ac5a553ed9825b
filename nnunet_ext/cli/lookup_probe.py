"""Looks trainers up as nnU-Net does and reports, in one line of JSON, what happened and around it.

`nnunet_ext doctor` runs this file as a script in a fresh process: `python lookup_probe.py NAME...`. It needs
nothing of our package, so that it works where a foreign package called nnunet_ext comes first.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import shutil
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

# In front of the report, because libraries print too.
MARKER = "nnunet_ext-doctor:"


def describe(error: BaseException) -> str:
    """Type and message of an exception, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def files_of(error: BaseException) -> list[str]:
    """Files that the exception and its causes passed through, outermost first, without this one."""
    files: dict[str, None] = {}
    current: BaseException | None = error
    while current is not None:
        files.update(dict.fromkeys(frame.filename for frame in traceback.extract_tb(current.__traceback__)))
        if isinstance(current, SyntaxError) and current.filename:
            files[current.filename] = None
        current = current.__cause__ or current.__context__
    return [file for file in files if not file.startswith("<") and file != __file__]


def look_up(name: str) -> dict[str, Any]:
    """Look one trainer up, twice, and pickle it."""
    answer: dict[str, Any] = {
        "name": name,
        "module": "",
        "file": "",
        "pickle_error": "",
        "same_object": False,
        "error": "",
        "error_files": [],
    }
    try:
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        found = recursive_find_trainer_class_by_name(name)
        answer["module"] = found.__module__
        answer["file"] = getattr(sys.modules.get(found.__module__), "__file__", None) or ""
        answer["same_object"] = recursive_find_trainer_class_by_name(name) is found
        answer["pickle_error"] = _pickle_error(found)
    except (Exception, SystemExit) as error:  # whatever another team's module does when it is imported
        answer["error"] = describe(error)
        answer["error_files"] = files_of(error)
    return answer


def _pickle_error(trainer: type) -> str:
    try:
        return "" if pickle.loads(pickle.dumps(trainer)) is trainer else "unpickling gives another class"
    except Exception as error:
        return describe(error)


def imported(name: str) -> dict[str, str]:
    """Import a package and say from where, in which version, or why not."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version(name.replace("_", "-"))
    except PackageNotFoundError:
        installed = ""
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        return {"version": installed, "file": "", "error": describe(error)}
    return {"version": installed, "file": getattr(module, "__file__", None) or "", "error": ""}


def packages_called(name: str) -> list[str]:
    """Folders and files on the search path that an ``import name`` could mean, in order."""
    candidates = [
        path
        for entry in sys.path
        for path in (Path(entry) / name / "__init__.py", Path(entry) / f"{name}.py")
    ]
    return [str(path) for path in candidates if path.is_file()]


def distributions_of(name: str) -> list[list[str]]:
    """Installed distributions that say they bring the package ``name``, and where they put it."""
    from importlib.metadata import distribution, packages_distributions

    names = dict.fromkeys(packages_distributions().get(name, []))
    return [[found, str(distribution(found).locate_file(name))] for found in names]


def torch_facts() -> dict[str, Any]:
    """What this torch computes on and what torch.compile needs; empty where torch does not import."""
    try:
        import torch
    except (Exception, SystemExit):
        return {}
    # Private in torch, and younger than the oldest torch we run on.
    bfloat16 = {
        feature: getattr(torch.cpu, name, None)
        for feature, name in (("AMX", "_is_amx_tile_supported"), ("AVX512-BF16", "_is_avx512_bf16_supported"))
    }
    gpus = []
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "gpu_build": torch.version.cuda or getattr(torch.version, "hip", None) or "",
        "gpus": gpus,
        "mps": torch.backends.mps.is_available(),
        "bfloat16": [feature for feature, probe in bfloat16.items() if probe is not None and probe()],
        "triton_error": imported("triton")["error"] if gpus else "",
        # triton compiles a launcher against Python's headers with the first compiler that it finds.
        "c_compiler": os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang") or "",
        "python_header": str(Path(sysconfig.get_path("include")) / "Python.h"),
    }


def report(names: Sequence[str]) -> dict[str, Any]:
    """Everything that ``nnunet_ext doctor`` wants to know from a fresh process."""
    return {
        "executable": sys.executable,
        "nnunet_ext_candidates": packages_called("nnunet_ext"),
        "nnunet_ext_distributions": distributions_of("nnunet_ext"),
        # Before the look-up: a second import after a failed one complains about something else.
        "torch": imported("torch"),
        "torchvision": imported("torchvision"),
        "nnunetv2": imported("nnunetv2"),
        "look_ups": [look_up(name) for name in names],
        # After the look-ups, which shall find our package not yet imported, as in nnU-Net's commands.
        "nnunet_ext": imported("nnunet_ext"),
        "trainers": imported("nnunet_ext.trainers"),
        "torch_facts": torch_facts(),
    }


def main(names: Sequence[str]) -> None:
    """Print the report for these trainer names."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        # Python puts a script's folder first; nnU-Net's commands do not have ours there.
        del sys.path[0]
    with redirect_stdout(sys.stderr):
        found = report(names)
    print(f"\n{MARKER}{json.dumps(found)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
