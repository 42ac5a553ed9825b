"""A page in docs/datasets for each converter, from what the converter itself says.

python -m nnunet_ext.dataset_conversion.pages CHECKOUT
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

from nnunet_ext.dataset_conversion.declaration import Converter
from nnunet_ext.dataset_conversion.registry import CONVERTERS, converter

from nnunet_ext.files import write_text

_PRESENCE = {
    "required": "every case has it",
    "may_be_absent": "a patient may not have it: background",
    "may_be_undrawn": "may not be drawn: ignored in training where it may be",
}


def page(name: str) -> str:
    """The page of one converter, in Markdown.

    Example:
        >>> page("liver-target").splitlines()[0]
        '# liver-target'
    """
    found = converter(name)
    module = importlib.import_module(f"nnunet_ext.dataset_conversion.{CONVERTERS[name][0]}")
    text = inspect.cleandoc(module.__doc__ or "").replace("``", "`")
    return "\n".join([f"# {name}", "", text, "", *_tables(found), ""])


def index() -> str:
    """The list of all pages, in Markdown.

    Example:
        >>> "[liver-target](liver-target.md)" in index()
        True
    """
    lines = [
        "# Datasets",
        "",
        "What `nnunet_ext convert NAME` reads; pages are written from the converters.",
        "",
    ]
    lines += [f"- [{name}]({name}.md): {summary}" for name, (_, summary) in CONVERTERS.items()]
    return "\n".join([*lines, ""])


def _tables(found: Converter) -> list[str]:
    lines = [f"Channels: {', '.join(found.channels)}.", "", "| number | label | in a case |", "|---|---|---|"]
    numbers = found.numbers()
    lines += [f"| {numbers[one.name]} | {one.name} | {_PRESENCE[one.presence]} |" for one in found.labels]
    if found.pairs:
        pairs = ", ".join(f"{left} and {right}" for left, right in found.pairs)
        lines += ["", f"Left and right are kept apart in training: {pairs}."]
    elif found.is_chiral:
        lines += ["", "Left and right are kept apart in training: the anatomy has a left and a right."]
    own = [(option.flag, option.arguments.get("help", "")) for option in found.options]
    if own:
        lines += ["", "| option | |", "|---|---|", *(f"| `{flag}` | {text} |" for flag, text in own)]
    if found.preparation is not None:
        steps = ", ".join(f"`{step.name}`" for step in found.preparation.steps)
        lines += ["", f"Prepared as it is converted: {steps} (`preparation.json`)."]
    if found.reference:
        lines += ["", f"Reference: {found.reference}."]
    if found.license:
        lines += ["", f"License of the data: {found.license}."]
    return lines


def pages() -> dict[str, str]:
    """All pages by their file names."""
    return {"README.md": index()} | {f"{name}.md": page(name) for name in CONVERTERS}


def main() -> None:
    """Write all pages below the checkout that is named."""
    for name, text in pages().items():
        write_text(Path(sys.argv[1]) / "docs" / "datasets" / name, text)


if __name__ == "__main__":
    main()
