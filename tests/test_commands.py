"""Child processes: what is known of them when they end. That they end with us: tests/cli/test_demo.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from nnunet_ext.commands import EnvironmentProblemError, Finished, find_command, run_logged


def python(code: str, log: Path, **more: Any) -> Finished:
    return run_logged([sys.executable, "-c", code], log=log, environment=os.environ, **more)


def test_code_time_and_memory_of_a_command(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log"
    small = python("import time; time.sleep(0.3); raise SystemExit(3)", log)
    large = python("import time; x = bytearray(600 * 2**20); time.sleep(0.3)", log)
    assert (small.code, large.code) == (3, 0)
    assert 0.3 <= large.seconds < 60
    if sys.platform == "linux":
        assert small.peak_memory_gib is not None
        assert large.peak_memory_gib is not None
        assert small.peak_memory_gib < 0.2  # whatever this process holds
        assert 0.58 < large.peak_memory_gib < 0.8


def test_a_log_is_begun_or_gone_on_with(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log"
    for word, append in (("one", False), ("two", True)):
        python(f"print({word!r})", log, append=append, on_line=lines.append)
    assert lines == ["one", "two"]
    assert log.read_text() == "one\ntwo\n"
    python("print('three')", log)
    assert log.read_text() == "three\n"


def test_a_missing_command_is_told_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblemError, match="pip install"):
        find_command("nnUNetv2_no_such_command")
    with pytest.raises(EnvironmentProblemError):
        run_logged(["nnUNetv2_no_such_command"], log=tmp_path / "log", environment={})
    assert not (tmp_path / "log").exists()
