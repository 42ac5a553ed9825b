"""N4 on a known field."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from real_data import real_data

from nnunet_ext.clinical_io.grids import image_of
from nnunet_ext.preparation import PreparationError, correct_bias_field

SHAPE = (12, 40, 44)
ITERATIONS = (20, 20)


def brain() -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Tissue (0 air, 1 and 2) and a field that brightens to the right and dims upward."""
    z, y, x = (g / n - 0.5 for g, n in zip(np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]], SHAPE, strict=True))
    radius = (z / 0.46) ** 2 + (y / 0.42) ** 2 + (x / 0.44) ** 2
    tissue = np.where(radius < 0.4, 2, np.where(radius < 1, 1, 0))
    return tissue, np.exp(0.9 * x - 0.4 * z + 1.5 * y**2)


TISSUE, FIELD = brain()


def scan() -> sitk.Image:
    clean = np.array([0.0, 100.0, 70.0])[TISSUE] * FIELD
    noisy = np.abs(clean + np.random.default_rng(3).normal(0, 1, SHAPE))
    image = sitk.GetImageFromArray(noisy.astype(np.float32))
    image.SetSpacing((1.0, 1.0, 4.0))
    image.SetOrigin((-12.0, 7.0, 80.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return image


def variation(values: NDArray[np.floating]) -> float:
    return float(values.std() / values.mean())


def test_a_known_field_is_taken_out() -> None:
    image = scan()
    result = correct_bias_field(image, shrink_factor=2, iterations=(50, 50, 50))
    before, after = sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(result.image)
    for tissue in (1, 2):
        assert variation(after[tissue == TISSUE]) < 0.3 * variation(before[tissue == TISSUE])
    # The contrast of the tissues is no bias.
    assert np.median(after[TISSUE == 2]) / np.median(after[TISSUE == 1]) == pytest.approx(0.7, abs=0.05)
    inside = sitk.GetArrayFromImage(result.mask) == 1
    assert result.variation_before == pytest.approx(variation(before[inside]), rel=1e-5)
    assert result.variation_after == pytest.approx(variation(after[inside]), rel=1e-5)
    assert result.variation_after < result.variation_before
    assert result.field_range[1] > 1.5 * result.field_range[0]


def real_head(folder: str, file: str, bins: list[int]) -> sitk.Image:
    """A head with small arrays: as many voxels as ``bins`` (x, y, z) says are averaged."""
    image = sitk.ReadImage(str(real_data(folder) / file), sitk.sitkFloat32)
    return sitk.BinShrink(sitk.Clamp(image, lowerBound=0.0), bins)


def twofold_field(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Brighter along x and z and toward the middle of y: a ratio of 2 within the mask."""
    z, y, x = (
        g / n - 0.5 for g, n in zip(np.ogrid[tuple(map(slice, inside.shape))], inside.shape, strict=True)
    )
    shape = x + 0.5 * z - 1.2 * y**2
    low, high = shape[inside].min(), shape[inside].max()
    return np.exp2((shape - low) / (high - low))


def log_difference(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """How much the ratio of two images varies, whatever their scale."""
    return float(np.std(np.log(one) - np.log(other)))


# The first is as the coil left it; somebody took the field out of the other two already.
@pytest.mark.parametrize(
    ("folder", "file", "bins"),
    [
        ("brain_mr_pyradiomics", "brain1_image.nrrd", [8, 8, 1]),
        ("brain_t1_t2_open_ms", "patient07_T1.nii.gz", [4, 4, 4]),
        ("brain_t1_t2_open_ms", "patient07_T2.nii.gz", [4, 4, 4]),
    ],
)
def test_a_field_planted_in_a_real_head_is_taken_out(folder: str, file: str, bins: list[int]) -> None:
    original = real_head(folder, file, bins)
    alone = correct_bias_field(original, shrink_factor=2, iterations=(50, 50))
    head = sitk.GetArrayFromImage(alone.mask) == 1
    before = sitk.GetArrayFromImage(original)
    shaded = image_of((before * twofold_field(head)).astype(np.float32), original)
    # In the same mask: Otsu's follows the brightness.
    result = correct_bias_field(shaded, mask=alone.mask, shrink_factor=2, iterations=(50, 50))

    found, expected = (sitk.GetArrayFromImage(r.image) for r in (result, alone))
    planted = sitk.GetArrayFromImage(shaded)
    left = log_difference(found[head], expected[head])
    # About 0.2 is left; doing nothing leaves 1, and multiplying in place of dividing 2 or more.
    assert left < 0.35 * log_difference(planted[head], before[head])
    assert left < 0.35 * log_difference(planted[head], expected[head])
    # All that was done is a division by a field, everywhere by one of those within the head.
    some = planted > 0
    field = planted[some] / found[some]
    low, high = result.field_range
    assert 0 < low < high < np.inf
    assert field.min() >= low * 0.999
    assert field.max() <= high * 1.001
    # Air without signal stays so.
    assert (~some).any()
    assert not found[~some].any()


def test_grid_is_kept_and_values_stay_finite_and_not_negative() -> None:
    image = scan()
    unchanged = sitk.GetArrayFromImage(image)
    # A mask in one corner leaves the field elsewhere to itself.
    corner = sitk.GetImageFromArray((TISSUE > 0).astype(np.uint8))
    corner.CopyInformation(image)
    corner[20:, :, :] = 0
    result = correct_bias_field(image, mask=corner, shrink_factor=2, iterations=ITERATIONS)
    values = sitk.GetArrayFromImage(result.image)
    assert np.isfinite(values).all()
    assert values.min() >= 0
    # Beyond the mask the spline is held within its range inside.
    some = unchanged > 1
    field = unchanged[some] / values[some]
    assert field.min() >= result.field_range[0] * 0.999
    assert field.max() <= result.field_range[1] * 1.001
    assert result.image.GetOrigin() == image.GetOrigin()
    assert result.image.GetSpacing() == image.GetSpacing()
    assert result.image.GetDirection() == image.GetDirection()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), unchanged)


def test_threads_change_nothing() -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 2):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            result = correct_bias_field(scan(), shrink_factor=2, iterations=(5,))
            found.append(sitk.GetArrayFromImage(result.image).tobytes())
            assert sitk.ProcessObject.GetGlobalDefaultNumberOfThreads() == threads
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert found[0] == found[1]


def test_negative_values_are_refused_or_counted() -> None:
    image = scan()
    image[0, 0, 0] = -5.0
    with pytest.raises(PreparationError, match=r"negative-values: .* 1 voxels below, the lowest -5"):
        correct_bias_field(image)
    result = correct_bias_field(image, clip_negative=True, shrink_factor=2, iterations=(1,))
    assert result.clipped_voxels == 1
    assert result.image[0, 0, 0] == 0


def other_grid() -> sitk.Image:
    return sitk.Image(SHAPE[::-1], sitk.sitkUInt8) + 1


def empty() -> sitk.Image:
    mask = sitk.Image(SHAPE[::-1], sitk.sitkUInt8)
    mask.CopyInformation(scan())
    return mask


@pytest.mark.parametrize(("mask", "code"), [(other_grid(), "grids-differ"), (empty(), "empty-mask")])
def test_masks_that_do_not_fit_are_refused(mask: sitk.Image, code: str) -> None:
    with pytest.raises(PreparationError, match=code):
        correct_bias_field(scan(), mask=mask)


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(PreparationError, match="constant-image"):
        correct_bias_field(sitk.Image(8, 8, 8, sitk.sitkFloat32))


@pytest.mark.parametrize("wrong", [{"shrink_factor": 0}, {"control_points": 3}, {"iterations": ()}])
def test_parameters_outside_their_range(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected shrink_factor >= 1"):
        correct_bias_field(scan(), **wrong)  # type: ignore[arg-type]
