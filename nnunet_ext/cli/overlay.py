"""Dice of the demo's predictions, and a picture that shows reference and prediction on the CT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.report.overlays import fullest_slice
from nnunet_ext.files import whole_file

# Paper 004 reads its CT through this window.
WINDOW_HU = (-150, 150)
# Two hues of the Okabe-Ito palette that color-blind readers tell apart; dashes for a print in gray.
REFERENCE_STYLE: dict[str, Any] = {"colors": "#56B4E9", "linestyles": "solid"}
PREDICTION_STYLE: dict[str, Any] = {"colors": "#E69F00", "linestyles": "dashed"}


@dataclass(frozen=True)
class Comparison:
    """One unseen case. Arrays are (z, y, x).

    Attributes:
        case: name of the case.
        image: Hounsfield units.
        reference: bool array, the true target.
        prediction: bool array, the predicted target.
        spacing_mm: voxel size (z, y, x) in mm.
    """

    case: str
    image: NDArray[Any]
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]

    @property
    def dice(self) -> float:
        """Dice of reference and prediction."""
        return dice(self.reference, self.prediction)


def dice(reference: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> float:
    """2 |A and B| / (|A| + |B|); nan where both are empty.

    Example:
        >>> dice(np.array([True, True, False]), np.array([True, False, False]))
        0.6666666666666666
    """
    total = int(reference.sum()) + int(prediction.sum())
    return 2 * int((reference & prediction).sum()) / total if total else float("nan")


def read_comparisons(references: Mapping[str, Path], *, images: Path, predictions: Path) -> list[Comparison]:
    """Cases with their references and the predictions of the same name.

    Args:
        references: the label file of each case; it may be turned otherwise than the prediction.
        images: folder with ``CASE_0000.nii.gz``.
        predictions: folder with ``CASE.nii.gz``, of nnU-Net.

    Returns:
        One comparison a case, in order.

    Raises:
        FileNotFoundError: a prediction is missing.
        CaseError: reference and prediction do not lie on one grid.
    """
    import SimpleITK

    from nnunet_ext.clinical_io.grids import in_one_orientation, require_same_grid

    comparisons = []
    for case, file in references.items():
        predicted = predictions / f"{case}.nii.gz"
        if not predicted.is_file():
            raise FileNotFoundError(f"expected the prediction {predicted}, but there is none; predict again")
        reference, prediction, image = (
            in_one_orientation(SimpleITK.ReadImage(str(path)))
            for path in (file, predicted, images / f"{case}_0000.nii.gz")
        )
        require_same_grid(prediction, reference, what="the prediction", whose="the reference")
        x, y, z = image.GetSpacing()
        comparisons.append(
            Comparison(
                case=case,
                image=SimpleITK.GetArrayFromImage(image),
                reference=SimpleITK.GetArrayFromImage(reference) == 1,
                prediction=SimpleITK.GetArrayFromImage(prediction) == 1,
                spacing_mm=(z, y, x),
            )
        )
    return comparisons


def write_overlay(comparisons: Sequence[Comparison], *, path: Path) -> None:
    """Picture of each case: CT alone, and with both contours in an axial and a coronal slice.

    Args:
        comparisons: at least one case; one row each.
        path: PNG file; appears only when it is whole.

    Raises:
        ValueError: no case was given.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not comparisons:
        raise ValueError("expected at least one case to draw, got none")
    rows = len(comparisons)
    figure = Figure(figsize=(12, 3.5 * rows + 0.8), dpi=110, layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    for row, comparison in zip(axes, comparisons, strict=True):
        _draw_row(row, comparison)
    handles = [
        Line2D([], [], color=style["colors"], linestyle=style["linestyles"], linewidth=2.5, label=label)
        for label, style in (("reference", REFERENCE_STYLE), ("prediction", PREDICTION_STYLE))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=12)
    figure.suptitle(f"Unseen phantoms, CT window [{WINDOW_HU[0]}, {WINDOW_HU[1]}] HU", fontsize=14)
    with whole_file(path) as temporary:
        figure.savefig(temporary)


def _draw_row(axes: NDArray[Any], comparison: Comparison) -> None:
    """Axial CT, axial with contours, coronal with contours, through the middle of the target."""
    shown = comparison.reference if comparison.reference.any() else comparison.prediction
    z, y = (fullest_slice(shown, axis) for axis in (0, 1))
    in_plane = comparison.spacing_mm[1] / comparison.spacing_mm[2]
    upright = comparison.spacing_mm[0] / comparison.spacing_mm[2]
    views = (
        (axes[0], f"{comparison.case}: axial slice {z}", np.s_[z, :, :], in_plane, False),
        (axes[1], f"Dice {comparison.dice:.2f}", np.s_[z, :, :], in_plane, True),
        (axes[2], f"coronal slice {y}", np.s_[:, y, :], upright, True),
    )
    for axis, title, section, aspect, contours in views:
        image = comparison.image[section]
        # Rows rise with z in a coronal slice, so the head is on top with the origin below.
        origin = "upper" if section[0] == z else "lower"
        axis.imshow(image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], aspect=aspect, origin=origin)
        if contours:
            for mask, style in (
                (comparison.reference[section], REFERENCE_STYLE),
                (comparison.prediction[section], PREDICTION_STYLE),
            ):
                if mask.any():
                    axis.contour(mask, levels=[0.5], linewidths=2, **style)
        axis.set_title(title, fontsize=12)
        axis.set_axis_off()
