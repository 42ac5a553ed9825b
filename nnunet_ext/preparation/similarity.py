"""How much one image says about another that is moved onto it: mutual information on given voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.preparation.coarse import distance_mm
from nnunet_ext.preparation.geometry import Grid, check_same_grid, everywhere

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

Start = Literal["frames", "geometry", "moments"]

# Mattes et al. 2003, doi 10.1109/TMI.2003.809072: 50 bins; SimpleITK's examples too.
BINS = 50
# The brightest fat or contrast agent of an MR would leave the rest few bins.
_MOVING_PERCENTILES = (0.5, 99.5)


def mutual_information(a: IntArray, b: IntArray, *, bins: int = BINS) -> float:
    """Mutual information of two lists of values, in nats.

    Args:
        a: whole numbers from 0 to ``bins`` - 1, the bins of the first.
        b: of the second, as many.
        bins: how many there are.

    Example:
        >>> same = np.array([0, 1, 0, 1])
        >>> round(mutual_information(same, same), 4), mutual_information(same, np.array([0, 0, 1, 1]))
        (0.6931, 0.0)
    """
    if not len(a):
        return 0.0
    joint = np.bincount(a * bins + b, minlength=bins * bins).reshape(bins, bins) / len(a)
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    filled = joint > 0
    return float((joint[filled] * np.log(joint[filled] / independent[filled])).sum())


def binned(values: FloatArray, *, low: float, high: float, bins: int = BINS) -> IntArray:
    """Bins of equal width from ``low`` to ``high``; what lies outside falls in the first or the last."""
    # An image of one value falls into the first bin.
    scaled = (values - low) * (bins / (high - low if high > low else 1.0))
    numbers: IntArray = np.clip(scaled, 0, bins - 1).astype(np.int64)
    return numbers


@dataclass(frozen=True)
class Placed:
    """The moving image as it lies on the fixed grid under one transform.

    Attributes:
        bins: of its values on the fixed grid, (Z, Y, X).
        where: voxels of the fixed mask that it covers.
    """

    bins: IntArray
    where: BoolArray

    @property
    def voxels(self) -> int:
        """How many voxels it covers."""
        return int(self.where.sum())


class Pair:
    """A fixed and a moving image, compared on every voxel of the fixed mask that the moving image covers.

    Args:
        fixed: image whose grid is used.
        moving: image that transforms place on it.
        fixed_mask: uint8 on the grid of ``fixed``; None for all voxels.
        moving_mask: uint8 on the grid of ``moving``; None for all voxels.
    """

    def __init__(
        self,
        fixed: sitk.Image,
        moving: sitk.Image,
        *,
        fixed_mask: sitk.Image | None,
        moving_mask: sitk.Image | None,
    ) -> None:
        self.fixed, self.moving = fixed, moving
        self.fixed_mask, self.moving_mask = fixed_mask, moving_mask
        values = sitk.GetArrayViewFromImage(fixed)
        self._fixed_bins = binned(values, low=float(values.min()), high=float(values.max()))
        self.within = np.ones(values.shape, bool)
        if fixed_mask is not None:
            self.within = sitk.GetArrayFromImage(fixed_mask) != 0
        self._covers = everywhere(moving) if moving_mask is None else moving_mask
        # Ranges belong to the images, not to a transform: the same bins before and after.
        self._low, self._high = np.percentile(sitk.GetArrayViewFromImage(moving), _MOVING_PERCENTILES)
        ml = np.prod(fixed.GetSpacing())
        # Volumes in voxels of the fixed grid.
        moving_voxels = sitk.GetArrayViewFromImage(self._covers).sum() * np.prod(moving.GetSpacing()) / ml
        self._smaller = min(float(self.within.sum()), float(moving_voxels))

    def starts(self) -> dict[Start, sitk.Transform]:
        """Where a search may begin, as rigid transforms about a center in the moving image."""
        # Moments need weights >= 0 and none outside the body.
        lowest = float(sitk.GetArrayViewFromImage(self.fixed).min())
        weights = [self.fixed - lowest, self.moving - float(sitk.GetArrayViewFromImage(self.moving).min())]
        for i, mask in enumerate((self.fixed_mask, self.moving_mask)):
            weights[i] = weights[i] if mask is None else sitk.Mask(weights[i], mask)
        rigid = sitk.Euler3DTransform()
        frames = sitk.Euler3DTransform()
        half = [(n - 1) / 2 for n in self.moving.GetSize()]
        frames.SetCenter(self.moving.TransformContinuousIndexToPhysicalPoint(half))
        by = sitk.CenteredTransformInitializerFilter
        return {
            "frames": frames,
            "geometry": sitk.CenteredTransformInitializer(self.fixed, self.moving, rigid, by.GEOMETRY),
            "moments": sitk.CenteredTransformInitializer(*weights, rigid, by.MOMENTS),
        }

    def placed(self, transform: sitk.Transform) -> Placed:
        """The moving image under a transform from points of the fixed image to points of the moving one."""
        values = sitk.Resample(self.moving, self.fixed, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        covered = sitk.Resample(self._covers, self.fixed, transform, sitk.sitkNearestNeighbor, 0.0)
        where = self.within & (sitk.GetArrayViewFromImage(covered) != 0)
        return Placed(binned(sitk.GetArrayViewFromImage(values), low=self._low, high=self._high), where)

    def overlap(self, placed: Placed) -> float:
        """What both cover, as a share of the smaller of the two, fixed mask and moving image or its mask."""
        return min(1.0, placed.voxels / max(self._smaller, 1.0))

    def displacement_mm(self, transform: sitk.Transform, placed: Placed) -> float:
        """Mean distance between points of the fixed image and where they go, over the voxels covered."""
        voxels = np.argwhere(placed.where)[:, ::-1].astype(float)
        # 500 points give the mean to a few per cent; calls into SimpleITK are slow.
        points = Grid.of(self.fixed).world_mm(voxels[:: max(1, len(voxels) // 500)])
        moved = np.array([transform.TransformPoint(point.tolist()) for point in points])
        return float(np.linalg.norm(moved - points, axis=1).mean())

    def information(self, placed: Placed, where: BoolArray | None = None) -> float:
        """Mutual information in nats on the voxels ``where``, by default on all that are covered."""
        where = placed.where if where is None else where
        return mutual_information(self._fixed_bins[where], placed.bins[where])


def working_pair(
    fixed: sitk.Image,
    moving: sitk.Image,
    *,
    fixed_mask: sitk.Image | None,
    moving_mask: sitk.Image | None,
    fixed_range: tuple[float, float] | None,
    spacing_mm: float,
    margin_mm: float,
) -> Pair:
    """Both images at about ``spacing_mm``, and their masks, widened by ``margin_mm``.

    Raises:
        PreparationError: ``grids-differ`` for a mask.
    """
    if fixed_range is not None:
        fixed = sitk.Clamp(fixed, sitk.sitkFloat32, *(float(v) for v in fixed_range))
    images = []
    for name, image, mask in (("fixed", fixed, fixed_mask), ("moving", moving, moving_mask)):
        factors = [
            max(1, min(round(spacing_mm / s), n))
            for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)
        ]
        images.append(sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors))
        if mask is not None:
            check_same_grid(mask, image, what=f"the {name} mask", reference_name=f"the {name} image")
            mask = _widened(sitk.BinShrink(sitk.Cast(mask != 0, sitk.sitkFloat32), factors) >= 0.5, margin_mm)
        images.append(mask)
    return Pair(images[0], images[2], fixed_mask=images[1], moving_mask=images[3])


def _widened(mask: sitk.Image, margin_mm: float) -> sitk.Image:
    near = distance_mm(sitk.GetArrayViewFromImage(mask) != 0, mask.GetSpacing()[::-1]) <= margin_mm
    return image_of(near.astype(np.uint8), mask)
