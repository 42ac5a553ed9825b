"""Seeded smooth random shapes, described in the patient's frame so that every grid shows the same patient.

The liver phantom's coordinates are normalized: each axis (z, y, x) runs from -1 to 1 between the outer faces
of the first and the last voxel. The other phantoms' are millimeters (:mod:`nnunet_ext.phantoms.scene`). A
shape is a *level*: a float array that is positive inside. Nothing here draws a number of random values that
depends on the grid, so one seed gives one anatomy at every resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
Triple: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Voxel centers as three arrays that broadcast against each other.

    The shapes are those of a grid whose axes are the patient's; where image and patient are turned against
    each other, all three are (Z, Y, X).

    Attributes:
        z: shape (Z, 1, 1), rises towards the patient's head.
        y: shape (1, Y, 1), rises towards the patient's back.
        x: shape (1, 1, X), rises towards the patient's left.

    Example:
        >>> grid = Grid.of_size((4, 2, 2))
        >>> grid.z.ravel().tolist(), grid.shape
        ([-0.75, -0.25, 0.25, 0.75], (4, 2, 2))
    """

    z: FloatArray
    y: FloatArray
    x: FloatArray

    @classmethod
    def of_size(cls, size_vox: Sequence[int]) -> Grid:
        """Grid of ``size_vox`` (z, y, x) voxels over the whole field of view."""
        centers = [((2 * np.arange(n) + 1) / n - 1).astype(np.float32) for n in size_vox]
        return cls(z=centers[0][:, None, None], y=centers[1][None, :, None], x=centers[2][None, None, :])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (z, y, x)."""
        z, y, x = np.broadcast_shapes(self.z.shape, self.y.shape, self.x.shape)
        return (z, y, x)

    def part(self, box: tuple[slice, slice, slice]) -> Grid:
        """The voxels of ``box``, slices along (z, y, x), as views."""
        z, y, x = (
            axis[tuple(cut if n > 1 else slice(None) for cut, n in zip(box, axis.shape, strict=True))]
            for axis in (self.z, self.y, self.x)
        )
        return Grid(z=z, y=y, x=x)


@dataclass(frozen=True)
class Waves:
    """A smooth random field of mean about 0 and variance about 1: a sum of random plane waves.

    Attributes:
        frequency: (3, N) radians per unit of the coordinates, rows (z, y, x).
        phase: (N,) radians.

    Example:
        >>> waves = Waves.draw(np.random.default_rng(0), wavelength=1.0)
        >>> grid = Grid.of_size((2, 3, 4))
        >>> point = np.array([[grid.z[1, 0, 0], grid.y[0, 2, 0], grid.x[0, 0, 3]]])
        >>> bool(np.isclose(waves.on(grid)[1, 2, 3], waves.at(point)[0], atol=1e-5))
        True
    """

    frequency: NDArray[np.float64]
    phase: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, *, wavelength: float, waves: int = 16) -> Waves:
        """Random directions, phases and lengths; the same number of draws whatever the grid.

        Args:
            rng: source of randomness.
            wavelength: typical wavelength, > 0; a wave has 0.6 to 1.4 times its frequency.
            waves: number of plane waves, >= 1.

        Returns:
            The field.
        """
        direction = rng.normal(size=(3, waves))
        direction /= np.linalg.norm(direction, axis=0)
        frequency = 2 * np.pi / wavelength * rng.uniform(0.6, 1.4, size=waves) * direction
        return cls(frequency=frequency, phase=rng.uniform(0, 2 * np.pi, size=waves))

    def on(self, grid: Grid) -> FloatArray:
        """Float array (Z, Y, X) of the field on a grid whose axes are the patient's.

        A plane wave is a product of one factor per axis, so the sum over waves is one small matrix product
        and no trigonometric function is evaluated per voxel.
        """
        waves = self.phase.size
        along_z, along_y, along_x = (
            np.exp(1j * axis.astype(np.float64).reshape(-1, 1) * f)
            for axis, f in zip((grid.z, grid.y, grid.x), self.frequency, strict=True)
        )
        plane = (along_z[:, None, :] * along_y[None, :, :] * np.exp(1j * self.phase)).reshape(-1, waves)
        # Re(a b) = Re a Re b - Im a Im b; each wave has variance 1/2.
        left = np.concatenate([plane.real, -plane.imag], axis=1).astype(np.float32)
        right = np.concatenate([along_x.real, along_x.imag], axis=1).astype(np.float32)
        field: FloatArray = (left @ right.T).reshape(grid.shape) * np.float32(np.sqrt(2 / waves))
        return field

    def at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values (N,) of the field at points (N, 3)."""
        waves = np.cos(points @ self.frequency + self.phase)
        values: NDArray[np.float64] = waves.sum(axis=1) * np.sqrt(2 / self.phase.size)
        return values


def smooth_field(grid: Grid, rng: np.random.Generator, *, wavelength: float, waves: int = 16) -> FloatArray:
    """A new :class:`Waves` on a grid.

    Args:
        grid: where to evaluate.
        rng: source of directions, lengths and phases; the same number of draws on every grid.
        wavelength: typical wavelength in the grid's units, > 0; a wave has 0.6 to 1.4 times its frequency.
        waves: number of plane waves, >= 1.

    Returns:
        Float array (Z, Y, X).

    Example:
        >>> coarse, fine = (
        ...     smooth_field(Grid.of_size(size), np.random.default_rng(1), wavelength=1.0)
        ...     for size in [(1, 1, 1), (3, 3, 3)]
        ... )
        >>> bool(np.isclose(coarse[0, 0, 0], fine[1, 1, 1], atol=1e-5))
        True
    """
    return Waves.draw(rng, wavelength=wavelength, waves=waves).on(grid)


def ellipsoid(grid: Grid, *, center: Triple, radii: Triple, turn_rad: float = 0.0) -> FloatArray:
    """Level of an ellipsoid: 1 at the center, 0 on the surface, falling by 1 per radius.

    Args:
        grid: where to evaluate.
        center: (z, y, x) in normalized units.
        radii: half axes (z, y, x) in normalized units, > 0; ``math.inf`` along z makes a cylinder.
        turn_rad: turn in the axial plane, from x towards y.

    Returns:
        Float array that broadcasts to (Z, Y, X).

    Example:
        >>> level = ellipsoid(Grid.of_size((1, 1, 5)), center=(0, 0, 0), radii=(1, 1, 0.5))
        >>> (level > 0).ravel().tolist()
        [False, True, True, True, False]
    """
    dz, dy, dx = grid.z - center[0], grid.y - center[1], grid.x - center[2]
    cos, sin = np.float32(np.cos(turn_rad)), np.float32(np.sin(turn_rad))
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    level: FloatArray = 1 - np.sqrt((dz / radii[0]) ** 2 + (across / radii[1]) ** 2 + (along / radii[2]) ** 2)
    return level.astype(np.float32)


def metaballs(grid: Grid, *, centers: NDArray[np.float64], radii: NDArray[np.float64]) -> FloatArray:
    """Level of overlapping soft balls that melt into one lobulated body.

    Args:
        grid: where to evaluate.
        centers: (N, 3) centers (z, y, x) in normalized units.
        radii: (N,) radius of each ball if it stood alone, > 0.

    Returns:
        Float array (Z, Y, X); near the surface about the distance to it in units of half the largest radius.

    Example:
        >>> level = metaballs(Grid.of_size((1, 1, 5)), centers=np.zeros((1, 3)), radii=np.array([0.5]))
        >>> (level > 0).ravel().tolist()
        [False, True, True, True, False]
    """
    total = np.zeros(grid.shape, dtype=np.float32)
    for (cz, cy, cx), radius in zip(centers, radii, strict=True):
        # exp of a sum of squares is a product of one factor per axis.
        fz, fy, fx = (
            np.exp(-(((axis - c) / radius) ** 2)) for axis, c in ((grid.z, cz), (grid.y, cy), (grid.x, cx))
        )
        total += (fz * fy * fx).astype(np.float32)
    # A ball alone has exp(-1) at its radius. The floor keeps the logarithm finite far away.
    level: FloatArray = np.log(np.maximum(total, 1e-30)) + np.float32(1)
    return level


def tubes(grid: Grid, rng: np.random.Generator, *, wavelength: float) -> FloatArray:
    """Distance-like value to a random net of curves, for vessels: 0 on a curve, positive elsewhere.

    The zero surfaces of two smooth fields meet in smooth curves that branch and cross like vessels do.

    Args:
        grid: where to evaluate.
        rng: source of randomness.
        wavelength: typical distance between curves in normalized units, > 0.

    Returns:
        Float array (Z, Y, X), >= 0; ``tubes < t`` is a net of tubes that thickens with t.

    Example:
        >>> net = tubes(Grid.of_size((8, 8, 8)), np.random.default_rng(0), wavelength=0.5)
        >>> bool((net >= 0).all())
        True
    """
    first = smooth_field(grid, rng, wavelength=wavelength)
    second = smooth_field(grid, rng, wavelength=wavelength)
    net: FloatArray = np.hypot(first, second)
    return net
