"""Cells, kernels and patches follow the plans."""

from __future__ import annotations

from math import prod

import pytest

from nnunet_ext.refinement.layout import LOCAL_VOXELS, layout_for


def test_the_papers_own_numbers() -> None:
    found = layout_for(spacing_mm=(3, 3, 3), image_size=(64, 64, 64))
    assert (found.factor, found.kernel_size, found.hidden_convs) == ((4, 4, 4), (5, 9, 9), 1)
    assert (found.local_grid, found.patch_size) == ((1, 1, 1), (64, 64, 64))


def test_payers_kernels() -> None:
    found = layout_for(spacing_mm=(3, 3, 3), image_size=(64, 64, 64), kernels="5x5x5")
    assert (found.kernel_size, found.hidden_convs) == ((5, 5, 5), 3)


@pytest.mark.parametrize(
    ("spacing_mm", "factor", "kernel"),
    [
        ((5.0, 1.0, 1.0), (1, 4, 4), (5, 9, 9)),
        ((3.0, 1.0, 1.0), (1, 4, 4), (5, 9, 9)),
        ((2.0, 1.0, 1.0), (2, 4, 4), (5, 9, 9)),
        ((0.7, 0.44, 0.44), (2, 4, 4), (5, 9, 9)),
        ((1.0, 1.0, 2.0), (4, 4, 2), (9, 9, 5)),
    ],
)
def test_cells_are_about_isotropic(
    spacing_mm: tuple[float, ...], factor: tuple[int, ...], kernel: tuple[int, ...]
) -> None:
    found = layout_for(spacing_mm=spacing_mm, image_size=(40, 64, 64))
    assert found.factor == factor
    assert found.kernel_size == kernel


def test_the_short_kernel_follows_the_images_first_axis() -> None:
    for transpose, kernel in (((0, 1, 2), (5, 9, 9)), ((1, 0, 2), (9, 5, 9)), ((2, 0, 1), (9, 5, 9))):
        found = layout_for(spacing_mm=(1, 1, 1), image_size=(40, 40, 40), transpose_forward=transpose)
        assert found.kernel_size == kernel


def test_large_images_are_seen_in_patches_with_larger_cells_on_a_coarser_grid() -> None:
    fine = layout_for(spacing_mm=(0.6, 0.45, 0.45), image_size=(275, 512, 512))
    assert prod(fine.patch_size) <= LOCAL_VOXELS
    assert fine.factor == (4, 4, 4)
    coarse = layout_for(spacing_mm=(0.6, 0.45, 0.45), image_size=(275, 512, 512), local_grid=4)
    assert coarse.local_grid == (4, 4, 4)
    assert prod(coarse.patch_size) / prod(coarse.local_grid) <= LOCAL_VOXELS
    assert coarse.factor == (16, 16, 16)
    extent = [n * s for n, s in zip(fine.patch_size, (0.6, 0.45, 0.45), strict=True)]
    assert max(extent) / min(extent) < 1.05, "a cube in mm"


def test_a_factor_may_be_named() -> None:
    assert layout_for(spacing_mm=(1, 1, 1), image_size=(64,) * 3, factor=8).factor == (8, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 3}, "a power of two as factor, got 3"),
        ({"local_grid": 0}, "a power of two as local grid, got 0"),
        ({"factor": 2, "local_grid": 4}, "a factor of 4, the local grid, or more"),
    ],
)
def test_other_numbers_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout_for(spacing_mm=(1, 1, 1), image_size=(64, 64, 64), **options)
