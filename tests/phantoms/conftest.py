"""What the tests of the phantoms in millimeters share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from nnunet_ext.phantoms.brain_oar import make_brain_oar
from nnunet_ext.phantoms.coronary import make_coronary
from nnunet_ext.phantoms.lower_limb import make_lower_limb
from nnunet_ext.phantoms.phantom import Patient
from nnunet_ext.phantoms.whole_heart import make_whole_heart

Patients = Callable[..., Patient]
SMALL = (24, 64, 64)


@cache
def _patient(name: str, seed: int, size_vox: tuple[int, int, int]) -> Patient:
    if name == "coronary":
        return make_coronary(seed=seed, size_vox=size_vox)
    if name == "whole-heart-ct":
        return make_whole_heart(seed=seed, modality="CT", size_vox=size_vox)
    if name == "whole-heart-mr":
        return make_whole_heart(seed=seed, modality="MR", size_vox=size_vox)
    if name == "lower-limb":
        return make_lower_limb(seed=seed, size_vox=size_vox)
    return make_brain_oar(seed=seed, size_vox=size_vox)


@pytest.fixture(scope="session")
def patient() -> Patients:
    """A phantom of that name and seed, made once; small unless told otherwise."""

    def make(name: str, *, seed: int, size_vox: tuple[int, int, int] = SMALL) -> Patient:
        return _patient(name, seed, size_vox)

    return make


@pytest.fixture(scope="session")
def best_window_dice() -> Callable[[np.ndarray, np.ndarray], float]:
    """Dice of the best intensity window, chosen with the answer in hand; a threshold is a window too."""

    def best(image: np.ndarray, mask: np.ndarray) -> float:
        edges = np.unique(np.quantile(image[mask], np.linspace(0, 1, 60)))
        edges = np.append(edges, edges[-1] + 1)
        bins = np.searchsorted(edges, image, side="right")
        inside, all_voxels = (
            np.concatenate([[0], np.cumsum(np.bincount(b.ravel(), minlength=len(edges) + 1))])
            for b in (bins[mask], bins)
        )
        return max(
            float((2 * (inside[i:] - n) / (all_voxels[i:] - all_voxels[i] + mask.sum())).max())
            for i, n in enumerate(inside)
        )

    return best


@pytest.fixture(scope="session")
def component_sizes() -> Callable[[np.ndarray], list[int]]:
    """Voxels of each connected part, largest first; voxels that touch at a corner are connected."""

    def sizes(mask: np.ndarray) -> list[int]:
        numbered, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
        return sorted(np.bincount(numbered.ravel())[1:].tolist(), reverse=True)

    return sizes
