"""Two preprocessed datasets, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from translation_home import TranslationHome, write_home


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> TranslationHome:
    """Not to be changed."""
    return write_home(tmp_path_factory.mktemp("translation"))


@pytest.fixture
def own_home(home: TranslationHome, tmp_path: Path) -> TranslationHome:
    """A copy of one's own."""
    shutil.copytree(home.root, tmp_path / "home")
    return TranslationHome(tmp_path / "home")
