"""The pages in docs/datasets say what the converters say."""

from __future__ import annotations

from pathlib import Path

from nnunet_ext.dataset_conversion.pages import pages

FOLDER = Path(__file__).parents[2] / "docs" / "datasets"


def test_the_pages_are_those_of_the_converters() -> None:
    """Write them with ``python -m nnunet_ext.dataset_conversion.pages .``"""
    assert {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*")} == pages()
