"""Shapes on a coarse grid: block means, distances in mm and connected parts with their thickness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

BoolArray: TypeAlias = NDArray[np.bool_]
FloatArray: TypeAlias = NDArray[np.float32]


def coarse_mean(values: NDArray[Any], factors: tuple[int, ...], *, clip: tuple[float, float]) -> FloatArray:
    """Means of blocks of voxels; blocks at the far edges may be smaller.

    Args:
        values: array (Z, Y, X).
        factors: voxels of a block (z, y, x), each >= 1.
        clip: values are clipped to this range first.

    Example:
        >>> coarse_mean(np.array([[[0, 2, 4, 6, 900]]]), (1, 1, 2), clip=(0, 8)).tolist()
        [[[1.0, 5.0, 8.0]]]
    """
    starts = [np.arange(0, n, f) for n, f in zip(values.shape, factors, strict=True)]
    coarse = np.empty([len(s) for s in starts], np.float32)
    area = np.outer(*(np.diff([*s, n]) for s, n in zip(starts[1:], values.shape[1:], strict=True)))
    for i, start in enumerate(starts[0]):
        # One layer of blocks at a time bounds the memory.
        layer = np.clip(values[start : start + factors[0]], *clip).astype(np.float32).mean(axis=0)
        sums = np.add.reduceat(np.add.reduceat(layer, starts[1], axis=0), starts[2], axis=1)
        coarse[i] = sums / area
    return coarse


def in_fine_slice(coarse: BoolArray, z: int, factors: tuple[int, ...], shape: tuple[int, ...]) -> BoolArray:
    """Slice ``z`` of the fine grid, (Y, X) = ``shape``, from an array of the coarse one."""
    rows = coarse[z // factors[0]].repeat(factors[1], axis=0)[: shape[0]]
    fine: BoolArray = rows.repeat(factors[2], axis=1)[:, : shape[1]]
    return fine


def distance_mm(things: BoolArray, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance of each voxel's center to the nearest center in ``things``, infinite where there is none.

    Args:
        things: array (Z, Y, X).
        spacing_mm: voxel size (z, y, x).

    Example:
        >>> distance_mm(np.array([[[True, False, False]]]), (3, 1, 0.5)).tolist()
        [[[0.0, 0.5, 1.0]]]
    """
    if not things.any():
        # ITK answers with a large number of no meaning.
        return np.full(things.shape, np.inf, np.float32)
    image = sitk.GetImageFromArray(things.astype(np.uint8))
    image.SetSpacing([float(s) for s in spacing_mm[::-1]])
    # Maurer's method is exact, linear in the number of voxels and ten times as fast as scipy's.
    signed = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    distance: FloatArray = np.maximum(sitk.GetArrayViewFromImage(signed), 0, dtype=np.float32)
    return distance


def depth_mm(things: BoolArray, spacing_mm: Sequence[float]) -> FloatArray:
    """Distance of each voxel's center in ``things`` to the nearest center outside; 0 outside.

    The edges of the array are no outside: a body that the image cuts off goes on there.
    """
    return distance_mm(~things, spacing_mm)


def sizes_and_depths(
    things: BoolArray, depths_mm: FloatArray
) -> tuple[NDArray[np.uint32], NDArray[np.int64], FloatArray]:
    """Connected parts (faces touching) with their numbers of voxels and their greatest depths.

    Returns:
        Labels from 1, 0 outside; voxels of each part; greatest value of ``depths_mm`` in each part.
    """
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(things.astype(np.uint8)))
    labels: NDArray[np.uint32] = sitk.GetArrayFromImage(image)
    number = int(labels.max(initial=0))
    sizes = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    depths = np.zeros(number + 1, np.float32)
    np.maximum.at(depths, labels[things], depths_mm[things])
    return labels, sizes, depths[1:]
