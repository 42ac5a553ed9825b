"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path, *, staging: Path | None = None) -> Iterator[Path]:
    """A temporary path to write to; it takes the place of ``path`` when the block ends well.

    A block that raises leaves what was at ``path`` as it was, and nothing else. A process that is killed
    may leave the temporary file behind, whose name begins with a dot.

    Args:
        path: the file to write; its folder is made if missing.
        staging: folder on the same disk for the temporary file; None takes the file's own. nnU-Net counts
            every file of a folder of images that has the right ending, hidden ones too, so what goes
            there is written elsewhere.

    Yields:
        A path that does not exist yet and has the same endings as ``path``, by which writers pick a format.

    Raises:
        OSError: the folder or the file could not be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with whole_file(Path(folder) / "a.json") as temporary:
        ...         _ = temporary.write_text("{}")
        ...     [p.name for p in Path(folder).iterdir()]
        ['a.json']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent if staging is None else staging
    beside.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=beside, prefix=".writing-"))
    try:
        yield folder / path.name
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Args:
        path: the file; its folder is made if missing.
        text: its content.

    Raises:
        OSError: the file could not be written.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(Path(folder) / "a.txt", "left")
        ...     (Path(folder) / "a.txt").read_text(encoding="utf-8")
        'left'
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def checksum(file: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in pieces.

    Raises:
        OSError: there is none, or it may not be read.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
