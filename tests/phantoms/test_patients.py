"""What holds for every phantom in millimeters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnunet_ext.phantoms import brain_oar, coronary, lower_limb, whole_heart
from nnunet_ext.phantoms.brain_oar import make_brain_oar
from nnunet_ext.phantoms.coronary import make_coronary
from nnunet_ext.phantoms.lower_limb import make_lower_limb
from nnunet_ext.phantoms.materials import Material
from nnunet_ext.phantoms.phantom import FieldOfView, Patient
from nnunet_ext.phantoms.whole_heart import make_whole_heart

Patients = Callable[..., Patient]
NAMES = ("coronary", "whole-heart-ct", "whole-heart-mr", "lower-limb", "brain-oar")
MAKERS: dict[str, Callable[..., Patient]] = {
    "coronary": make_coronary,
    "whole-heart-ct": make_whole_heart,
    "whole-heart-mr": lambda **keywords: make_whole_heart(modality="MR", **keywords),
    "lower-limb": make_lower_limb,
    "brain-oar": make_brain_oar,
}
VIEWS: dict[str, FieldOfView] = {
    "coronary": coronary.FIELD_OF_VIEW,
    "whole-heart-ct": whole_heart.FIELDS_OF_VIEW["CT"],
    "whole-heart-mr": whole_heart.FIELDS_OF_VIEW["MR"],
    "lower-limb": lower_limb.FIELD_OF_VIEW,
    "brain-oar": brain_oar.FIELD_OF_VIEW,
}
# Fewest voxels of a label in any of the seeds below on the smallest grid.
FEWEST = {"coronary": 60, "whole-heart-ct": 30, "whole-heart-mr": 20, "lower-limb": 300, "brain-oar": 2}
# No intensity window finds a label better than this, over all labels and channels.
BEST_WINDOW = {
    "coronary": 0.5,
    "whole-heart-ct": 0.8,
    "whole-heart-mr": 0.6,
    "lower-limb": 0.85,
    "brain-oar": 0.7,
}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_patient(patient: Patients, name: str) -> None:
    first, again = patient(name, seed=3), MAKERS[name](seed=3, size_vox=(24, 64, 64))
    assert first.label.tobytes() == again.label.tobytes()
    assert len(first.channels) == len(again.channels)
    for a, b in zip(first.channels, again.channels, strict=True):
        assert a.image.tobytes() == b.image.tobytes()
        assert a.tissue.tobytes() == b.tissue.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_seeds_differ_in_anatomy(patient: Patients, name: str) -> None:
    labels = [patient(name, seed=seed).label for seed in range(4)]
    for value in np.unique(labels[0])[1:]:
        overlaps = [dice(a == value, b == value) for i, a in enumerate(labels) for b in labels[:i]]
        assert np.mean(overlaps) < 0.85
        assert max(overlaps) < 0.95


@pytest.mark.parametrize("name", NAMES)
def test_arrays_and_grid(patient: Patients, name: str) -> None:
    made = patient(name, seed=0)
    assert made.seed == 0
    assert name.startswith(made.name)
    assert made.label.dtype == np.uint8
    assert made.label.shape == made.reference.image.shape == (24, 64, 64)
    assert list(made.labels.values()) == list(range(len(made.labels)))
    for channel in made.channels:
        assert channel is made.channel(channel.name)
        assert channel.image.dtype == np.int16
        assert channel.tissue.dtype == np.uint8
        assert channel.image.shape == channel.tissue.shape
        extent = np.array(channel.spacing_mm) * channel.image.shape
        np.testing.assert_allclose(extent, VIEWS[name].usual_mm, rtol=1e-6)
        if channel.name == "CT":
            assert -1024 <= channel.image.min() < -950
            assert channel.image.max() <= 3071
        else:
            assert channel.image.min() >= 0
            assert 300 < channel.image.max() <= 4095
    with pytest.raises(KeyError, match="no channel 'PET'"):
        made.channel("PET")


@pytest.mark.parametrize("name", NAMES)
def test_smallest_grid_holds_every_label(patient: Patients, name: str) -> None:
    for seed in range(3):
        made = patient(name, seed=seed, size_vox=VIEWS[name].fewest_vox)
        counts = {label: int(made.mask(label).sum()) for label in made.labels}
        assert min(counts.values()) >= FEWEST[name], counts


@pytest.mark.parametrize("name", NAMES)
def test_smallest_field_of_view_and_odd_sizes_hold_every_label(name: str) -> None:
    view = VIEWS[name]
    size = tuple(n + 5 for n in view.fewest_vox)
    spacing = [mm / n for mm, n in zip(view.smallest_mm, size, strict=True)]
    made = MAKERS[name](seed=20, size_vox=size, spacing_mm=spacing)
    assert made.label.shape == size
    assert set(np.unique(made.label)) == set(made.labels.values())


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_is_one_patient_at_every_grid(patient: Patients, name: str) -> None:
    coarse = patient(name, seed=1)
    fine = patient(name, seed=1, size_vox=(72, 192, 192) if name == "lower-limb" else (24, 192, 192))
    step = fine.label.shape[0] // 24
    seen = fine.label[step // 2 :: step, 1::3, 1::3] > 0
    # Vessels and nerves are as thick as a voxel on the coarse grid.
    least = {"coronary": 0.35, "brain-oar": 0.8}.get(name, 0.9)
    assert dice(seen, coarse.label > 0) > least


@pytest.mark.parametrize("name", NAMES)
def test_no_window_finds_a_label(
    patient: Patients, best_window_dice: Callable[[np.ndarray, np.ndarray], float], name: str
) -> None:
    for seed in range(3):
        made = patient(name, seed=seed)
        for label in list(made.labels)[1:]:
            for channel in made.channels:
                found = best_window_dice(channel.image, made.mask(label))
                assert found < BEST_WINDOW[name], (label, channel.name, found)


def test_the_window_search_finds_what_can_be_found(
    best_window_dice: Callable[[np.ndarray, np.ndarray], float],
) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((8, 32, 32)) < 0.1
    assert best_window_dice(np.where(mask, 100, rng.choice([-50, 300], size=mask.shape)), mask) == 1


@pytest.mark.parametrize("name", NAMES)
def test_left_is_at_larger_x(patient: Patients, name: str) -> None:
    """The liver and the right atrium lie on the right, the apex of the heart and left organs on the left."""
    made = patient(name, seed=2)
    tissue = made.reference.tissue
    pairs = {
        "brain-oar": [(Material.EYE_RIGHT, Material.EYE_LEFT), (Material.NERVE_RIGHT, Material.NERVE_LEFT)],
        "lower-limb": [],
    }.get(name, [(Material.LIVER, Material.LEFT_VENTRICLE), (Material.RIGHT_ATRIUM, Material.LEFT_VENTRICLE)])
    for right, left in pairs:
        assert np.argwhere(tissue == right)[:, 2].mean() < np.argwhere(tissue == left)[:, 2].mean() - 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be a whole number >= 0, got -1"),
        ({"seed": 0.5}, TypeError, "float"),
        ({"size_vox": (15, 64, 64)}, ValueError, r"size_vox must be at least .* got \(15, 64, 64\)"),
        ({"size_vox": (24, 64, 31)}, ValueError, "size_vox must be at least"),
        ({"size_vox": (0, 64, 64)}, ValueError, "got \\(0, 64, 64\\)"),
        ({"size_vox": (24, 64)}, ValueError, "three whole numbers"),
        ({"spacing_mm": (5, 3)}, ValueError, "three numbers"),
        ({"spacing_mm": (5, 3, 0)}, ValueError, "> 0"),
        ({"spacing_mm": (1, 3, 3)}, ValueError, "field of view must be"),
        ({"size_vox": (200, 200, 200), "spacing_mm": (9, 9, 9)}, ValueError, "field of view must be"),
        ({"size_vox": (24, 64, 64), "spacing_mm": (6, 3, 8)}, ValueError, "must be"),
    ],
)
def test_bad_geometry_is_refused(
    name: str, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MAKERS[name](**{"seed": 0, "size_vox": (24, 64, 64), **arguments})
