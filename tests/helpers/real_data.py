"""Real, openly licensed patients: used where their folder is present, never part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def real_data(name: str) -> Path:
    """Folder ``name`` of the real patients; skips the test where there is none."""
    root = Path(os.environ.get("NNUNET_EXT_DATA", ROOT.parent / "shared" / "data"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"no real patients at {folder}; NNUNET_EXT_DATA may name their folder")
    return folder
