"""Images and labels on another grid, against closed forms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.preparation import Grid, PreparationError, grid_for, resample_image, resample_label

# Rotated by 0.4 about one axis and 0.3 about another, and the axes stored in another order.
_A = np.array([[1, 0, 0], [0, np.cos(0.4), -np.sin(0.4)], [0, np.sin(0.4), np.cos(0.4)]])
_B = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
OBLIQUE = tuple((_A @ _B).ravel())
PERMUTED = tuple((_A @ _B)[:, [2, 0, 1]].ravel())
IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)


def image_of(
    values: NDArray[np.generic],
    *,
    spacing_mm: Sequence[float] = (3.0, 1.0, 0.8),
    direction: Sequence[float] = IDENTITY,
) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(s) for s in spacing_mm[::-1]])
    image.SetOrigin((-101.5, 33.25, 812.0))
    image.SetDirection([float(d) for d in direction])
    return image


def world(grid: Grid) -> NDArray[np.float64]:
    """World coordinates of all voxels, (Z, Y, X, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size_vox[::-1]), indexing="ij"), axis=-1)
    return grid.world_mm(index[..., ::-1].astype(float))


@pytest.mark.parametrize("direction", [IDENTITY, OBLIQUE, PERMUTED])
@pytest.mark.parametrize("order", [1, 3])
def test_world_coordinates_stay(direction: Sequence[float], order: int) -> None:
    """Each voxel holds its own world coordinates before; so does each new voxel, to 1e-3 mm."""
    image = image_of(np.zeros((24, 30, 34), np.float64), direction=direction)
    where = world(Grid.of(image))
    grid = grid_for(image, spacing_mm=(1.25, 0.9, 1.1))
    expected = world(grid)
    # Splines see their image mirrored at the edges: away from them they are exact on straight lines.
    inner = (slice(22, -22), slice(10, -10), slice(8, -8))
    for axis in range(3):
        line = sitk.GetImageFromArray(where[..., axis])
        line.CopyInformation(image)
        found = resample_image(line, grid=grid, background=0, order=order)
        error = sitk.GetArrayFromImage(found)[inner] - expected[inner][..., axis]
        assert np.abs(error).max() < 1e-3
        assert Grid.of(found) == grid


@given(
    size=st.tuples(*[st.integers(1, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    new=st.tuples(*[st.floats(0.3, 6)] * 3),
    direction=st.sampled_from([IDENTITY, OBLIQUE, PERMUTED]),
)
def test_extent_is_kept_as_far_as_whole_voxels_can(
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    new: tuple[float, float, float],
    direction: Sequence[float],
) -> None:
    image = image_of(np.zeros(size, np.uint8), spacing_mm=spacing, direction=direction)
    grid = grid_for(image, spacing_mm=new)
    assert grid.spacing_mm == new[::-1]
    before, after = np.array(size) * spacing, np.array(grid.size_vox[::-1]) * new
    single = np.array(grid.size_vox[::-1]) == 1
    assert (np.abs(after - before)[~single] <= np.array(new)[~single] / 2 + 1e-6).all()
    middle = [(np.array(n, float) - 1) / 2 for n in (image.GetSize(), grid.size_vox)]
    np.testing.assert_allclose(Grid.of(image).world_mm(middle[0]), grid.world_mm(middle[1]), atol=1e-6)


def test_corners_stay_where_the_spacing_divides_the_extent() -> None:
    image = image_of(np.zeros((10, 12, 15), np.uint8), spacing_mm=(3, 1, 0.8), direction=OBLIQUE)
    grid = grid_for(image, spacing_mm=(1.5, 2, 0.4))
    assert grid.size_vox == (30, 6, 20)
    for low, high in (((-0.5,) * 3, (-0.5,) * 3), ((14.5, 11.5, 9.5), (29.5, 5.5, 19.5))):
        np.testing.assert_allclose(
            Grid.of(image).world_mm(np.array(low)), grid.world_mm(np.array(high)), atol=1e-3
        )


def test_cubic_is_scipys_cubic() -> None:
    values = np.random.default_rng(0).normal(0, 100, (12, 14, 16))
    image = image_of(values, spacing_mm=(2, 2, 2))
    grid = grid_for(image, spacing_mm=(1.3, 1.7, 2.4))
    index = (world(grid) - np.array(image.GetOrigin())) / 2
    expected = ndimage.map_coordinates(values, index[..., ::-1].reshape(-1, 3).T, order=3, mode="mirror")
    found = sitk.GetArrayFromImage(resample_image(image, grid=grid, background=0))
    np.testing.assert_allclose(
        found.ravel(), np.clip(expected, values.min(), values.max()), rtol=1e-4, atol=1e-2
    )


def test_the_same_grid_changes_nothing() -> None:
    values = np.random.default_rng(1).integers(-1024, 3000, (6, 7, 8)).astype(np.int16)
    image = image_of(values, direction=OBLIQUE)
    found = resample_image(image, grid=Grid.of(image), background=-1000)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), values)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), values)


@pytest.mark.parametrize("background", [-1024, -5000, 0])
def test_splines_do_not_overshoot(background: int) -> None:
    hu = np.full((6, 20, 20), -1024, np.int16)
    hu[:, 5:15, 5:15] = 1000
    image = image_of(hu)
    grid = grid_for(image, spacing_mm=(1, 0.33, 0.33))
    found = sitk.GetArrayFromImage(resample_image(image, grid=grid, background=background))
    assert found.min() == -1024
    assert found.max() == 1000
    assert found.dtype == np.int16


def test_whole_numbers_are_rounded() -> None:
    image = image_of(np.array([[[0, 3]]], np.int16), spacing_mm=(1, 1, 1))
    found = resample_image(image, grid=grid_for(image, spacing_mm=(1, 1, 0.25)), background=0, order=1)
    # Centers at -0.375, -0.125, 0.125, ... of the first voxel: 0.375, 1.125, 1.875, 2.625.
    assert sitk.GetArrayFromImage(found).tolist() == [[[0, 0, 0, 1, 2, 3, 3, 3]]]


def test_reference_grid_and_background() -> None:
    image = image_of(np.full((4, 4, 4), 100, np.int16), spacing_mm=(1, 1, 1))
    reference = sitk.Image(8, 4, 4, sitk.sitkUInt8)
    reference.SetOrigin((image.GetOrigin()[0] - 4, *image.GetOrigin()[1:]))
    found = resample_image(image, grid=grid_for(image, reference=reference), background=-1000)
    assert Grid.of(found) == Grid.of(reference)
    assert sitk.GetArrayFromImage(found)[0, 0].tolist() == [-1000] * 4 + [100] * 4
    label = resample_label(image, grid=Grid.of(reference))
    assert sitk.GetArrayFromImage(label)[0, 0].tolist() == [0] * 4 + [100] * 4


def test_one_slice() -> None:
    image = image_of(np.arange(20, dtype=np.float32).reshape(1, 4, 5), spacing_mm=(5, 1, 1))
    found = resample_image(image, grid=grid_for(image, spacing_mm=(2.5, 1, 1)), background=0)
    np.testing.assert_allclose(
        sitk.GetArrayFromImage(found), np.repeat(sitk.GetArrayFromImage(image), 2, axis=0), atol=1e-4
    )


@given(seed=st.integers(0, 1000), new=st.tuples(*[st.floats(0.5, 4)] * 3))
def test_labels_hold_only_values_of_the_input(seed: int, new: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(np.array([0, 1, 205, 500], np.uint16), (6, 7, 8))
    label = image_of(values, spacing_mm=(2, 1, 1), direction=OBLIQUE)
    for method in ("linear", "nearest"):
        found = resample_label(label, grid=grid_for(label, spacing_mm=new), method=method)  # type: ignore[arg-type]
        assert set(np.unique(sitk.GetArrayFromImage(found))) <= set(np.unique(values))
        assert found.GetPixelID() == label.GetPixelID()


def test_the_same_grid_keeps_labels() -> None:
    values = np.random.default_rng(2).integers(0, 5, (6, 7, 8)).astype(np.uint8)
    label = image_of(values, direction=PERMUTED)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(resample_label(label, grid=Grid.of(label))), values)


@pytest.mark.parametrize("sheet", [4, 5])
def test_a_sheet_of_one_voxel_outlives_twice_the_spacing(sheet: int) -> None:
    values = np.zeros((4, 10, 10), np.uint8)
    values[:, :, sheet] = 1
    label = image_of(values, spacing_mm=(1, 1, 1))
    found = sitk.GetArrayFromImage(resample_label(label, grid=grid_for(label, spacing_mm=(1, 1, 2))))
    assert found[:, :, 2].all()
    assert found.sum() == 4 * 10


def test_linear_labels_keep_a_balls_volume_better_than_nearest() -> None:
    z, y, x = np.ogrid[:10, :20, :20]
    ball = (((z - 4.5) * 2) ** 2 + (y - 9.5) ** 2 + (x - 9.5) ** 2 < 7.3**2).astype(np.uint8)
    label = image_of(ball, spacing_mm=(2, 1, 1))
    grid = grid_for(label, spacing_mm=(0.5, 0.5, 0.5))
    fine = world(grid) - Grid.of(label).world_mm(np.array([9.5, 9.5, 4.5]))
    truth = (fine**2).sum(axis=-1) < 7.3**2
    wrong = {
        method: (sitk.GetArrayFromImage(resample_label(label, grid=grid, method=method)) != truth).sum()  # type: ignore[arg-type]
        for method in ("linear", "nearest")
    }
    assert wrong["linear"] < 0.8 * wrong["nearest"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda i: grid_for(i), ValueError, "spacing_mm or reference"),
        (lambda i: grid_for(i, spacing_mm=(1, 1)), ValueError, "three numbers"),
        (lambda i: grid_for(i, spacing_mm=(1, 0, 1)), ValueError, "three numbers > 0"),
        (lambda i: resample_image(i, grid=Grid.of(i), background=0, order=2), ValueError, "order must be"),
        (lambda i: resample_image(i, grid=Grid.of(i), background=-1), ValueError, "does not fit"),
        (lambda i: resample_label(i, grid=Grid.of(i), method="cubic"), ValueError, "method must be"),
        (
            lambda i: resample_label(sitk.Cast(i, sitk.sitkFloat32) + 0.5, grid=Grid.of(i)),
            PreparationError,
            "label-not-whole: .* such as 0.5",
        ),
    ],
)
def test_refusals(call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(sitk.Image(2, 2, 2, sitk.sitkUInt8))  # type: ignore[operator]
