"""Overlays in three planes: where prediction and reference agree, on the image that was segmented."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.report.agreement import COLORS, Kind, agreement
from nnunet_ext.evaluation.report.shown import ShownCase

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

# Fill lets the image through, lines do not.
_FILL = 0.45
_MARGIN_MM = 15.0
_WINDOW_PERCENTILES = (1.0, 99.0)
_PLANES = ("axial", "coronal", "sagittal")
# What lies at the left, right, top and bottom of each plane, arrays running to head, back and left: axial and
# coronal are seen from the feet and from the front, so that the patient's right is on the left.
_SIDES = (("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I"))


@dataclass(frozen=True)
class Cut:
    """A slice of a case.

    Attributes:
        axis: 0, 1, 2 of the arrays (Z, Y, X).
        index: along it.
    """

    axis: int
    index: int


def cuts_of(kinds: NDArray[np.uint8]) -> tuple[Cut, ...]:
    """The slices worth looking at: through most of what is wrong, or of what is there where nothing is.

    Args:
        kinds: (Z, Y, X) array of :class:`~nnunet_ext.evaluation.report.agreement.Kind`.

    Returns:
        One along each axis; of one slice, that slice.

    Example:
        >>> kinds = np.zeros((4, 4, 4), np.uint8)
        >>> kinds[1:3], kinds[2, 3, 0] = Kind.AGREEMENT, Kind.MISSED
        >>> [cut.index for cut in cuts_of(kinds)]
        [2, 3, 0]
    """
    shown = np.isin(kinds, (Kind.MISSED, Kind.EXTRA, Kind.CONFUSED))
    if not shown.any():
        shown = kinds == Kind.AGREEMENT
    axes = (0,) if kinds.shape[0] == 1 else (0, 1, 2)
    return tuple(Cut(axis, fullest_slice(shown, axis)) for axis in axes)


def overlay_png(case: ShownCase, *, ignore: int | None = None, dpi: int = 100) -> bytes:
    """Draw a case in three planes, cropped to what is there; without an image, on black.

    Args:
        case: with a reference.
        ignore: label of the reference that stands for no annotation.
        dpi: pixels per inch; a plane is three inches wide.

    Returns:
        A PNG file.

    Raises:
        ValueError: the case has no reference.
    """
    from matplotlib.figure import Figure

    if case.reference is None:
        raise ValueError(f"expected a reference of {case.name} to compare with, got none")
    kinds = agreement(case.prediction, case.reference, ignore=ignore)
    figure = Figure(figsize=(3.0 * (1 if case.is_flat else 3), 3.2), dpi=dpi, layout="constrained")
    figure.set_facecolor("black")
    draw_planes(figure, case, kinds, cuts_of(kinds), colors=COLORS)
    stream = io.BytesIO()
    # Nothing that changes from one call to the next.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def draw_planes(
    figure: FigureBase,
    case: ShownCase,
    codes: NDArray[Any],
    cuts: Sequence[Cut],
    *,
    colors: Mapping[int, str] | Mapping[Kind, str],
) -> None:
    """Draw slices side by side, the borders of the reference solid and of the prediction dashed.

    Args:
        figure: to draw into.
        case: what is drawn.
        codes: (Z, Y, X) array of small whole numbers.
        cuts: slices.
        colors: of the codes; what has none lets the image through.
    """
    from matplotlib.colors import to_rgba

    palette = np.zeros((int(codes.max()) + 1, 4))
    for code, color in colors.items():
        if code < len(palette):
            palette[code] = to_rgba(color, _FILL)
    shown = (codes != 0) & (codes != Kind.IGNORED)
    window = _window(case, shown)
    for axes, cut in zip(figure.subplots(1, len(cuts), squeeze=False)[0], cuts, strict=True):
        section: list[Any] = [slice(None)] * 3
        section[cut.axis] = cut.index
        _draw_cut(axes, case, palette[codes[tuple(section)]], tuple(section), window=window)
        rows_mm, columns_mm = (mm for axis, mm in enumerate(case.spacing_mm) if axis != cut.axis)
        axes.set_aspect(rows_mm / columns_mm)
        # Rows run to the back in an axial slice and to the head in the others.
        rows, columns = _limits(shown, case, cut)
        axes.set_xlim(*columns)
        axes.set_ylim(*(rows[::-1] if cut.axis == 0 else rows))
        axes.set_axis_off()
        _write_sides(axes, case, cut)


def _draw_cut(
    axes: Axes,
    case: ShownCase,
    colored: NDArray[np.float64],
    section: tuple[Any, ...],
    *,
    window: tuple[float, float],
) -> None:
    if case.image is None:
        axes.imshow(np.zeros(colored.shape[:2]), cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(case.image[section], cmap="gray", vmin=window[0], vmax=window[1])
    axes.imshow(colored, interpolation="nearest")
    for labels, style in ((case.reference, "solid"), (case.prediction, "dashed")):
        if labels is not None and (mask := labels[section] != 0).any() and min(mask.shape) > 1:
            axes.contour(mask, levels=[0.5], colors="white", linewidths=0.8, linestyles=style)


def _write_sides(axes: Axes, case: ShownCase, cut: Cut) -> None:
    from matplotlib.patheffects import withStroke

    rim = [withStroke(linewidth=2, foreground="black")]
    style: dict[str, Any] = {"color": "white", "fontsize": 8, "path_effects": rim}
    style["transform"] = axes.transAxes
    title = "slice" if case.is_flat else f"{_PLANES[cut.axis]} slice {cut.index}"
    axes.set_title(title, color="white", fontsize=9)
    if case.is_flat:
        return
    left, right, top, bottom = _SIDES[cut.axis]
    axes.text(0.01, 0.5, left, va="center", **style)
    axes.text(0.99, 0.5, right, va="center", ha="right", **style)
    axes.text(0.5, 0.99, top, va="top", ha="center", **style)
    axes.text(0.5, 0.01, bottom, ha="center", **style)


def _limits(
    shown: NDArray[np.bool_], case: ShownCase, cut: Cut
) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last row, first and last column to show: all that is there in the case, and a margin."""
    found = []
    for axis in (a for a in range(3) if a != cut.axis):
        where = np.flatnonzero(shown.any(axis=tuple(a for a in range(3) if a != axis)))
        last = shown.shape[axis] - 1
        low, high = (int(where[0]), int(where[-1])) if where.size else (0, last)
        margin = max(_MARGIN_MM / case.spacing_mm[axis], 0.15 * (high - low))
        found.append((max(low - margin, -0.5), min(high + margin, last + 0.5)))
    return found[0], found[1]


def _window(case: ShownCase, shown: NDArray[np.bool_]) -> tuple[float, float]:
    """Intensities from black to white: those in and around what is shown, and not of air and metal."""
    if case.image is None:
        return 0.0, 1.0
    limits = (_limits(shown, case, Cut(1, 0))[0], *_limits(shown, case, Cut(0, 0)))
    near = tuple(slice(max(0, int(low)), int(high) + 1) for low, high in limits)
    low, high = np.percentile(case.image[near], _WINDOW_PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def fullest_slice(mask: NDArray[np.bool_], axis: int) -> int:
    """Index along ``axis`` of the slice that holds most of the mask; the middle one of an empty mask."""
    if not mask.any():
        return int(mask.shape[axis]) // 2
    return int(mask.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())
