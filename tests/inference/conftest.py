"""Tiny trained models, made once for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_models import Tiny


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Tiny], Path]:
    """The folder of a tiny model, trained when it is asked for the first time."""
    made: dict[str, Path] = {}

    def of(tiny: Tiny) -> Path:
        if repr(tiny) not in made:
            made[repr(tiny)] = tiny.create(tmp_path_factory.mktemp("model"))
        return made[repr(tiny)]

    return of


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads, and other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
