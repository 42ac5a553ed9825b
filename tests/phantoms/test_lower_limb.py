from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ext.phantoms.lower_limb import make_lower_limb
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.phantom import Patient

Patients = Callable[..., Patient]
SEEDS = range(4)
MEDIUM = (72, 192, 192)


def bones_in_slice(made: Patient, z_mm: float) -> list[tuple[float, float, int]]:
    """Place (y, x) in mm from the middle of the image and voxels of each bone that a slice cuts."""
    dz, dy, dx = made.reference.spacing_mm
    slices, rows, columns = made.label.shape
    numbered, count = ndimage.label(made.label[round(slices / 2 + z_mm / dz)], np.ones((3, 3)))
    centers = ndimage.center_of_mass(numbered > 0, numbered, range(1, count + 1))
    areas = np.bincount(numbered.ravel())[1:]
    return [
        ((y - rows / 2) * dy, (x - columns / 2) * dx, int(area))
        for (y, x), area in zip(centers, areas, strict=True)
    ]


def test_one_femur_a_thigh(patient: Patients) -> None:
    bones = bones_in_slice(patient("lower-limb", seed=1, size_vox=MEDIUM), 120)
    assert len(bones) == 2
    assert sorted(np.sign(x) for _, x, _ in bones) == [-1, 1]


def test_tibia_and_fibula_in_each_shin(patient: Patients) -> None:
    bones = bones_in_slice(patient("lower-limb", seed=1, size_vox=MEDIUM), -110)
    assert len(bones) == 4
    for side in (-1, 1):
        (tibia_y, tibia_x, large), (fibula_y, fibula_x, small) = sorted(
            (b for b in bones if np.sign(b[1]) == side), key=lambda b: -b[2]
        )
        assert large > 2 * small
        assert abs(fibula_x) > abs(tibia_x) + 15
        assert fibula_y > tibia_y


def test_a_patella_before_each_knee(patient: Patients) -> None:
    """Where it is highest above the joint, a slice cuts femur and patella of both legs."""
    made = patient("lower-limb", seed=1, size_vox=MEDIUM)
    counts = {z: bones_in_slice(made, z) for z in range(6, 48, 6)}
    for side in (-1, 1):
        found = [[b for b in bones if np.sign(b[1]) == side] for bones in counts.values()]
        pairs = [sorted(bones) for bones in found if len(bones) == 2]
        assert pairs
        (patella_y, patella_x, small), (femur_y, femur_x, large) = pairs[0]
        assert femur_y - patella_y > 25
        assert abs(femur_x - patella_x) < 25
        assert large > 2 * small


@pytest.mark.parametrize("seed", SEEDS)
def test_legs_are_no_mirror_images(patient: Patients, seed: int) -> None:
    label = patient("lower-limb", seed=seed).label > 0
    left, right = label[..., 32:], label[..., :32]
    assert 0.6 < left.sum() / right.sum() < 1.6
    mirrored = right[..., ::-1]
    assert 2 * (left & mirrored).sum() / (left.sum() + mirrored.sum()) < 0.9


def test_bright_cortex_and_dim_marrow_under_one_label(patient: Patients) -> None:
    made = patient("lower-limb", seed=1, size_vox=MEDIUM)
    image, tissue = made.reference.image, made.reference.tissue
    assert np.median(image[tissue == Material.LIMB_COMPACT]) > 400
    marrow = ndimage.binary_erosion(tissue == Material.LIMB_MARROW, np.ones((1, 3, 3)))
    assert -110 < np.median(image[marrow]) < 90
    inside = [Material.LIMB_COMPACT, Material.LIMB_SPONGY, Material.LIMB_MARROW]
    np.testing.assert_array_equal(made.label > 0, np.isin(tissue, inside))
    for material in inside:
        assert (tissue == material).sum() > 0.05 * (made.label > 0).sum()
    # Cortex lies outside, marrow inside.
    depth = ndimage.distance_transform_edt(made.label > 0, sampling=made.reference.spacing_mm)
    assert depth[tissue == Material.LIMB_MARROW].mean() > 1.5 * depth[tissue == Material.LIMB_COMPACT].mean()


@pytest.mark.parametrize(
    ("tissue", "lowest", "highest"),
    [
        (Material.AIR, -1005, -950),
        (Material.FAT, -120, -40),
        (Material.MUSCLE, 30, 75),
        (Material.LIMB_SPONGY, 30, 350),
    ],
)
def test_median_attenuation(patient: Patients, tissue: Material, lowest: int, highest: int) -> None:
    for seed in SEEDS:
        channel = patient("lower-limb", seed=seed).channel("CT")
        assert lowest < np.median(channel.image[channel.tissue == tissue]) < highest


def test_some_patients_have_contrast_in_the_arteries(patient: Patients) -> None:
    """As bright as bone, so that brightness alone finds more than bone."""
    bright = []
    for seed in range(8):
        channel = patient("lower-limb", seed=seed).channel("CT")
        bright.append(np.percentile(channel.image[channel.tissue == Material.ARTERY], 90) > 140)
    assert 0 < sum(bright) < len(bright)


def test_the_couch_lies_behind_the_legs(patient: Patients) -> None:
    for seed in SEEDS:
        channel = patient("lower-limb", seed=seed).channel("CT")
        couch, bone = (
            np.argwhere(np.isin(channel.tissue, kinds))[:, 1].mean()
            for kinds in ([Material.COUCH, Material.FOAM], [Material.LIMB_COMPACT])
        )
        assert couch > bone + 5


def test_hip_and_foot_are_out_of_reach() -> None:
    with pytest.raises(ValueError, match=r"field of view must be .* to \(660.0, 600.0, 600.0\)"):
        make_lower_limb(seed=0, size_vox=(140, 64, 64), spacing_mm=(5, 6, 6))
