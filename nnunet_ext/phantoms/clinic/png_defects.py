"""What goes wrong with masks of one PNG a slice, done to the files of one case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nnunet_ext.phantoms.clinic.case import Damage, Staged
from nnunet_ext.phantoms.clinic.dicom_layout import MASKS, write_masks

# Gray, as of a mask that was smoothed or stored as JPEG in between.
GRAY = 127


def label_grid(staged: Staged) -> None:
    """Export the masks with a row less than the slices."""
    write_masks(_masks(staged)[:, :-1], staged.folder / MASKS)


def label_value(staged: Staged) -> None:
    """Write 0 and 255 with gray at the border, which is neither bone nor background."""
    file = _fullest(staged)
    plane = np.where(np.asarray(Image.open(file)) > 0, 255, 0).astype(np.uint8)
    rows, columns = np.nonzero(plane)
    plane[rows[0], columns[0]] = GRAY
    Image.fromarray(plane).save(file)


def empty_label(staged: Staged) -> None:
    """Leave nothing in any mask."""
    write_masks(np.zeros_like(_masks(staged)), staged.folder / MASKS)


def flipped_png(staged: Staged) -> None:
    """Count rows from below."""
    write_masks(_masks(staged)[:, ::-1], staged.folder / MASKS)


def missing_png(staged: Staged) -> None:
    """Remove the mask of a slice: whether there is bone on it nobody knows."""
    _fullest(staged).unlink()


def _masks(staged: Staged) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = staged.case.numbers > 0
    return inside


def _fullest(staged: Staged) -> Path:
    """The PNG with most of the label."""
    number = int(np.argmax(_masks(staged).sum(axis=(1, 2)))) + 1
    return staged.folder / MASKS / f"mask_{number}.png"


DAMAGE: Mapping[str, Damage] = {
    "label-grid": label_grid,
    "label-value": label_value,
    "empty-label": empty_label,
    "flipped-png": flipped_png,
    "missing-png": missing_png,
}
