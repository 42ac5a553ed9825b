"""Proposals computed once a case and kept beside the coarse prediction: skeletons take seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nnunet_ext.cascade.proposals import Proposed, propose
from nnunet_ext.cascade.settings import Proposals, as_dict
from nnunet_ext.cascade.windows import Windows
from nnunet_ext.files import checksum, write_text
from nnunet_ext.processes import for_each_case

ENDING = ".proposals.json"


class Cases(Protocol):
    """nnU-Net's dataset of the fine configuration, with the folder of coarse predictions."""

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, Any]:
        """Image, segmentation, coarse label map and properties."""
        ...


def cache_file(folder: Path, case: str) -> Path:
    """Beside the coarse prediction."""
    return folder / f"{case}{ENDING}"


def cached_proposals(
    cases: Cases,
    names: Iterable[str],
    *,
    folder: Path,
    ending: str,
    settings: Proposals,
    size: Sequence[int],
    processes: int = 1,
    progress: bool = True,
) -> dict[str, Proposed]:
    """The proposals of cases: read where they were computed from this coarse prediction and these settings.

    Args:
        cases: where they are loaded from.
        names: of the cases.
        folder: of the coarse predictions; what is computed is written there, by rename.
        ending: of a coarse prediction's file.
        settings: how windows are proposed.
        size: of the windows.
        processes: that compute, at most.
        progress: show a bar.

    Returns:
        By name.

    Raises:
        RuntimeError: the proposals of a case could not be computed; the message names it.
    """
    found, missing = {}, []
    for name in names:
        cached = _read(folder, name, ending=ending, settings=settings, size=size)
        if cached is None:
            missing.append(name)
        else:
            found[name] = cached
    work = partial(_computed, cases, folder=folder, ending=ending, settings=settings, size=size)
    found.update(
        for_each_case(work, missing, processes=processes, description="Proposals", progress=progress)
    )
    return found


def _computed(
    cases: Cases,
    name: str,
    *,
    folder: Path,
    ending: str,
    settings: Proposals,
    size: Sequence[int],
) -> tuple[str, Proposed]:
    """Name and proposals of a case, which are written, too."""
    try:
        sha256 = checksum(folder / f"{name}{ending}")
        image, _, coarse, _ = cases.load_case(name)
        proposed = propose(_label_map(coarse), settings, size=size, image=lambda: np.asarray(image[:]))
    except Exception as error:
        raise RuntimeError(f"the proposals of case {name} could not be computed: {error}") from error
    content = {
        "parameters": _parameters(settings, size),
        "coarse_sha256": sha256,
        "shape": list(proposed.windows.shape),
        "empty": list(proposed.empty),
        "origins": proposed.windows.origins.tolist(),
    }
    write_text(cache_file(folder, name), json.dumps(content) + "\n")
    return name, proposed


def _label_map(stored: Any) -> Any:
    """nnU-Net has stored label maps with and without a channel axis."""
    coarse = np.asarray(stored[:])
    return coarse[0] if coarse.ndim == 4 else coarse


def _read(
    folder: Path, name: str, *, ending: str, settings: Proposals, size: Sequence[int]
) -> Proposed | None:
    file, coarse = cache_file(folder, name), folder / f"{name}{ending}"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        is_of_these = content["parameters"] == _parameters(settings, size)
        if not is_of_these or content["coarse_sha256"] != checksum(coarse):
            return None
        origins = np.array(content["origins"], np.int64).reshape(-1, 3)
        return Proposed(Windows(origins, tuple(size), tuple(content["shape"])), tuple(content["empty"]))
    except (ValueError, KeyError, TypeError):  # not ours, or of another release: computed again
        return None


def _parameters(settings: Proposals, size: Sequence[int]) -> dict[str, Any]:
    content: dict[str, Any] = {**as_dict(settings), "window": [int(n) for n in size]}
    reread: dict[str, Any] = json.loads(json.dumps(content))
    return reread
