from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.phantom import Patient
from nnunet_ext.phantoms.whole_heart import LABELS, MM_WHS_VALUES, make_whole_heart

Patients = Callable[..., Patient]
SEEDS = range(4)
BOTH = ("whole-heart-ct", "whole-heart-mr")


def center_mm(made: Patient, label: str) -> np.ndarray:
    return np.argwhere(made.mask(label)).mean(axis=0) * made.reference.spacing_mm


def rim_shares(made: Patient, label: str) -> dict[str, float]:
    """Shares of the other labels among the voxels that share a face with one label."""
    mask = made.mask(label)
    rim = ndimage.binary_dilation(mask) & ~mask
    return {name: float((made.label[rim] == value).mean()) for name, value in made.labels.items()}


def test_labels_and_the_challenge_values() -> None:
    assert dict(LABELS) == {"background": 0, "Myo": 1, "LA": 2, "LV": 3, "RA": 4, "RV": 5, "AA": 6, "PA": 7}
    assert list(MM_WHS_VALUES) == list(LABELS)
    assert list(MM_WHS_VALUES.values()) == [0, 205, 420, 500, 550, 600, 820, 850]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_myocardium_surrounds_the_left_ventricle(patient: Patients, name: str, seed: int) -> None:
    around = rim_shares(patient(name, seed=seed), "LV")
    assert around["Myo"] > 0.8
    assert around["Myo"] + around["LA"] + around["AA"] > 0.92
    assert around["LA"] > 0.012
    assert around["RV"] + around["RA"] + around["PA"] < 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_each_structure_is_one_body(
    patient: Patients, component_sizes: Callable[[np.ndarray], list[int]], seed: int
) -> None:
    made = patient("whole-heart-ct", seed=seed)
    for label in list(LABELS)[1:]:
        sizes = component_sizes(made.mask(label))
        assert sizes[0] > 0.95 * sum(sizes), label


@pytest.mark.parametrize("seed", SEEDS)
def test_chambers_lie_where_they_belong(patient: Patients, seed: int) -> None:
    made = patient("whole-heart-ct", seed=seed)
    z, y, x = np.array([center_mm(made, label) for label in list(LABELS)[1:]]).T
    myo, la, lv, ra, rv, aa, pa = range(7)
    assert x[ra] == x.min()
    assert y[la] == y.max()
    assert y[rv] < y[lv] - 5
    assert x[rv] < x[lv]
    assert min(z[aa], z[pa]) > max(z[lv], z[rv]) + 15
    # The pulmonary trunk leaves in front of and to the left of the aorta.
    assert y[pa] < y[aa]
    assert x[pa] > x[aa] + 5
    assert np.hypot(x[myo] - x[lv], y[myo] - y[lv]) < 12
    # The apex points to the left, to the front and down.
    assert z[lv] < z[la]
    assert x[lv] > x[la]


@pytest.mark.parametrize("seed", SEEDS)
def test_vessels_leave_their_ventricles(patient: Patients, seed: int) -> None:
    made = patient("whole-heart-ct", seed=seed)
    for vessel, ventricle in (("AA", "LV"), ("PA", "RV")):
        near = ndimage.binary_dilation(made.mask(vessel), np.ones((3, 3, 3)), iterations=2)
        assert (near & made.mask(ventricle)).any()
    # The label of the aorta ends near the top of the atria, and the vessel goes on.
    further = np.argwhere(made.reference.tissue == Material.FURTHER_AORTA)[:, 0]
    assert further.max() > np.argwhere(made.mask("AA"))[:, 0].max()


def test_volumes_are_those_of_an_adult(patient: Patients) -> None:
    ranges = {"Myo": (60, 220), "LA": (30, 110), "LV": (50, 190), "RA": (35, 130), "RV": (60, 220)}
    ranges |= {"AA": (12, 60), "PA": (12, 60)}
    for name in BOTH:
        for seed in SEEDS:
            made = patient(name, seed=seed)
            voxel_ml = np.prod(made.reference.spacing_mm) / 1000
            for label, (low, high) in ranges.items():
                assert low < made.mask(label).sum() * voxel_ml < high, (name, seed, label)


def test_one_seed_is_one_heart_in_both_modalities() -> None:
    ct, mr = (
        make_whole_heart(seed=4, modality=m, size_vox=(24, 64, 64), spacing_mm=(7, 3.8, 3.8))
        for m in ("CT", "MR")
    )
    np.testing.assert_array_equal(ct.label, mr.label)
    assert not np.array_equal(ct.reference.image, mr.reference.image)


@pytest.mark.parametrize(
    ("name", "tissue", "lowest", "highest"),
    [
        ("whole-heart-ct", Material.LEFT_VENTRICLE, 350, 480),
        ("whole-heart-ct", Material.RIGHT_VENTRICLE, 150, 380),
        ("whole-heart-ct", Material.ASCENDING_AORTA, 360, 490),
        ("whole-heart-ct", Material.LV_MYOCARDIUM, 85, 140),
        ("whole-heart-ct", Material.FAT, -115, -60),
        ("whole-heart-ct", Material.LUNG, -890, -780),
        ("whole-heart-mr", Material.LEFT_VENTRICLE, 350, 1100),
        ("whole-heart-mr", Material.LV_MYOCARDIUM, 150, 480),
        ("whole-heart-mr", Material.LUNG, 0, 130),
        ("whole-heart-mr", Material.AIR, 0, 30),
    ],
)
def test_median_signal(patient: Patients, name: str, tissue: Material, lowest: int, highest: int) -> None:
    for seed in SEEDS:
        channel = patient(name, seed=seed).reference
        if (channel.tissue == tissue).sum() > 50:
            assert lowest < np.median(channel.image[channel.tissue == tissue]) < highest


def test_contrast_differs_between_modalities(patient: Patients) -> None:
    """Fat is darker than muscle in CT and brighter in MR; the couch shows in neither MR."""
    for seed in SEEDS:
        ct, mr = (patient(name, seed=seed).reference for name in BOTH)
        medians = [
            [np.median(c.image[c.tissue == m]) for m in (Material.FAT, Material.MUSCLE)] for c in (ct, mr)
        ]
        assert medians[0][0] < medians[0][1]
        assert medians[1][0] > 1.5 * medians[1][1]


@pytest.mark.parametrize("seed", SEEDS)
def test_mr_has_a_bias_field_and_ct_has_none(patient: Patients, seed: int) -> None:
    """One tissue's median differs between the quarters of an axial plane by more than texture and noise."""

    def spread(name: str) -> float:
        channel = patient(name, seed=seed).reference
        muscle = ndimage.binary_erosion(channel.tissue == Material.MUSCLE, np.ones((1, 3, 3)))
        where = np.argwhere(muscle)
        quarter = (where[:, 1:] > np.array(channel.image.shape[1:]) / 2) @ [2, 1]
        medians = [np.median(channel.image[muscle][quarter == i]) for i in range(4) if (quarter == i).any()]
        return float(np.ptp(medians) / np.mean(medians))

    assert spread("whole-heart-mr") > 0.08
    assert spread("whole-heart-ct") < 0.07


def test_unknown_modality_is_refused() -> None:
    with pytest.raises(ValueError, match=r"modality must be one of \['CT', 'MR'\], got 'PET'"):
        make_whole_heart(seed=0, modality="PET")  # type: ignore[arg-type]
