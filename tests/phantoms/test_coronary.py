from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ext.phantoms.combined import Union
from nnunet_ext.phantoms.coronary_tree import Vessel, draw_coronary_tree
from nnunet_ext.phantoms.curves import levels_at
from nnunet_ext.phantoms.heart import Heart, draw_heart
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.phantom import Patient

Patients = Callable[..., Patient]
MEDIUM = (69, 128, 128)


@pytest.fixture(scope="module")
def trees() -> list[tuple[Heart, list[Vessel]]]:
    """Hearts with their coronary arteries."""
    drawn = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        heart = draw_heart(rng)
        drawn.append((heart, draw_coronary_tree(heart, rng)))
    return drawn


@pytest.mark.parametrize(("seed", "size"), [(0, MEDIUM), *((seed, (24, 64, 64)) for seed in range(4))])
def test_both_trees_leave_the_aorta_and_hold_together(
    patient: Patients,
    component_sizes: Callable[[np.ndarray], list[int]],
    seed: int,
    size: tuple[int, int, int],
) -> None:
    made = patient("coronary", seed=seed, size_vox=size)
    vessels = made.mask("coronary_artery")
    sizes = component_sizes(vessels)
    assert len(sizes) <= 4
    assert sum(sizes[:2]) > 0.97 * sum(sizes)
    aorta = np.isin(made.reference.tissue, [Material.ASCENDING_AORTA, Material.FURTHER_AORTA])
    # One voxel is the wall.
    near_aorta = ndimage.binary_dilation(aorta, np.ones((3, 3, 3)), iterations=2)
    numbered, count = ndimage.label(vessels, np.ones((3, 3, 3)))
    touching = [n for n in range(1, count + 1) if (near_aorta & (numbered == n)).any()]
    assert np.isin(numbered[vessels], touching).mean() > 0.97


@pytest.mark.parametrize("size", [(20, 48, 48), (24, 64, 64), MEDIUM])
def test_vessels_are_bright_and_fat_surrounds_them(patient: Patients, size: tuple[int, int, int]) -> None:
    for seed in range(1 if size == MEDIUM else 3):
        made = patient("coronary", seed=seed, size_vox=size)
        image, tissue = made.channel("CT").image, made.channel("CT").tissue
        # SPEC D2.
        assert np.median(image[made.mask("coronary_artery")]) > 150
        assert 350 < np.median(image[tissue == Material.LEFT_VENTRICLE]) < 490
        assert 80 < np.median(image[tissue == Material.LV_MYOCARDIUM]) < 140
        assert -900 < np.median(image[tissue == Material.LUNG]) < -750
        if size == MEDIUM:
            rim = ndimage.binary_dilation(made.label > 0, iterations=2) & (made.label == 0)
            assert (tissue[rim] == Material.FAT).mean() > 0.4
            assert -115 < np.median(image[tissue == Material.FAT]) < -70


def test_the_label_is_a_small_part_and_not_all_that_is_bright(patient: Patients) -> None:
    made = patient("coronary", seed=0, size_vox=MEDIUM)
    milliliters = (made.label > 0).sum() * np.prod(made.reference.spacing_mm) / 1000
    assert 1.5 < milliliters < 9
    assert (made.reference.image > 150).sum() > 20 * (made.label > 0).sum()


def test_calibers_and_names(trees: list[tuple[Heart, list[Vessel]]]) -> None:
    for _, tree in trees:
        names = [vessel.name for vessel in tree]
        assert {"LM", "LAD", "LCx", "RCA", "PDA", "D1", "OM1", "AM1"} <= set(names)
        assert len(names) == len(set(names))
        for vessel in tree:
            assert vessel.points.shape == (len(vessel.radii), 3)
            assert vessel.radii.min() >= 0.75
            assert vessel.radii.max() <= 3.1
            assert vessel.radii[-3:].mean() < vessel.radii[:3].mean()


def test_ostia_lie_in_the_aortic_sinuses(trees: list[tuple[Heart, list[Vessel]]]) -> None:
    """Just inside the wall, some millimeters above the valve."""
    for heart, tree in trees:
        for vessel in tree:
            if vessel.name in ("LM", "RCA"):
                ostium = vessel.points[:1]
                assert 0 < levels_at(Union(heart.aorta), ostium)[0] < 3
                assert 4 < ((heart.base - ostium[0]) @ heart.long_axis) / heart.scale < 13


def test_branches_start_on_their_parents(trees: list[tuple[Heart, list[Vessel]]]) -> None:
    for _, tree in trees:
        by_name = {vessel.name: vessel for vessel in tree}
        for vessel in tree:
            if vessel.name in ("LM", "RCA"):
                continue
            others = np.concatenate([v.points for v in tree if v is not vessel])
            assert np.linalg.norm(others - vessel.points[0], axis=1).min() < 0.01
        assert np.linalg.norm(by_name["LAD"].points[0] - by_name["LM"].points[-1]) < 0.01


def test_vessels_run_on_the_heart(trees: list[tuple[Heart, list[Vessel]]]) -> None:
    """Outside muscle and chambers, and at most some millimeters away from them."""
    for heart, tree in trees:
        points = np.concatenate([vessel.points[12:] for vessel in tree])
        depth = levels_at(heart.surface, points)
        assert (depth < 0).mean() > 0.97
        assert (depth > -8).mean() > 0.97


def test_courses(trees: list[tuple[Heart, list[Vessel]]]) -> None:
    for heart, tree in trees:
        by_name = {vessel.name: vessel.points for vessel in tree}
        lad, lcx, rca = by_name["LAD"], by_name["LCx"], by_name["RCA"]
        assert rca[:, 2].mean() < lad[:, 2].mean()
        # In front, behind, and towards the apex.
        assert lad[:, 1].mean() < lcx[:, 1].mean()
        assert (lad[-1] - heart.base) @ heart.long_axis > 60 * heart.scale
        for curve in (lad, lcx, rca):
            steps = np.diff(curve, axis=0)
            length = np.linalg.norm(steps, axis=1).sum()
            assert length > 1.1 * np.linalg.norm(curve[-1] - curve[0])  # curved
            assert length > 38


def test_dominance_and_branching_vary(trees: list[tuple[Heart, list[Vessel]]]) -> None:
    assert len({tuple(vessel.name for vessel in tree) for _, tree in trees}) > 5
    right = ["PLV" in [vessel.name for vessel in tree] for _, tree in trees]
    assert 0 < sum(right) < len(right)
    assert sum(right) > len(right) / 2
