"""Files appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_ext.files import whole_file, write_text

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from nnunet_ext.files import whole_file
with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")
    with pytest.raises(UnicodeEncodeError), whole_file(file) as temporary:
        temporary.write_text("half \N{EM DASH}", encoding="ascii")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_text(file, "old")
    done = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(file)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert file.read_text() == "old"
    assert all(p == file or p.name.startswith(".writing-") for p in tmp_path.iterdir())


def test_the_temporary_file_keeps_both_endings_and_lies_in_the_staging_folder(tmp_path: Path) -> None:
    images = tmp_path / "imagesTr"
    with whole_file(images / "case.nii.gz", staging=tmp_path) as temporary:
        assert temporary.name.endswith(".nii.gz")
        assert images not in temporary.parents
        assert list(images.iterdir()) == []
        temporary.write_text("x")
    assert [p.name for p in images.iterdir()] == ["case.nii.gz"]


def test_a_block_that_wrote_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.json"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "x")
    plain = tmp_path / "b"
    plain.write_text("x")
    assert (tmp_path / "a").stat().st_mode == plain.stat().st_mode
