"""Surfaces: closed, of the right volume, at the right place, readable by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clinical_images import placed
from evaluated import ball, blobs, cube
from numpy.typing import NDArray

from nnunet_ext.clinical_io.grids import affine
from nnunet_ext.evaluation.report.surfaces import Surface, surface_of, write_surface

ONE_MM = np.eye(4)


def oblique() -> NDArray[np.float64]:
    """An anisotropic grid that is turned and mirrored, far from the origin."""
    angle = 0.4
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turned * [0.7, 0.9, 2.5]
    matrix[:3, 3] = [-310.0, 150.0, 1200.0]
    return matrix


def edges_are_shared_by_two(surface: Surface) -> bool:
    edges = np.sort(surface.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    return bool((counts % 2 == 0).all())


@pytest.mark.parametrize("matrix", [ONE_MM, oblique()], ids=["plain", "oblique and mirrored"])
@pytest.mark.parametrize("mask", [cube(at=(3, 4, 5)), blobs(3), np.ones((3, 4, 5), bool)])
def test_without_smoothing_the_volume_is_that_of_the_voxels(
    mask: NDArray[np.bool_], matrix: NDArray[np.float64]
) -> None:
    surface = surface_of(mask, to_lps_mm=matrix, smooth=False)
    voxel_ml = abs(np.linalg.det(matrix[:3, :3])) / 1000
    assert surface.volume_ml == pytest.approx(mask.sum() * voxel_ml, rel=1e-4)
    assert edges_are_shared_by_two(surface)


@pytest.mark.parametrize(("radius", "tolerance"), [(18, 0.002), (8, 0.01), (5, 0.02)])
def test_smoothing_keeps_the_volume(radius: float, tolerance: float) -> None:
    mask = ball(radius)
    surface = surface_of(mask, to_lps_mm=ONE_MM)
    assert surface.volume_ml == pytest.approx(mask.sum() / 1000, rel=tolerance)


def test_smoothing_brings_a_ball_nearer_to_a_ball() -> None:
    mask = ball(15)
    middle = np.array(mask.shape) // 2

    def roughness(smooth: bool) -> float:
        points = surface_of(mask, to_lps_mm=ONE_MM, smooth=smooth).points_mm - middle
        return float(np.linalg.norm(points, axis=1).std())

    assert roughness(True) < 0.6 * roughness(False)


def test_points_are_in_the_patients_coordinates() -> None:
    mask = cube(at=(2, 4, 6), side=4, shape=(12, 14, 16))
    image = placed(mask.astype(np.uint8), spacing=(0.5, 1, 3), origin=(-20, 30, 400))
    surface = surface_of(mask, to_lps_mm=affine(image), smooth=False)
    corners = affine(image) @ np.array([[5.5, 3.5, 1.5, 1], [9.5, 7.5, 5.5, 1]]).T
    assert surface.points_mm.min(axis=0) == pytest.approx(corners[:3].min(axis=1))
    assert surface.points_mm.max(axis=0) == pytest.approx(corners[:3].max(axis=1))


def test_an_empty_mask_has_no_triangles() -> None:
    surface = surface_of(np.zeros((3, 3, 3), bool), to_lps_mm=ONE_MM)
    assert (len(surface.triangles), surface.volume_ml) == (0, 0.0)


def test_fewer_triangles_keep_the_volume() -> None:
    mask = ball(16)
    surface = surface_of(mask, to_lps_mm=ONE_MM, max_triangles=1000)
    assert 900 <= len(surface.triangles) <= 1000
    assert surface.volume_ml == pytest.approx(mask.sum() / 1000, rel=0.005)


@pytest.mark.parametrize("ending", ["stl", "ply"])
def test_another_program_reads_the_file(tmp_path: Path, ending: str) -> None:
    import pyvista

    surface = surface_of(blobs(1), to_lps_mm=oblique())
    write_surface(surface, tmp_path / f"a.{ending}")
    assert b"SPACE=LPS" in (tmp_path / f"a.{ending}").read_bytes()[:200]
    read = pyvista.read(tmp_path / f"a.{ending}")
    assert read.n_cells == len(surface.triangles)
    assert read.volume / 1000 == pytest.approx(surface.volume_ml, rel=1e-3)
    assert np.array(read.bounds)[::2] == pytest.approx(surface.points_mm.min(axis=0))
    assert [f.name for f in tmp_path.iterdir()] == [f"a.{ending}"]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.stl or \.ply, got a\.obj"):
        write_surface(surface_of(cube(at=(1, 1, 1)), to_lps_mm=ONE_MM), tmp_path / "a.obj")
