"""Windows and standardized MR."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from nnunet_ext.preparation import PreparationError, standardize, window


def image_of(values: object) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(values))
    image.SetSpacing((0.5, 0.5, 2.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    return image


@given(low=st.floats(-1000, 900), width=st.floats(1, 2000), value=st.integers(-3000, 3000))
def test_window_is_linear_between_its_ends_and_flat_beyond(low: float, width: float, value: int) -> None:
    image = image_of(np.full((1, 1, 2), value, np.int16))
    found = float(sitk.GetArrayFromImage(window(image, low=low, high=low + width))[0, 0, 0])
    assert found == pytest.approx(np.clip(2 * (value - low) / width - 1, -1, 1), abs=1e-3)


def test_window_keeps_grid_and_input() -> None:
    image = image_of(np.array([[[-150, 150]]], np.int16))
    result = window(image, low=-150, high=150)
    assert sitk.GetArrayFromImage(result).tolist() == [[[-1.0, 1.0]]]
    assert (result.GetSpacing(), result.GetOrigin()) == (image.GetSpacing(), image.GetOrigin())
    assert sitk.GetArrayFromImage(image).tolist() == [[[-150, 150]]]


def test_window_needs_a_width() -> None:
    with pytest.raises(ValueError, match="low < high, got low=5 and high=5"):
        window(image_of(np.zeros((1, 1, 2), np.int16)), low=5, high=5)


def test_standardized_values_within_the_mask() -> None:
    values = np.random.default_rng(0).normal(500, 80, (6, 20, 20)).astype(np.float32)
    values[:3] = 0
    values[4, 4, 4] = 1e6  # a hot voxel
    image, mask = (
        image_of(values),
        image_of((np.arange(6) >= 3).astype(np.uint8)[:, None, None] * np.ones((6, 20, 20), np.uint8)),
    )
    result = standardize(image, mask=mask, percentiles=(1, 99))
    found = sitk.GetArrayFromImage(result.image)
    assert found[3:].mean() == pytest.approx(0, abs=1e-4)
    assert found[3:].std() == pytest.approx(1, abs=1e-4)
    assert found.max() < 3  # the hot voxel is clipped
    assert found[:3].min() == found.min()  # so is the air
    assert result.low == pytest.approx(np.percentile(values[3:], 1))
    assert result.image.GetSpacing() == image.GetSpacing()


@pytest.mark.parametrize(
    ("values", "code"),
    [(np.full((2, 2, 2), 7.0), "constant-image"), (np.array([[[0.0, np.inf]]]), "not-finite")],
)
def test_images_without_contrast_or_numbers_are_refused(values: object, code: str) -> None:
    with pytest.raises(PreparationError, match=code):
        standardize(image_of(values))


def test_percentiles_outside_their_range() -> None:
    with pytest.raises(ValueError, match="0 <= lower < upper <= 100"):
        standardize(image_of(np.zeros((2, 2, 2))), percentiles=(99, 1))
