"""The results the phantoms return, and the checks of their sizes.

**The frame, once for all phantoms.** Arrays are indexed (z, y, x). With rising index, z goes to the head
(superior), y to the back (posterior) and x to the patient's LEFT: LPS, as in DICOM and ITK, with the identity
direction, so a volume written with origin and spacing only is right. The liver lies at small x; a structure
named left lies at larger x than its right twin. Triples in mm or voxels are (z, y, x) too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from operator import index

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.phantoms.shapes import Triple

MIN_SIZE_VOX = 12


@dataclass(frozen=True)
class Phantom:
    """One synthetic patient. Arrays are in the module's frame.

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


@dataclass(frozen=True)
class Channel:
    """One image of a patient. Its arrays are in the module's frame, of the scanner that made it.

    Attributes:
        name: nnU-Net's channel name: CT, MR, T1w or T2w.
        image: int16 array (Z, Y, X): Hounsfield units, or MR signal in arbitrary units >= 0.
        tissue: uint8 array (Z, Y, X) of :class:`~nnunet_ext.phantoms.materials.Material` on the same grid.
        spacing_mm: voxel size.
        origin_mm: center of the first voxel in the scanner's frame.
        motion: from the frame of the patient's reference channel to this scanner's: a point of the patient
            at p in the first is at ``motion.move(p)`` in the second.
    """

    name: str
    image: NDArray[np.int16]
    tissue: NDArray[np.uint8]
    spacing_mm: Triple
    origin_mm: Triple
    motion: RigidMotion = field(default_factory=RigidMotion)


@dataclass(frozen=True)
class Patient:
    """One synthetic patient, seen by one or more scanners.

    Attributes:
        name: name of the phantom, as in ``nnunet_ext phantom NAME``.
        seed: the seed that made the patient.
        channels: the images in nnU-Net's order; the first is the reference.
        label: uint8 array (Z, Y, X) on the reference channel's grid.
        labels: name to value, in the order of the values; ``background`` is 0.
    """

    name: str
    seed: int
    channels: tuple[Channel, ...]
    label: NDArray[np.uint8]
    labels: Mapping[str, int]

    @property
    def reference(self) -> Channel:
        """The channel whose grid the label map has."""
        return self.channels[0]

    def channel(self, name: str) -> Channel:
        """The channel of that name.

        Raises:
            KeyError: there is none.
        """
        for channel in self.channels:
            if channel.name == name:
                return channel
        raise KeyError(f"no channel {name!r}; this patient has {[c.name for c in self.channels]}")

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Voxels of the label of that name.

        Raises:
            KeyError: there is none.
        """
        voxels: NDArray[np.bool_] = self.label == self.labels[name]
        return voxels


@dataclass(frozen=True)
class FieldOfView:
    """The grids on which a phantom in millimeters shows all that it labels.

    Attributes:
        fewest_vox: fewest voxels along each axis.
        usual_mm: extent when no spacing is given.
        smallest_mm: least extent in which no label of any patient is missing.
        largest_mm: largest extent; the anatomy is modelled no further.
    """

    fewest_vox: tuple[int, int, int]
    usual_mm: Triple
    smallest_mm: Triple
    largest_mm: Triple

    @property
    def coarsest_mm(self) -> Triple:
        """Largest voxel: the usual extent on the fewest voxels."""
        z, y, x = (mm / n for mm, n in zip(self.usual_mm, self.fewest_vox, strict=True))
        return (z, y, x)

    def checked(
        self, *, seed: int, size_vox: Sequence[int], spacing_mm: Sequence[float] | None
    ) -> tuple[tuple[int, int, int], Triple]:
        """Size and spacing, after checking them and the seed.

        Args:
            seed: whole number >= 0.
            size_vox: three whole numbers (z, y, x).
            spacing_mm: three numbers (z, y, x) > 0; None spreads the usual extent over the voxels.

        Returns:
            ``size_vox`` and the spacing as tuples.

        Raises:
            ValueError: a value is outside its range, or the grid cannot show every structure.
            TypeError: seed or size is not a whole number.

        Example:
            >>> view = FieldOfView((12, 32, 32), (96, 200, 200), (80, 150, 150), (300, 400, 400))
            >>> view.checked(seed=0, size_vox=(24, 64, 64), spacing_mm=None)
            ((24, 64, 64), (4.0, 3.125, 3.125))
        """
        if spacing_mm is None:
            spacing_mm = [mm / max(index(n), 1) for mm, n in zip(self.usual_mm, size_vox, strict=False)]
        size, spacing = checked_geometry(seed=seed, size_vox=size_vox, spacing_mm=spacing_mm)
        if any(n < least for n, least in zip(size, self.fewest_vox, strict=True)):
            raise ValueError(
                f"size_vox must be at least {self.fewest_vox} (z, y, x), got {size}; "
                "a coarser grid would lose the structures to segment"
            )
        extent = tuple(n * s for n, s in zip(size, spacing, strict=True))
        # The tolerance is for spacings that were rounded in a file.
        outside = [
            not 0.999 * low <= mm <= 1.001 * high
            for mm, low, high in zip(extent, self.smallest_mm, self.largest_mm, strict=True)
        ]
        if any(outside):
            raise ValueError(
                f"the field of view must be {self.smallest_mm} to {self.largest_mm} mm (z, y, x), got "
                f"{tuple(round(mm, 1) for mm in extent)} from {size} voxels of {spacing} mm; change "
                "size_vox or spacing_mm"
            )
        if any(s > 1.001 * most for s, most in zip(spacing, self.coarsest_mm, strict=True)):
            raise ValueError(
                f"spacing_mm must be at most {tuple(round(s, 2) for s in self.coarsest_mm)} (z, y, x), got "
                f"{spacing}; larger voxels would lose the structures to segment"
            )
        return size, spacing


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
