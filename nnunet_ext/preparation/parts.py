"""Which things in a CT are body: parts on the coarse grid, and the pixels of a slice that belong to them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.preparation.coarse import BoolArray, FloatArray, depth_mm, sizes_and_depths
from nnunet_ext.preparation.errors import PreparationError


@dataclass(frozen=True)
class RemovedPart:
    """One connected thing that was above the threshold and was not kept.

    Attributes:
        volume_ml: its volume.
        thickness_mm: of its thickest place.
    """

    volume_ml: float
    thickness_mm: float


@dataclass(frozen=True)
class Parts:
    """Connected parts after an erosion.

    Attributes:
        labels: 1, 2, ... in the parts, 0 elsewhere.
        volumes: voxels of each.
        depths_mm: of the deepest voxel of each below the surface before the erosion.
        radius_mm: of the erosion, between centers of voxels.
        half_voxel_mm: within a slice.
    """

    labels: NDArray[np.uint32]
    volumes: NDArray[np.int64]
    depths_mm: FloatArray
    radius_mm: float
    half_voxel_mm: float

    @classmethod
    def of(cls, foreground: BoolArray, spacing_mm: tuple[float, ...], radius_mm: float) -> Parts:
        """Parts of ``foreground`` (slices, rows, columns) that are left ``radius_mm`` below its surface."""
        # Distances run between centers of voxels: the surface lies half a voxel before the next center.
        half_voxel = min(spacing_mm[1:]) / 2
        depth = depth_mm(foreground, spacing_mm)
        labels, volumes, depths = sizes_and_depths(depth > radius_mm + half_voxel, depth)
        return cls(labels, volumes, depths, radius_mm + half_voxel, half_voxel)

    def kept(
        self, *, limb_radius_mm: float, min_part_share: float, backward: tuple[int, bool]
    ) -> tuple[BoolArray, int]:
        """The parts that are body, and how many.

        Args:
            limb_radius_mm: a ball of this radius fits into each.
            min_part_share: of the volume of the largest.
            backward: from :func:`backward_axis`.

        Raises:
            PreparationError: ``body-not-found``.
        """
        thick = self.depths_mm >= limb_radius_mm + self.half_voxel_mm
        if not thick.any():
            found = 2 * float(self.depths_mm.max(initial=0.0))
            raise PreparationError(
                "body-not-found",
                f"expected a body part at least {2 * limb_radius_mm:g} mm thick, the thickest thing above "
                f"the threshold is about {found:.0f} mm",
                "check that the CT shows a patient; for fingers or toes alone make limb_radius_mm smaller",
            )
        volumes = np.where(thick, self.volumes, 0)
        main = int(volumes.argmax()) + 1
        chosen = [
            part
            for part in np.flatnonzero(volumes >= min_part_share * volumes.max()) + 1
            if thick[part - 1] and (part == main or not self._behind(int(part), main, backward))
        ]
        return np.isin(self.labels, chosen), len(chosen)

    def _behind(self, part: int, main: int, backward: tuple[int, bool]) -> bool:
        axis, grows = backward
        others = tuple(a for a in range(3) if a != axis)
        rows = np.count_nonzero(self.labels == part, axis=others)
        center = float(np.average(np.arange(len(rows)), weights=rows))
        of_main = np.flatnonzero(np.any(self.labels == main, axis=others))
        return bool(center > of_main[-1]) if grows else bool(center < of_main[0])


def backward_axis(image: sitk.Image, axial: int) -> tuple[int, bool]:
    """Axis of (slices, rows, columns) that runs closest to the patient's back, and whether it grows there."""
    posterior = np.reshape(image.GetDirection(), (3, 3))[1]
    # The same order as of the moved array: the axial axis first, then the others from the last to the first.
    order = [axial, *(a for a in (2, 1, 0) if a != axial)]
    along = [posterior[a] for a in order]
    axis = 1 + int(np.argmax(np.abs(along[1:])))
    return axis, bool(along[axis] > 0)


def removed_parts_of(removed: BoolArray, spacing_mm: tuple[float, ...]) -> tuple[RemovedPart, ...]:
    """The connected things of at least 1 ml, ten at most, the largest first."""
    _, volumes, depths = sizes_and_depths(removed, depth_mm(removed, spacing_mm))
    voxel_ml = math.prod(spacing_mm) / 1000
    parts = [
        RemovedPart(volume_ml=float(v * voxel_ml), thickness_mm=float(2 * d - min(spacing_mm[1:])))
        for v, d in zip(volumes, depths, strict=True)
        if v * voxel_ml >= 1
    ]
    return tuple(sorted(parts, key=lambda part: -part.volume_ml)[:10])


def touching(candidates: BoolArray, seeds: BoolArray) -> BoolArray:
    """Connected pieces of ``candidates`` that hold a seed: slivers of couch beside the body hold none."""
    labels, number = ndimage.label(candidates)
    wanted = np.zeros(number + 1, dtype=bool)
    wanted[labels[seeds]] = True
    wanted[0] = False
    kept: BoolArray = wanted[labels]
    return kept


def filled(body: BoolArray) -> BoolArray:
    """The slice with its holes: what is outside reaches the edge."""
    labels, number = ndimage.label(~body)
    outside = np.zeros(number + 1, dtype=bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[edge] = True
    outside[0] = False
    whole: BoolArray = ~outside[labels]
    return whole
