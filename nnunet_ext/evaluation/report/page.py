"""Puts a page together: sentences, tables that sort, plots, pictures; one file that needs no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table that sorts by a click on a column's title.

    Attributes:
        columns: titles; the first column names the row.
        rows: a cell for each column. Numbers are shown with ``digits`` significant digits; None and nan
            as a dash, which always sorts to the end.
        note: a sentence below it.
        folded: title under which it is folded away; ``""`` shows it.
        digits: significant digits of numbers that are not whole.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: str = ""
    digits: int = 4

    @cached_property
    def texts(self) -> list[list[str]]:
        """Cells as they are shown."""
        return [[shown(cell, digits=self.digits) for cell in row] for row in self.rows]

    @cached_property  # the template asks once a cell
    def is_number(self) -> list[bool]:
        """Of each column: whether it holds nothing but numbers and gaps."""
        columns = zip(*self.rows, strict=True)
        kinds = [all(not isinstance(cell, str) for cell in column) for column in columns]
        return kinds or [False] * len(self.columns)


@dataclass(frozen=True)
class Plot:
    """A figure with what it shows in words.

    Attributes:
        figure: Plotly's.
        caption: below it.
        folded: title under which it is folded away, and not drawn before it is opened.
        needs_3d: it takes one of the browser's few 3D drawings; it is let go when another one is opened.
        key: what its colors mean, as color and words.
    """

    figure: Figure
    caption: str
    folded: str = ""
    needs_3d: bool = False
    key: Sequence[tuple[str, str]] = ()

    @property
    def json(self) -> str:
        """The figure as JSON that may stand in a page."""
        # "</script>" in a patient's file name would end the element that holds it.
        text: str = self.figure.to_json()
        return text.replace("<", "\\u003c")


@dataclass(frozen=True)
class Picture:
    """A PNG.

    Attributes:
        png: the file.
        caption: below it, and what a screen reader says.
    """

    png: bytes
    caption: str

    @property
    def source(self) -> str:
        """It as a ``data:`` address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


@dataclass(frozen=True)
class Text:
    """Paragraphs or list items.

    Attributes:
        sentences: each on its own.
        marks: of each sentence, ``"better"``, ``"worse"``, ``"open"`` or ``""``; none for no marks.
        folded: title under which they are folded away; ``""`` shows them.
    """

    sentences: Sequence[str]
    marks: Sequence[str] = ()
    folded: str = ""


@dataclass(frozen=True)
class Key:
    """What colors mean.

    Attributes:
        entries: color and words.
    """

    entries: Sequence[tuple[str, str]]


Part = Table | Plot | Picture | Text | Key


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it.

    Attributes:
        title: of the section.
        parts: in their order.
    """

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: of the page.
        lead: sentences right below the title.
        sections: in their order.
        footer: versions and the like.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    footer: str = field(default="")


def shown(cell: Cell, *, digits: int = 4) -> str:
    """A cell in words; numbers with so many significant digits, large ones whole.

    Example:
        >>> shown(0.123456), shown(1234567.8), shown(12), shown(float("nan")), shown("a")
        ('0.1235', '1234568', '12', '-', 'a')
    """
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    if cell == 0 or not 1e-4 <= abs(cell) < 10**digits:
        return f"{cell:.0f}" if abs(cell) >= 1 else f"{cell:.{digits - 1}g}"
    before = max(1, math.floor(math.log10(abs(cell))) + 1)
    return f"{cell:.{max(0, digits - before) if abs(cell) >= 1 else digits}f}"


def html(page: Page) -> str:
    """The page as one HTML file that needs nothing from elsewhere.

    Plotly, its own program included, makes it 5 MB and more; a page without plots is small.

    Args:
        page: what it shows.

    Example:
        >>> page = Page("Title <1>", ["Said."], [Section("Numbers", [Table(["a", "b"], [["x", 0.5]])])])
        >>> "Title &lt;1&gt;" in html(page), "http://" in html(page)
        (True, False)
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nnunet_ext.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda part: type(part).__name__
    parts = [part for section in page.sections for part in section.parts]
    return environment.get_template("page.html").render(
        page=page,
        style=_asset("page.css"),
        script=_asset("page.js"),
        plotly=_plotly() if any(isinstance(part, Plot) for part in parts) else "",
    )


def _asset(name: str) -> str:
    return (files("nnunet_ext.evaluation.report") / "templates" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
