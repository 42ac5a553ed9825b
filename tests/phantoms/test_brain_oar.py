from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ext.laterality import pairs_by_name
from nnunet_ext.phantoms.brain_oar import LABELS, LEFT_RIGHT_PAIRS, Acquisition, make_brain_oar
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.phantom import Patient
from nnunet_ext.phantoms.rigid import RigidMotion, random_motion

Patients = Callable[..., Patient]
SEEDS = range(4)
CUBE = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def fine() -> Patient:
    """One head in voxels of 2 x 1 x 1 mm."""
    return make_brain_oar(seed=5, size_vox=(40, 200, 160), spacing_mm=(2, 1, 1))


def mean_x(label: np.ndarray, value: int) -> float:
    return float(np.argwhere(label == value)[:, 2].mean())


def test_seven_organs_in_the_papers_order() -> None:
    assert list(LABELS) == [
        "background",
        *("Eye_L", "Eye_R", "Lens_L", "Lens_R", "OpticNrv_L", "OpticNrv_R", "OpticChiasm"),
    ]
    assert pairs_by_name(list(LABELS)) == LEFT_RIGHT_PAIRS


@pytest.mark.parametrize("seed", SEEDS)
def test_left_is_left_and_a_flip_needs_the_swap(patient: Patients, seed: int) -> None:
    """SPEC F.15, in the phantoms' frame, where x grows to the left."""
    made = patient("brain-oar", seed=seed)
    for left, right in ((made.labels[a], made.labels[b]) for a, b in LEFT_RIGHT_PAIRS):
        assert mean_x(made.label, left) > mean_x(made.label, right)
        flipped = made.label[..., ::-1]
        assert mean_x(flipped, left) < mean_x(flipped, right)
        swapped = np.where(flipped == left, right, np.where(flipped == right, left, flipped))
        assert mean_x(swapped, left) > mean_x(swapped, right)
    middle = mean_x(made.label, LABELS["OpticChiasm"])
    assert mean_x(made.label, LABELS["Eye_R"]) < middle < mean_x(made.label, LABELS["Eye_L"])


def test_lenses_lie_in_front_in_the_eyes(patient: Patients, fine: Patient) -> None:
    for made in (fine, *(patient("brain-oar", seed=seed) for seed in SEEDS)):
        for side in "LR":
            lens, eye = made.mask(f"Lens_{side}"), made.mask(f"Eye_{side}")
            rim = ndimage.binary_dilation(lens) & ~lens
            assert eye[rim].mean() > 0.4
            assert np.argwhere(lens)[:, 1].mean() < np.argwhere(eye)[:, 1].mean()
            other = made.mask(f"Eye_{'R' if side == 'L' else 'L'}")
            assert not other[rim].any()
    for side in "LR":
        lens = fine.mask(f"Lens_{side}")
        assert fine.mask(f"Eye_{side}")[ndimage.binary_dilation(lens) & ~lens].mean() > 0.75


def test_nerves_reach_from_the_eyes_to_the_chiasm(
    patient: Patients, fine: Patient, component_sizes: Callable[[np.ndarray], list[int]]
) -> None:
    for made in (fine, *(patient("brain-oar", seed=seed) for seed in SEEDS)):
        chiasm = ndimage.binary_dilation(made.mask("OpticChiasm"), CUBE)
        for side in "LR":
            nerve = made.mask(f"OpticNrv_{side}")
            assert (nerve & chiasm).any()
            assert (nerve & ndimage.binary_dilation(made.mask(f"Eye_{side}"), CUBE)).any()
        pathway = sum(made.mask(name) for name in ("OpticNrv_L", "OpticNrv_R", "OpticChiasm"))
        sizes = component_sizes(pathway > 0)
        assert sizes[0] > 0.9 * sum(sizes)


def test_volumes_are_those_of_an_adult(fine: Patient) -> None:
    milliliters = {name: fine.mask(name).sum() * 2 / 1000 for name in LABELS}
    for side in "LR":
        assert 4.5 < milliliters[f"Eye_{side}"] < 9
        assert 0.08 < milliliters[f"Lens_{side}"] < 0.35
        assert 0.4 < milliliters[f"OpticNrv_{side}"] < 1.6
    assert 0.2 < milliliters["OpticChiasm"] < 0.9


@pytest.mark.parametrize(
    ("channel", "tissue", "lowest", "highest"),
    [
        ("CT", Material.EYE_LEFT, 0, 30),
        ("CT", Material.LENS_LEFT, 35, 105),
        ("CT", Material.WHITE_MATTER, 20, 35),
        ("CT", Material.GRAY_MATTER, 25, 45),
        ("CT", Material.COMPACT_BONE, 400, 1300),
        ("CT", Material.AIR, -1005, -950),
        ("T1w", Material.EYE_LEFT, 80, 300),
        ("T1w", Material.WHITE_MATTER, 350, 1000),
        ("T1w", Material.AIR, 0, 40),
        ("T2w", Material.EYE_LEFT, 500, 1500),
        ("T2w", Material.WHITE_MATTER, 150, 500),
        ("T2w", Material.AIR, 0, 40),
    ],
)
def test_median_signal(
    patient: Patients, fine: Patient, channel: str, tissue: Material, lowest: int, highest: int
) -> None:
    for made in (fine, *(patient("brain-oar", seed=seed) for seed in SEEDS)):
        seen = made.channel(channel)
        assert lowest < np.median(seen.image[seen.tissue == tissue]) < highest


def test_contrast_differs_between_weightings(fine: Patient) -> None:
    def median(channel: str, material: Material) -> float:
        seen = fine.channel(channel)
        return float(np.median(seen.image[seen.tissue == material]))

    for channel, brighter, darker in (
        ("T1w", Material.WHITE_MATTER, Material.FLUID),
        ("T1w", Material.FAT, Material.MUSCLE),
        ("T2w", Material.FLUID, Material.WHITE_MATTER),
        ("T2w", Material.EYE_LEFT, Material.LENS_LEFT),
        ("CT", Material.LENS_LEFT, Material.EYE_LEFT),
    ):
        assert median(channel, brighter) > median(channel, darker) + 20
    # CT hardly tells the chiasm from brain, so the MR is needed.
    assert abs(median("CT", Material.CHIASM) - median("CT", Material.WHITE_MATTER)) < 15


def test_mask_and_couch_are_seen_by_ct_alone(fine: Patient) -> None:
    whole = make_brain_oar(seed=5, size_vox=(24, 128, 128))
    assert np.argwhere(whole.reference.tissue == Material.COUCH)[:, 1].min() > 64
    shell = fine.reference.tissue == Material.MASK
    assert 0.002 < shell.mean() < 0.05
    # A thin shell: hardly any voxel has it on both sides along y and along x.
    assert ndimage.binary_erosion(shell, CUBE).sum() < 0.02 * shell.sum()
    assert np.median(fine.channel("CT").image[shell]) > -600
    outer = shell & ~ndimage.binary_dilation(fine.reference.tissue == Material.SKIN, iterations=2)
    assert np.median(fine.channel("T1w").image[outer]) < 60


def test_mr_has_a_bias_field(fine: Patient) -> None:
    """White matter of one brain differs smoothly by place in MR and not in CT."""
    spreads = {}
    for channel in fine.channels:
        inside = ndimage.binary_erosion(channel.tissue == Material.WHITE_MATTER, CUBE)
        where = np.argwhere(inside)
        octant = (where > np.median(where, axis=0)) @ [4, 2, 1]
        means = np.array([channel.image[inside][octant == i].mean() for i in range(8)])
        spreads[channel.name] = np.ptp(means) if channel.name == "CT" else np.ptp(means) / means.mean()
    assert spreads["CT"] < 1.5  # HU
    assert spreads["T1w"] > 0.04
    assert spreads["T2w"] > 0.04


def test_motion_leaves_ct_and_label_alone(patient: Patients) -> None:
    moved = make_brain_oar(
        seed=2,
        size_vox=(24, 64, 64),
        mr_acquisitions={"T1w": Acquisition((24, 96, 96), (4.0, 2.5, 2.5), random_motion(seed=1))},
    )
    still = patient("brain-oar", seed=2)
    np.testing.assert_array_equal(moved.label, still.label)
    np.testing.assert_array_equal(moved.channel("CT").image, still.channel("CT").image)
    np.testing.assert_array_equal(moved.channel("T2w").tissue, still.channel("T2w").tissue)
    t1w = moved.channel("T1w")
    assert t1w.image.shape == (24, 96, 96)
    assert t1w.spacing_mm == (4.0, 2.5, 2.5)
    assert not t1w.motion.is_identity


def test_a_shift_moves_the_origin_only(patient: Patients) -> None:
    still = patient("brain-oar", seed=2).channel("T2w")
    shift = RigidMotion(shift_mm=(5.0, -4.0, 8.0))
    moved = make_brain_oar(
        seed=2,
        size_vox=(24, 64, 64),
        mr_acquisitions={"T2w": Acquisition((24, 64, 64), still.spacing_mm, shift)},
    ).channel("T2w")
    np.testing.assert_allclose(np.subtract(moved.origin_mm, still.origin_mm), shift.shift_mm)
    assert (moved.tissue == still.tissue).mean() > 0.999


def test_a_quarter_turn_turns_the_array(patient: Patients) -> None:
    """About z through the middle of the field of view, x turns to y: exactly one turn of the array."""
    still = patient("brain-oar", seed=2).channel("T1w")
    turn = RigidMotion(turn_deg=(90, 0, 0), center_mm=(12.0, 8.0, 0.0))
    moved = make_brain_oar(
        seed=2,
        size_vox=(24, 64, 64),
        mr_acquisitions={"T1w": Acquisition((24, 64, 64), still.spacing_mm, turn)},
    ).channel("T1w")
    # Left (large x) comes to lie at the back (large y).
    expected = np.rot90(still.tissue, k=-1, axes=(1, 2))
    assert (moved.tissue == expected).mean() > 0.999
    assert (moved.tissue == still.tissue).mean() < 0.9


def test_organs_lie_where_the_stated_motion_puts_them(fine: Patient) -> None:
    motion = random_motion(seed=1, most_turn_deg=12, most_shift_mm=10)
    channel = make_brain_oar(
        seed=5,
        size_vox=(40, 200, 160),
        spacing_mm=(2, 1, 1),
        mr_acquisitions={"T1w": Acquisition((60, 110, 90), (2, 2, 2), motion)},
    ).channel("T1w")

    def centers(seen: object, material: Material) -> np.ndarray:
        voxels = np.argwhere(seen.tissue == material)  # type: ignore[attr-defined]
        return voxels.mean(axis=0) * seen.spacing_mm + seen.origin_mm  # type: ignore[attr-defined]

    for material in (Material.EYE_LEFT, Material.EYE_RIGHT, Material.BRAINSTEM):
        here, there = centers(fine.reference, material), centers(channel, material)
        if material != Material.BRAINSTEM:
            assert np.linalg.norm(there - motion.move(here[None])[0]) < 0.5
        assert np.linalg.norm(there - here) > 1.5


def test_thick_slices_mix_tissues() -> None:
    """A slice of 6 mm shows the average of what it holds, not its middle."""
    sharp, thick = (
        make_brain_oar(
            seed=3,
            size_vox=(24, 64, 64),
            mr_acquisitions={"T2w": Acquisition((n, 64, 64), (120 / n, 4, 4))},
        ).channel("T2w")
        for n in (120, 24)
    )
    averaged = sharp.image.reshape(24, 5, 64, 64).mean(axis=1)
    middle = sharp.image[2::5]
    assert np.abs(thick.image - averaged).mean() < 0.75 * np.abs(thick.image - middle).mean()


@pytest.mark.parametrize(
    ("acquisitions", "message"),
    [
        ({"FLAIR": Acquisition((24, 64, 64), (5, 4, 4))}, "FLAIR"),
        ({"T1w": Acquisition((8, 64, 64), (5, 4, 4))}, "each >= 12"),
        ({"T1w": Acquisition((24, 64, 64), (1, 4, 4))}, "field of view"),
    ],
)
def test_bad_acquisitions_are_refused(acquisitions: dict[str, Acquisition], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_brain_oar(seed=0, size_vox=(24, 64, 64), mr_acquisitions=acquisitions)
