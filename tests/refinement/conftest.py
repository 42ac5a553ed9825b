"""Models with out-of-fold probabilities, and refiners trained on them, made once for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from refinement_home import RefinementHome, make_refinement_home, small_refiners, trained_refiner

from nnunet_ext.refinement.folder import Refiner


@pytest.fixture(scope="session")
def home_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RefinementHome]:
    """A home, written when it is asked for the first time; tests leave it as it is."""
    made: dict[tuple[str, str, bool], RefinementHome] = {}

    def of(labels: str = "plain", shape: str = "anisotropic", *, wrong: bool = True) -> RefinementHome:
        key = (labels, shape, wrong)
        if key not in made:
            root = tmp_path_factory.mktemp("refinement")
            made[key] = make_refinement_home(root, labels=labels, shape=shape, wrong=wrong)
        return made[key]

    return of


@pytest.fixture(scope="session")
def refiner_of(
    home_of: Callable[..., RefinementHome], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Refiner]:
    """A refiner of few channels, trained when it is asked for the first time."""
    made: dict[Path, Refiner] = {}

    def of(labels: str = "plain", shape: str = "anisotropic", *, wrong: bool = True) -> Refiner:
        home = home_of(labels, shape, wrong=wrong)
        if home.root not in made:
            made[home.root] = trained_refiner(home, tmp_path_factory.mktemp("refiner"))
        return made[home.root]

    return of


@pytest.fixture(autouse=True)
def _small_and_one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with small_refiners():
        yield
    torch.set_num_threads(before)
