"""How large a refiner's cells, kernels and patches are: from the plans' spacing and image size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2, prod
from typing import Literal

Kernels = Literal["9x9x5", "5x5x5"]
KERNELS: tuple[Kernels, ...] = ("9x9x5", "5x5x5")
# Hidden convolutions that go with them: SPEC A2.5's one, Payer's three.
HIDDEN_CONVS = {"9x9x5": 1, "5x5x5": 3}

# Paper 001 and Payer: patches of 64^3 voxels, a factor of 4, so 16 cells along each axis.
LOCAL_VOXELS = 64**3
CELLS_OF_A_PATCH = 16
SMALLEST_FACTOR, LARGEST_FACTOR = 4, 16


@dataclass(frozen=True)
class Layout:
    """Sizes of a refiner along (z, y, x), transposed as the plans'.

    Attributes:
        factor: voxels of a cell.
        kernel_size: of the spatial convolutions.
        hidden_convs: spatial convolutions before the last one.
        local_grid: voxels that the local convolutions see as one.
        patch_size: at most this much of a case is looked at in a step of training.
    """

    factor: tuple[int, ...]
    kernel_size: tuple[int, ...]
    hidden_convs: int
    local_grid: tuple[int, ...]
    patch_size: tuple[int, ...]


def layout_for(
    *,
    spacing_mm: Sequence[float],
    image_size: Sequence[int],
    transpose_forward: Sequence[int] = (0, 1, 2),
    kernels: Kernels = "9x9x5",
    local_grid: int = 1,
    factor: int | None = None,
) -> Layout:
    """Sizes for a configuration.

    - Numbers given once (``local_grid``, ``factor``) hold along the axis of the finest spacing; another axis
      gets the power of two that is nearest to as many mm, so that cells are about isotropic.
    - A patch is the whole median image where the local convolutions then see 64^3 voxels at most, as in the
      paper; else what is left after its longest axis (mm) was shortened until that holds.
    - The factor is 4, as in the paper, for patches of up to 64^3 voxels of the finest spacing, 8 from 128^3
      on and 16 from 256^3 on, so that the spatial kernels see as much of them.
    - 9x9x5 has its 5 along the axis of the coarsest spacing; of equal ones, along the image's first axis.

    Args:
        spacing_mm: of the configuration, transposed.
        image_size: median size in that spacing.
        transpose_forward: nnU-Net's.
        kernels: of the spatial convolutions.
        local_grid: a power of two; 1 is the paper's.
        factor: a power of two, ``local_grid`` at least; None chooses.

    Raises:
        ValueError: a number that is not a power of two.

    Example:
        >>> paper = layout_for(spacing_mm=(3, 3, 3), image_size=(64, 64, 64))
        >>> paper.factor, paper.kernel_size, paper.patch_size
        ((4, 4, 4), (5, 9, 9), (64, 64, 64))
        >>> layout_for(spacing_mm=(5, 1, 1), image_size=(20, 160, 160)).factor
        (1, 4, 4)
    """
    for name, number in (("local grid", local_grid), ("factor", factor or 1)):
        if number < 1 or number & (number - 1):
            raise ValueError(f"expected a power of two as {name}, got {number}")
    grid = _per_axis(local_grid, spacing_mm)
    patch = _patch(image_size, spacing_mm, grid)
    if factor is None:
        factor = max(_factor_of(patch, spacing_mm), local_grid)
    elif factor < local_grid:
        raise ValueError(f"expected a factor of {local_grid}, the local grid, or more, got {factor}")
    factors = _per_axis(factor, spacing_mm)
    kernel = (5, 5, 5) if kernels == "5x5x5" else _flat_kernel(spacing_mm, transpose_forward)
    return Layout(factors, kernel, HIDDEN_CONVS[kernels], grid, patch)


def _per_axis(number: int, spacing_mm: Sequence[float]) -> tuple[int, ...]:
    finest = min(spacing_mm)
    return tuple(2 ** max(0, round(log2(number * finest / s))) for s in spacing_mm)


def _patch(image_size: Sequence[int], spacing_mm: Sequence[float], grid: Sequence[int]) -> tuple[int, ...]:
    patch = [max(1, int(n)) for n in image_size]
    most = LOCAL_VOXELS * prod(grid)
    while prod(patch) > most:
        longest = max(range(3), key=lambda axis: patch[axis] * spacing_mm[axis])
        patch[longest] -= 1
    return tuple(patch)


def _factor_of(patch: Sequence[int], spacing_mm: Sequence[float]) -> int:
    extent = prod(n * s for n, s in zip(patch, spacing_mm, strict=True)) ** (1 / 3) / min(spacing_mm)
    factor = SMALLEST_FACTOR
    while factor < LARGEST_FACTOR and extent > 2 * factor * CELLS_OF_A_PATCH - 0.5:
        factor *= 2
    return factor


def _flat_kernel(spacing_mm: Sequence[float], transpose_forward: Sequence[int]) -> tuple[int, ...]:
    through = list(transpose_forward).index(0)  # the image's own first axis
    coarsest = max(range(3), key=lambda axis: (round(spacing_mm[axis], 3), axis == through))
    return tuple(5 if axis == coarsest else 9 for axis in range(3))
