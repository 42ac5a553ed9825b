"""Surface distances on shapes whose distances are known, and invariances."""

from __future__ import annotations

import numpy as np
import pytest
from evaluated import ball, blobs, cube
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from nnunet_ext.evaluation.surfaces import SurfaceDistances, surface, surface_distances

# Two masks of one voxel or more each, on one small grid.
masks = arrays(np.bool_, (4, 5, 6)).map(lambda m: m | (np.arange(m.size).reshape(m.shape) == 57))
spacings = st.tuples(*[st.floats(0.3, 5)] * 3)


def numbers(distances: SurfaceDistances, *, tolerance_mm: float = 1.7) -> tuple[float, ...]:
    nsd = distances.nsd(tolerance_mm=tolerance_mm)
    return distances.hd_mm, distances.hd95_mm, distances.assd_mm, nsd


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_cube_on_an_anisotropic_grid(axis: int) -> None:
    """Moved by 3 mm along any axis: no surface voxel is further away, and the leading face is that far."""
    spacing = np.ones(3)
    spacing[axis] = 1.5
    moved = [8, 8, 8]
    moved[axis] += 2
    found = surface_distances(cube(at=(8, 8, 8)), cube(at=moved), spacing_mm=spacing)
    assert found.hd_mm == found.hd95_mm == 3
    assert 0 < found.assd_mm < 3
    assert found.nsd(tolerance_mm=3) == 1
    assert found.nsd(tolerance_mm=0) < found.nsd(tolerance_mm=1.5) < 1


def test_two_points() -> None:
    """3 * 2 mm and 4 * 1 mm apart, at right angles."""
    a, b = np.zeros((2, 9, 9), bool)
    a[1, 1] = b[4, 5] = True
    found = surface_distances(a, b, spacing_mm=(2, 1))
    assert numbers(found) == pytest.approx((np.hypot(6, 4),) * 3 + (0,))


def test_nested_balls() -> None:
    """Everything is 4 mm apart, to within a voxel's diagonal."""
    spacing = (1.0, 0.8, 0.8)
    found = surface_distances(ball(16, spacing_mm=spacing), ball(12, spacing_mm=spacing), spacing_mm=spacing)
    for distance in (found.hd_mm, found.hd95_mm, found.assd_mm):
        assert distance == pytest.approx(4, abs=np.linalg.norm(spacing) / 2)
    assert found.nsd(tolerance_mm=2.5) == 0
    assert found.nsd(tolerance_mm=5.5) == 1


def test_hd95_is_the_larger_direction_and_not_the_pooled_percentile() -> None:
    """10 % of the prediction's surface lies 10 mm off, and nothing of the reference's."""
    found = SurfaceDistances(np.repeat([0.0, 10.0], [90, 10]), np.zeros(900))
    assert found.hd95_mm == 10
    assert np.percentile(np.concatenate([found.pred_to_ref_mm, found.ref_to_pred_mm]), 95) == 0


def test_hd95_is_interpolated_linearly() -> None:
    found = SurfaceDistances(np.arange(11.0), np.zeros(1))
    assert found.hd95_mm == pytest.approx(9.5)


def test_a_tolerance_in_single_precision_holds() -> None:
    spacing = float(np.float32(0.4))  # five of them are 2.00000003
    found = surface_distances(cube(at=(2, 2, 2)), cube(at=(7, 2, 2)), spacing_mm=(spacing,) * 3)
    assert found.hd_mm > 2
    assert found.nsd(tolerance_mm=2) == 1


def test_identical_masks() -> None:
    assert numbers(surface_distances(blobs(3), blobs(3), spacing_mm=(1, 2, 3))) == (0, 0, 0, 1)


def test_the_edge_of_the_image_is_a_surface() -> None:
    assert surface(np.ones((5, 4, 3), bool)).sum() == 60 - 3 * 2 * 1
    full, half = np.ones((6, 6, 6), bool), np.ones((6, 6, 6), bool)
    half[3:] = False
    assert surface_distances(half, full, spacing_mm=(2, 1, 1)).hd_mm == 6


def test_an_empty_mask_has_no_surface() -> None:
    with pytest.raises(ValueError, match="at least one voxel"):
        surface_distances(np.zeros((3, 3), bool), np.ones((3, 3), bool), spacing_mm=(1, 1))


@given(masks, masks, spacings)
def test_all_pairs_give_the_same(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """By hand: a boundary voxel has a neighbor that is outside; all distances between all pairs."""
    points = [np.argwhere(_boundary_by_hand(m)) * spacing for m in (a, b)]
    everything = cdist(*points)
    found = surface_distances(a, b, spacing_mm=spacing)
    assert np.sort(found.pred_to_ref_mm) == pytest.approx(np.sort(everything.min(1)))
    assert np.sort(found.ref_to_pred_mm) == pytest.approx(np.sort(everything.min(0)))


def _boundary_by_hand(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    boundary = np.zeros_like(mask)
    for z, y, x in np.argwhere(mask) + 1:
        neighbors = padded[[z - 1, z + 1, z, z, z, z], [y, y, y - 1, y + 1, y, y], [x, x, x, x, x - 1, x + 1]]
        boundary[z - 1, y - 1, x - 1] = not neighbors.all()
    return boundary


@given(masks, masks, spacings, st.permutations(range(3)))
def test_sides_axes_and_padding_do_not_matter(
    a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float], order: list[int]
) -> None:
    expected = pytest.approx(numbers(surface_distances(a, b, spacing_mm=spacing)))
    assert numbers(surface_distances(b, a, spacing_mm=spacing)) == expected
    turned = [m.transpose(order)[::-1] for m in (a, b)]
    turned_spacing = [spacing[axis] for axis in order]
    assert numbers(surface_distances(*turned, spacing_mm=turned_spacing)) == expected
    padded = [np.pad(m, ((2, 0), (0, 3), (1, 1))) for m in (a, b)]
    assert numbers(surface_distances(*padded, spacing_mm=spacing)) == expected


@given(masks, masks, spacings)
def test_order_of_the_distances(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> None:
    found = surface_distances(a, b, spacing_mm=spacing)
    assert 0 <= found.hd95_mm <= found.hd_mm
    assert 0 <= found.assd_mm <= found.hd_mm
    assert found.nsd(tolerance_mm=found.hd_mm) == 1
