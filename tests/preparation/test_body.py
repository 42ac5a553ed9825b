"""Couch and mask out of a CT."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from real_data import real_data
from scipy import ndimage

from nnunet_ext.preparation import PreparationError, remove_couch

SPACING = (3.0, 2.0, 2.0)
SHAPE = (8, 90, 100)
COUCH_ROW, COUCH_THICKNESS = 70, 2
Bools = NDArray[np.bool_]


def image_of(
    values: NDArray[np.generic],
    *,
    spacing_mm: Sequence[float] = SPACING,
    direction: Sequence[float] = (1, 0, 0, 0, 1, 0, 0, 0, 1),
) -> sitk.Image:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([float(s) for s in spacing_mm[::-1]])
    image.SetDirection([float(d) for d in direction])
    image.SetOrigin((-70.0, 12.5, 430.0))
    return image


def ellipse(center: tuple[float, float], radii: tuple[float, float]) -> Bools:
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    inside = ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 < 1
    return np.broadcast_to(inside, SHAPE)


BODY = ellipse((38, 50), (25, 30))
LUNG = ellipse((36, 40), (12, 10))
# A shell of 4 mm, 8 mm off the skin but for a bridge to it.
SHELL = (ellipse((38, 50), (31, 36)) & ~ellipse((38, 50), (29, 34))) | (
    ellipse((38, 50), (31, 36)) & ~BODY & (np.abs(np.arange(100) - 50) < 2)
)
COUCH = np.zeros(SHAPE, bool)
COUCH[:, COUCH_ROW : COUCH_ROW + COUCH_THICKNESS, 5:95] = True


def ct(*things: tuple[Bools, float], noise_hu: float = 15.0) -> NDArray[np.int16]:
    hu = np.full(SHAPE, -1000.0)
    for where, value in things:
        hu[where] = value
    return np.rint(hu + np.random.default_rng(0).normal(0, noise_hu, SHAPE)).astype(np.int16)


PATIENT = ct((COUCH, 150), (SHELL, 80), (BODY, 40), (LUNG, -850))


def mask_of(result_mask: sitk.Image) -> Bools:
    return sitk.GetArrayFromImage(result_mask) == 1


def assert_body(found: Bools, body: Bools, *, rim_vox: int = 1) -> None:
    """Nothing is lost below the outermost voxels of the skin, nothing kept beyond the next."""
    flat = np.ones((1, 3, 3), bool)
    assert found[ndimage.binary_erosion(body, flat)].all()
    assert not found[~ndimage.binary_dilation(body, flat, iterations=rim_vox)].any()


def test_couch_and_mask_become_air_and_the_body_stays() -> None:
    image = image_of(PATIENT)
    result = remove_couch(image)
    found = mask_of(result.mask)
    assert_body(found, BODY, rim_vox=3)  # a stump of the bridge stays
    values = sitk.GetArrayFromImage(result.image)
    np.testing.assert_array_equal(values[found], PATIENT[found])
    assert (values[~found] == -1000).all()
    assert result.image.GetPixelID() == image.GetPixelID()
    assert result.kept_parts == 1
    assert result.body_share == pytest.approx(BODY.mean(), rel=0.03)
    assert -575 < result.threshold_hu < -275
    removed = (COUCH | SHELL).sum() * np.prod(SPACING) / 1000
    assert result.removed_ml == pytest.approx(removed, rel=0.15)
    assert len(result.removed_parts) == 2
    assert all(part.thickness_mm <= 8 for part in result.removed_parts)


def test_the_mask_is_cut_off_by_the_opening() -> None:
    """The bridge connects it to the body: without an opening it stays."""
    result = remove_couch(image_of(PATIENT), opening_radius_mm=0)
    assert mask_of(result.mask)[SHELL].mean() > 0.9


def test_holes_are_filled_with_their_own_values() -> None:
    result = remove_couch(image_of(PATIENT))
    assert mask_of(result.mask)[LUNG].all()
    assert sitk.GetArrayFromImage(result.image)[LUNG].mean() == pytest.approx(-850, abs=2)


def test_input_stays_as_it_is() -> None:
    image = image_of(PATIENT)
    remove_couch(image)
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(image), PATIENT)


def test_both_legs_and_the_arms_are_kept() -> None:
    legs = ellipse((38, 28), (16, 16)) | ellipse((38, 70), (17, 17))
    result = remove_couch(image_of(ct((COUCH, 150), (legs, 40))))
    assert_body(mask_of(result.mask), legs)
    assert result.kept_parts == 2
    arms = ellipse((45, 8), (7, 7)) | ellipse((45, 92), (7, 7))
    result = remove_couch(image_of(ct((COUCH, 150), (BODY | arms, 40))))
    assert_body(mask_of(result.mask), BODY | arms)
    assert result.kept_parts == 3


def test_a_lost_limb_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    finger = ellipse((45, 8), (5, 5))  # 20 mm thick
    with caplog.at_level(logging.WARNING):
        result = remove_couch(image_of(ct((BODY | finger, 40))))
    assert not mask_of(result.mask)[finger].any()
    (part,) = result.removed_parts
    assert part.thickness_mm == pytest.approx(20, abs=3)
    assert "removed a part" in caplog.text
    thin = remove_couch(image_of(ct((BODY | finger, 40))), limb_radius_mm=7)
    assert mask_of(thin.mask)[finger].mean() > 0.9


def test_a_massive_couch_behind_the_patient_is_no_limb() -> None:
    massive = np.zeros(SHAPE, bool)
    massive[:, 68:, 10:90] = True  # 44 mm
    result = remove_couch(image_of(ct((massive, 200), (BODY, 40))))
    assert_body(mask_of(result.mask), BODY)
    prone = remove_couch(image_of(ct((massive, 200), (BODY, 40)), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)))
    assert mask_of(prone.mask)[massive].any()  # the same voxels, now before the patient


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "ASL", "SLA", "IPR", "PSR"])
def test_axes_are_found_whatever_their_order(orientation: str) -> None:
    """One patient stored in another order of axes: the same voxels of the patient are kept."""
    massive = np.zeros(SHAPE, bool)
    massive[:, 72:, 10:90] = True
    image = image_of(ct((massive, 200), (SHELL, 80), (BODY, 40), (LUNG, -850)))
    expected = remove_couch(image)
    stored = sitk.DICOMOrient(image, orientation)
    result = remove_couch(stored)
    assert result.mask.GetDirection() == stored.GetDirection()
    back = sitk.DICOMOrient(result.mask, "LPS")
    np.testing.assert_array_equal(mask_of(back), mask_of(expected.mask))
    assert result.removed_ml == pytest.approx(expected.removed_ml)


def test_holes_are_filled_in_axial_slices_only() -> None:
    """A groove that opens within axial slices is closed in sagittal ones, and is no hole."""
    groove = BODY.copy()
    groove[2:6, :38, 45:55] = False  # open to the front in its own slices, covered above and below
    found = mask_of(remove_couch(image_of(ct((groove, 40)))).mask)
    assert not found[3, 25, 50]
    sagittal = sitk.DICOMOrient(image_of(ct((groove, 40))), "SPL")
    assert not mask_of(sitk.DICOMOrient(remove_couch(sagittal).mask, "LPS"))[3, 25, 50]


def test_oblique_grid_is_kept() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    tilted = image_of(PATIENT, direction=(1, 0, 0, 0, c, -s, 0, s, c))
    result = remove_couch(tilted)
    assert_body(mask_of(result.mask), BODY, rim_vox=3)
    for image in (result.image, result.mask):
        assert image.GetDirection() == tilted.GetDirection()
        assert image.GetOrigin() == tilted.GetOrigin()
        assert image.GetSpacing() == tilted.GetSpacing()


@pytest.mark.parametrize("size", [400, 401])
def test_the_skin_is_found_on_the_fine_grid(size: int) -> None:
    """One slice of half-millimeter voxels: the coarse grid of 2 mm leaves no steps in the skin."""
    y, x = np.ogrid[:size, :size]
    body = ((y - 190.3) / 120) ** 2 + ((x - 200.7) / 150) ** 2 < 1
    hu = np.where(body, 40, -1000).astype(np.int16)[None]
    hu[:, 330:336, 20:380] = 150
    found = mask_of(remove_couch(image_of(hu, spacing_mm=(3, 0.5, 0.5))).mask)
    assert (found != body[None]).sum() <= 0.002 * body.sum()


def test_radii_are_in_mm() -> None:
    """A shell 4 voxels thick is 8 mm here and is cut; at twice the voxels it is 16 mm and is kept."""
    bar = np.zeros(SHAPE, bool)
    bar[:, 36:40, 80:99] = True
    image = ct((BODY | bar, 40))
    assert not mask_of(remove_couch(image_of(image)).mask)[:, 38, 90].any()
    assert mask_of(remove_couch(image_of(image, spacing_mm=(6, 4, 4))).mask)[:, 38, 90].all()


@pytest.mark.parametrize(
    ("hu", "code"),
    [
        (ct(), "threshold-implausible"),
        (np.full(SHAPE, -1000, np.int16), "threshold-implausible"),
        (ct((np.ones(SHAPE, bool), 40)), "threshold-implausible"),
        ((PATIENT + 1024).astype(np.int16), "threshold-implausible"),
        (ct((COUCH, 150)), "body-not-found"),
        (ct((BODY, 40)).astype(np.uint16), "not-hounsfield"),
        (np.where(LUNG, np.nan, PATIENT).astype(np.float32), "not-finite"),
        (np.zeros((4, 4), np.int16), "not-3d"),
    ],
    ids=["noise", "air", "tissue", "offset", "couch", "unsigned", "nan", "2d"],
)
def test_what_is_no_body_in_air_is_refused(hu: NDArray[np.generic], code: str) -> None:
    image = sitk.GetImageFromArray(hu) if hu.ndim == 2 else image_of(hu)
    with pytest.raises(PreparationError) as error:
        remove_couch(image)
    assert error.value.code == code


def test_vectors_are_refused() -> None:
    with pytest.raises(PreparationError, match="not-scalar"):
        remove_couch(sitk.GetImageFromArray(np.zeros((4, 4, 4, 3), np.int16), isVector=True))


def test_a_body_that_is_too_small_is_refused() -> None:
    small = ellipse((38, 50), (7, 7))
    assert remove_couch(image_of(ct((small, 40))), min_body_share=0.01).body_share < 0.02
    with pytest.raises(PreparationError, match=r"body-too-small: .* at least 2\.0%.* got 1\.[67]\d%"):
        remove_couch(image_of(ct((small, 40))))


def test_removing_most_of_the_image_is_refused() -> None:
    with pytest.raises(PreparationError, match=r"too-much-removed: .* at most 5%.* got \d\d%"):
        remove_couch(image_of(PATIENT), max_removed_share=0.05)


def test_real_patients_keep_their_tumor_and_lose_the_couch() -> None:
    """Pelvis, calves, a foot on a blanket, a thigh: on three kinds of couch."""
    for name in ("STS_002", "STS_010", "STS_019", "STS_025", "STS_051"):
        folder = real_data("sts_sarcoma") / name
        image = sitk.ReadImage(str(folder / "CT_image.nii.gz"))
        hu = sitk.GetArrayViewFromImage(image)
        result = remove_couch(image)
        body = mask_of(result.mask)
        # One contour (STS_019) runs out into the air under a foot.
        tumor = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "CT_mask.nii.gz"))) > 0) & (hu > -300)
        assert tumor.any()
        assert body[tumor].all(), folder.name
        if (
            folder.name == "STS_025"
        ):  # its calf ends above row 95; below are a shell and a crossbar 25 mm thick
            assert (hu[:, 98:] > -300).any()
            assert not body[:, 98:].any()
            assert result.removed_ml > 150
