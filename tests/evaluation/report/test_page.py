"""A page: numbers as they are shown, names that would break it, what needs no network."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.evaluation.report.figures import spread_figure
from nnunet_ext.evaluation.report.page import Page, Picture, Plot, Section, Table, Text, html, shown

NASTY = '</script><script>alert("x")</script>'


def page(*parts: object) -> str:
    return html(Page("Title", ["Lead."], [Section("One", parts)]))  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_shown_to_its_digits(number: float) -> None:
    assert float(shown(number)) == pytest.approx(number, rel=1e-3, abs=5e-5)


def test_what_is_no_number_is_a_dash() -> None:
    assert [shown(cell) for cell in (None, math.nan, math.inf)] == ["-"] * 3
    assert shown("") == ""


def test_a_column_of_numbers_and_gaps_is_one_of_numbers() -> None:
    table = Table(["a", "b", "c"], [["x", 1.0, None], ["y", None, "z"]])
    assert table.is_number == [False, True, False]
    assert Table(["a"], []).is_number == [False]


def test_a_name_cannot_break_the_page() -> None:
    figure = spread_figure({NASTY: [0.5]}, cases=[NASTY], metric=NASTY)
    text = page(Text([NASTY]), Table([NASTY], [[NASTY]]), Picture(b"png", NASTY), Plot(figure, NASTY))
    assert "alert(" in text
    assert NASTY not in text


def test_a_plot_comes_back_from_the_page_as_it_was() -> None:
    figure = spread_figure({"a<b": [0.25, math.nan]}, cases=["x", "y"], metric="Dice")
    found = re.search(r'<script type="application/json">(.*?)</script>', page(Plot(figure, "")), re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == json.loads(figure.to_json())


def test_a_page_without_plots_is_small() -> None:
    assert len(page(Table(["a"], [["x"]] * 500))) < 50_000
