"""The result every phantom returns, and the checks of its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from operator import index

import numpy as np
from numpy.typing import NDArray

MIN_SIZE_VOX = 12


@dataclass(frozen=True)
class Phantom:
    """One synthetic patient. Arrays are (z, y, x); z rises to the head, y to the back, x to the left.

    Attributes:
        name: name of the phantom, as in ``nnunet_ext phantom NAME``.
        seed: the seed that made it.
        image: int16 array (Z, Y, X), Hounsfield units.
        label: uint8 array (Z, Y, X), 0 background and the structures to segment.
        tissue: uint8 array (Z, Y, X) of :class:`nnunet_ext.phantoms.ct.Tissue`: what the voxel is made of.
        spacing_mm: voxel size (z, y, x) in mm.
    """

    name: str
    seed: int
    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    tissue: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def checked_geometry(
    *, seed: int, size_vox: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Size and spacing as tuples, after checking them and the seed.

    Args:
        seed: whole number >= 0.
        size_vox: three whole numbers (z, y, x), each >= 12.
        spacing_mm: three finite numbers (z, y, x) > 0.

    Returns:
        ``size_vox`` and ``spacing_mm`` as tuples of int and float.

    Raises:
        ValueError: a value is outside its range or there are not three.
        TypeError: seed or size is not a whole number.

    Example:
        >>> checked_geometry(seed=0, size_vox=[16, 32, 32], spacing_mm=[3, 1, 1])
        ((16, 32, 32), (3.0, 1.0, 1.0))
    """
    if index(seed) < 0:
        raise ValueError(f"seed must be a whole number >= 0, got {seed}")
    size = tuple(index(n) for n in size_vox)
    if len(size) != 3 or min(size) < MIN_SIZE_VOX:
        raise ValueError(
            f"size_vox must be three whole numbers (z, y, x), each >= {MIN_SIZE_VOX}, got {tuple(size_vox)}; "
            "a coarser grid would lose the structures to segment"
        )
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) != 3 or not all(isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"spacing_mm must be three numbers (z, y, x) > 0, got {tuple(spacing_mm)}")
    return (size[0], size[1], size[2]), (spacing[0], spacing[1], spacing[2])
