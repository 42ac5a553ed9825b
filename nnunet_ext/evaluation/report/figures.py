"""Plots of a benchmark: accuracy against cost, trainer against vanilla by patient, learning, spread.

Plotly's figures: they answer to a finger or a mouse, fit any width, and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.report.views import STRUCTURE_COLORS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Told apart without color as well.
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
_DASHES = ("solid", "dash", "dot", "dashdot")
# Above this many points a drawing in SVG is slow to move.
_MANY_POINTS = 4000
_PANELS_A_ROW = 3
_EQUAL = {"color": "#666666", "dash": "dot", "width": 1}


@dataclass(frozen=True)
class Cost:
    """What one trainer costs, and what it reaches.

    Attributes:
        name: of the trainer.
        accuracy: mean score.
        interval: of it, low and high.
        prices: from what is paid, with its unit, to how much; None where unknown.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    prices: Mapping[str, float | None]


@dataclass(frozen=True)
class Pairs:
    """Scores of the same patients by a trainer and by vanilla.

    Attributes:
        candidate: name of the trainer.
        baseline: name of what it is compared with.
        structure: name.
        cases: names of the patients.
        ours: score of the trainer of each; nan where there is none.
        theirs: the same of the baseline.
    """

    candidate: str
    baseline: str
    structure: str
    cases: Sequence[str]
    ours: NDArray[np.float64]
    theirs: NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """One training over its epochs.

    Attributes:
        trainer: name; curves of one trainer look alike.
        run: which of its trainings.
        epochs: from 0.
        val_loss: of each.
        pseudo_dice: of each, on patches of validation cases.
    """

    trainer: str
    run: str
    epochs: Sequence[int]
    val_loss: Sequence[float]
    pseudo_dice: Sequence[float]


def cost_figure(costs: Sequence[Cost], *, metric: str) -> Figure:
    """Accuracy (up is better) against every price, a panel for each.

    Example:
        >>> one = Cost("A", 0.8, (0.7, 0.9), {"seconds per epoch": 3.0, "GiB": None})
        >>> len(cost_figure([one], metric="Dice").data)
        1
    """
    from plotly.subplots import make_subplots

    known = dict.fromkeys(p for c in costs for p, value in c.prices.items() if value is not None)
    figure = make_subplots(rows=1, cols=max(1, len(known)), shared_yaxes=True, horizontal_spacing=0.04)
    for column, price in enumerate(known, start=1):
        for place, cost in enumerate(costs):
            if (paid := cost.prices.get(price)) is None:
                continue
            low, high = cost.interval
            figure.add_scatter(
                x=[paid],
                y=[cost.accuracy],
                error_y={
                    "array": [high - cost.accuracy],
                    "arrayminus": [cost.accuracy - low],
                    "thickness": 1,
                },
                mode="markers",
                name=cost.name,
                legendgroup=cost.name,
                showlegend=column == 1,
                marker={**_look(place), "size": 11},
                row=1,
                col=column,
            )
        figure.update_xaxes(title=price, rangemode="tozero", row=1, col=column)
    figure.update_yaxes(title=f"mean {metric}", row=1, col=1)
    return _finished(figure, height=380)


def paired_figure(pairs: Sequence[Pairs], *, metric: str) -> Figure:
    """Each patient's score by the trainer over its score by vanilla; on the line they are equal.

    A panel for each trainer, a symbol for each structure.
    """
    from plotly.subplots import make_subplots

    panels = list(dict.fromkeys(p.candidate for p in pairs))
    structures = list(dict.fromkeys(p.structure for p in pairs))
    columns = min(_PANELS_A_ROW, len(panels))
    rows = -(-len(panels) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=panels, horizontal_spacing=0.08)
    kind = "scattergl" if sum(len(p.cases) for p in pairs) > _MANY_POINTS else "scatter"
    low, high = _range([each for p in pairs for each in (p.ours, p.theirs)])
    for pair in pairs:
        row, column = divmod(panels.index(pair.candidate), columns)
        place = structures.index(pair.structure)
        figure.add_trace(
            {
                "type": kind,
                "mode": "markers",
                "x": pair.theirs,
                "y": pair.ours,
                "text": list(pair.cases),
                "hovertemplate": "%{text}: %{y:.3f} against %{x:.3f}",
                "name": pair.structure,
                "legendgroup": pair.structure,
                "showlegend": row == column == 0,
                "marker": {**_look(place), "size": 6, "opacity": 0.75},
            },
            row=row + 1,
            col=column + 1,
        )
    for panel, name in enumerate(panels):
        row, column = divmod(panel, columns)
        line = {"x0": low, "y0": low, "x1": high, "y1": high, "line": _EQUAL}
        figure.add_shape(type="line", **line, row=row + 1, col=column + 1)
        baseline = next(p.baseline for p in pairs if p.candidate == name)
        figure.update_xaxes(title=f"{metric}, {baseline}", row=row + 1, col=column + 1)
    figure.update_yaxes(title=metric, col=1)
    return _finished(figure, height=330 * rows + 80)


def learning_figure(curves: Sequence[Curve]) -> Figure:
    """Loss and Dice on validation patches over the epochs of every training."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, subplot_titles=["validation loss", "pseudo Dice"])
    trainers = list(dict.fromkeys(c.trainer for c in curves))
    shown: set[str] = set()
    for curve in curves:
        look = _look(trainers.index(curve.trainer))
        dash = _DASHES[trainers.index(curve.trainer) // len(STRUCTURE_COLORS) % len(_DASHES)]
        for column, values in enumerate((curve.val_loss, curve.pseudo_dice), start=1):
            figure.add_scatter(
                x=list(curve.epochs),
                y=list(values),
                mode="lines+markers" if len(curve.epochs) < 30 else "lines",
                name=curve.trainer,
                legendgroup=curve.trainer,
                showlegend=curve.trainer not in shown,
                text=[curve.run] * len(curve.epochs),
                hovertemplate="%{text}, epoch %{x}: %{y:.3f}",
                line={"color": look["color"], "width": 1.5, "dash": dash},
                marker={**look, "size": 5},
                row=1,
                col=column,
            )
            shown.add(curve.trainer)
    figure.update_xaxes(title="epoch")
    return _finished(figure, height=380)


def spread_figure(scores: Mapping[str, Sequence[float]], *, cases: Sequence[str], metric: str) -> Figure:
    """Scores of all cases of each structure: box from quartile to quartile, and every case as a point."""
    from plotly.graph_objects import Figure

    figure = Figure()
    for place, (structure, values) in enumerate(scores.items()):
        figure.add_box(
            y=list(values),
            name=structure,
            text=list(cases),
            hovertemplate="%{text}: %{y:.3f}",
            boxpoints="all" if len(values) <= _MANY_POINTS else "outliers",
            jitter=0.4,
            pointpos=0,
            marker={"color": _look(place)["color"], "size": 4},
            line={"width": 1.2},
            showlegend=False,
        )
    figure.update_yaxes(title=metric)
    return _finished(figure, height=360)


def _look(place: int) -> dict[str, Any]:
    colors = len(STRUCTURE_COLORS)
    return {
        "color": STRUCTURE_COLORS[place % colors],
        "symbol": _SYMBOLS[(place + place // colors) % len(_SYMBOLS)],
    }


def _range(arrays: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    every = np.concatenate([np.asarray(a, np.float64) for a in arrays])
    finite = every[np.isfinite(every)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _finished(figure: Figure, *, height: int) -> Figure:
    figure.update_layout(
        template="simple_white",
        height=height,
        margin={"l": 55, "r": 10, "t": 50, "b": 45},
        # At the figure's lower edge, however many rows it has and however large the panels are: Plotly makes
        # room for it there.
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        font={"family": "system-ui, sans-serif", "size": 13},
        hovermode="closest",
    )
    figure.update_yaxes(showgrid=True, gridcolor="#eeeeee")
    return figure
