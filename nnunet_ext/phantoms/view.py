"""Voxel grids, how a patient lies in them, and what part of the anatomy each voxel sees.

Lengths are in mm, in the frame of :mod:`nnunet_ext.phantoms.phantom`; each anatomy says where its origin
lies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.rigid import RigidMotion
from nnunet_ext.phantoms.shapes import FloatArray, Grid, Triple, Waves

Box = tuple[slice, slice, slice]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A voxel grid in a scanner, and how the patient lies there.

    Attributes:
        size_vox: voxels along (z, y, x).
        spacing_mm: voxel size (z, y, x) in mm.
        center_mm: center of the field of view (z, y, x) in mm, in the scanner's frame.
        motion: from the patient's frame to the scanner's.

    Example:
        >>> Frame(size_vox=(2, 4, 4), spacing_mm=(3, 1, 1)).origin_mm
        (-1.5, -1.5, -1.5)
    """

    size_vox: tuple[int, int, int]
    spacing_mm: Triple
    center_mm: Triple = (0.0, 0.0, 0.0)
    motion: RigidMotion = field(default_factory=RigidMotion)

    @property
    def origin_mm(self) -> Triple:
        """Center of the first voxel (z, y, x)."""
        z, y, x = (
            c - (n - 1) / 2 * s
            for c, n, s in zip(self.center_mm, self.size_vox, self.spacing_mm, strict=True)
        )
        return (z, y, x)

    def slices(self, start: int, stop: int, *, cuts: int = 1) -> Grid:
        """Voxel centers, in the scanner's frame, of some slices, each cut into ``cuts`` thinner ones."""
        across = ((np.arange(start * cuts, stop * cuts) + 0.5) / cuts - 0.5) * self.spacing_mm[0]
        y, x = (np.arange(n) * s for n, s in zip(self.size_vox[1:], self.spacing_mm[1:], strict=True))
        z0, y0, x0 = self.origin_mm
        return Grid(
            z=(across + z0).astype(np.float32)[:, None, None],
            y=(y + y0).astype(np.float32)[None, :, None],
            x=(x + x0).astype(np.float32)[None, None, :],
        )


@dataclass(frozen=True)
class Warp:
    """A smooth displacement that makes every patient's organs a little different, together.

    Attributes:
        fields: displacement along (z, y, x) before scaling.
        amplitude_mm: standard deviation of the displacement; no displacement is above 2.5 times that.
    """

    fields: tuple[Waves, Waves, Waves]
    amplitude_mm: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, wavelength_mm: float, amplitude_mm: float) -> Warp:
        """Random displacement.

        Example:
            >>> warp = Warp.draw(np.random.default_rng(0), wavelength_mm=80, amplitude_mm=3)
            >>> there = warp.to_patient(np.array([[1.0, 2.0, 3.0]]))
            >>> bool(np.allclose(there + warp.displacement(there), [[1, 2, 3]], atol=1e-2))
            True
        """
        z, y, x = (Waves.draw(rng, wavelength=wavelength_mm) for _ in range(3))
        return cls(fields=(z, y, x), amplitude_mm=amplitude_mm)

    @property
    def most_mm(self) -> float:
        """Bound of the displacement along each axis."""
        return 2.5 * self.amplitude_mm

    def displacement(self, points: Vector) -> Vector:
        """From points (N, 3) of the patient to the drawn anatomy."""
        values = np.stack([waves.at(points) for waves in self.fields], axis=1)
        bounded: Vector = np.clip(self.amplitude_mm * values, -self.most_mm, self.most_mm)
        return bounded

    def to_patient(self, points: Vector) -> Vector:
        """Where points (N, 3) of the drawn anatomy lie in the patient."""
        there = points
        for _ in range(8):  # a contraction while amplitude * 2 pi / wavelength is well below 1
            there = points - self.displacement(there)
        return there


@dataclass(frozen=True)
class View:
    """A piece of an image as the shapes see it.

    Attributes:
        grid: where each voxel lies in the drawn anatomy.
        image: where it lies in the scanner; axes broadcast.
        motion: from the patient's frame to the scanner's.
        slack_mm: how far, along an axis, ``grid`` may differ from the patient's frame.
    """

    grid: Grid
    image: Grid
    motion: RigidMotion
    slack_mm: float = 0.0

    @classmethod
    def of(cls, image: Grid, motion: RigidMotion) -> View:
        """View of some slices of an image."""
        if motion.is_identity:
            return cls(grid=image, image=image, motion=motion)
        axes = (image.z, image.y, image.x)
        offset = motion.undo_offset_mm.astype(np.float32)
        z, y, x = (
            sum((axis * np.float32(w) for axis, w in zip(axes, column, strict=True)), start=shift)
            for column, shift in zip(motion.matrix.T, offset, strict=True)
        )
        return cls(grid=Grid(z=z, y=y, x=x), image=image, motion=motion)

    def warped(self, warp: Warp) -> View:
        """The same piece seen through a displacement."""
        z, y, x = (
            axis + np.clip(np.float32(warp.amplitude_mm) * self.field(waves), -warp.most_mm, warp.most_mm)
            for axis, waves in zip((self.grid.z, self.grid.y, self.grid.x), warp.fields, strict=True)
        )
        slack = self.slack_mm + warp.most_mm
        return View(grid=Grid(z=z, y=y, x=x), image=self.image, motion=self.motion, slack_mm=slack)

    def field(self, waves: Waves) -> FloatArray:
        """Float array (Z, Y, X) of a field that is fixed in the patient."""
        if self.motion.is_identity:
            return waves.on(self.image)
        # k . (R^T q + o) = (R k) . q + k . o: still one factor per axis of the image.
        turned = self.motion.matrix @ waves.frequency
        phase = waves.phase + waves.frequency.T @ self.motion.undo_offset_mm
        return Waves(frequency=turned, phase=phase).on(self.image)

    def part(self, box: Box) -> View:
        """The voxels of ``box``."""
        return View(
            grid=self.grid.part(box), image=self.image.part(box), motion=self.motion, slack_mm=self.slack_mm
        )

    def box_of(self, low: Vector, high: Vector) -> Box:
        """Voxels that may lie between two corners (z, y, x) of the drawn anatomy; may be empty."""
        if not self.motion.is_identity:
            # Infinite sides would turn into NaN.
            sides = np.clip(np.stack([low, high]), -1e4, 1e4)
            corners = np.array([[z, y, x] for z in sides[:, 0] for y in sides[:, 1] for x in sides[:, 2]])
            moved = self.motion.move(corners)
            low, high = moved.min(axis=0), moved.max(axis=0)
        # A turned box's slack is at most sqrt(3) times as long along an axis.
        slack = self.slack_mm * (1 if self.motion.is_identity else 3**0.5)
        axes = (self.image.z.ravel(), self.image.y.ravel(), self.image.x.ravel())
        first, last = low - slack, high + slack
        z, y, x = (
            slice(int(np.searchsorted(axis, a)), int(np.searchsorted(axis, b, side="right")))
            for axis, a, b in zip(axes, first, last, strict=True)
        )
        return (z, y, x)
