"""Surfaces of structures as triangles in the patient's coordinates, for planning software and for the page.

Made with VTK's filters alone, which need no display and no graphics library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.evaluation.boxes import box_of
from nnunet_ext.files import whole_file

Format = Literal["stl", "ply"]

# Taubin's filter moves the steps between voxels onto a smooth surface and keeps the volume: to 0.1 % for a
# ball of 16000 voxels, 1 % for one of 300 and a tube of five voxels across.
_PASS_BAND = 0.1
_ITERATIONS = 30
# What readers of both formats look for; without it 3D Slicer takes LPS too.
_SPACE = "SPACE=LPS"


@dataclass(frozen=True)
class Surface:
    """A closed surface.

    Attributes:
        points_mm: (N, 3) float32 array, LPS: x to the patient's left, y to the back, z to the head.
        triangles: (M, 3) array of rows of ``points_mm``, counterclockwise seen from outside.
    """

    points_mm: NDArray[np.float32]
    triangles: NDArray[np.int64]

    @property
    def volume_ml(self) -> float:
        """Of what it encloses, by the divergence theorem."""
        if not len(self.triangles):
            return 0.0
        points = self.points_mm.astype(np.float64) - self.points_mm.mean(axis=0)
        a, b, c = (points[self.triangles[:, corner]] for corner in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6000)


def surface_of(
    mask: NDArray[np.bool_],
    *,
    to_lps_mm: NDArray[np.float64],
    smooth: bool = True,
    max_triangles: int | None = None,
) -> Surface:
    """The surface between the voxels of a mask and all others.

    Surface nets (Gibson 1998; VTK's ``SurfaceNets3D``), then Taubin's smoothing, then decimation by
    quadrics. A mask at the edge of the image is closed there. Without smoothing the surface runs through
    the faces of voxels and its volume is theirs; structures of fewer than some 50 voxels shrink when they
    are smoothed.

    Args:
        mask: (Z, Y, X) array.
        to_lps_mm: (4, 4) matrix from index (x, y, z, 1) to mm.
        smooth: take the steps away.
        max_triangles: upper limit, about; None keeps all.

    Returns:
        The surface; of an empty mask, one without triangles.

    Example:
        >>> mask = np.zeros((3, 3, 3), bool)
        >>> mask[1, 1, 1] = True
        >>> round(surface_of(mask, to_lps_mm=np.diag([10.0, 10, 10, 1]), smooth=False).volume_ml, 9)
        1.0
    """
    box = box_of(mask)
    if box is None:
        return Surface(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64))
    import pyvista

    part = np.pad(mask[box], 1).astype(np.uint8)
    grid = pyvista.ImageData(dimensions=part.shape[::-1])
    grid.point_data["mask"] = part.ravel()
    net = grid.contour_labels("external", scalars="mask", smoothing=False, output_mesh_type="triangles")
    # Where voxels touch along an edge alone, points come twice, and smoothing would tear them apart.
    net = net.clean(tolerance=0.0, absolute=True)
    first = np.array([s.start - 1 for s in box])[::-1]
    net.points = ((net.points + first) @ to_lps_mm[:3, :3].T + to_lps_mm[:3, 3]).astype(np.float32)
    if smooth:
        net = net.smooth_taubin(n_iter=_ITERATIONS, pass_band=_PASS_BAND, normalize_coordinates=True)
    if max_triangles is not None and net.n_cells > max_triangles:
        net = net.decimate(1 - max_triangles / net.n_cells, volume_preservation=True)
    return _outward(np.asarray(net.points, np.float32), np.asarray(net.regular_faces, np.int64))


def write_surface(surface: Surface, path: Path) -> None:
    """Write a surface as binary STL or PLY, in mm and LPS, which its header says.

    Args:
        surface: what to write.
        path: ends with ``.stl`` or ``.ply``; appears only when it is whole.

    Raises:
        ValueError: the ending is another.
        OSError: the file cannot be written.
    """
    from pyvista import PolyData
    from vtkmodules.vtkIOGeometry import vtkSTLWriter
    from vtkmodules.vtkIOPLY import vtkPLYWriter

    if path.suffix not in (".stl", ".ply"):
        raise ValueError(f"expected a file that ends with .stl or .ply, got {path.name}")
    with whole_file(path) as temporary:
        writer: Any
        if path.suffix == ".stl":
            writer = vtkSTLWriter()
            writer.SetHeader(f"{_SPACE}; mm")
        else:
            writer = vtkPLYWriter()
            writer.AddComment(_SPACE)
        writer.SetFileTypeToBinary()
        writer.SetFileName(str(temporary))
        faces = np.insert(surface.triangles, 0, 3, axis=1)  # each with its number of corners in front
        writer.SetInputData(PolyData(surface.points_mm, faces))
        if not writer.Write():
            raise OSError(f"VTK could not write {path}")


def _outward(points: NDArray[np.float32], triangles: NDArray[np.int64]) -> Surface:
    """Triangles turned so that they are seen from outside; a mirroring matrix turns them inside out."""
    surface = Surface(points, triangles)
    return surface if surface.volume_ml >= 0 else Surface(points, triangles[:, ::-1])
