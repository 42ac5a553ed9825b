"""Ways into nnU-Net's trainer where it has no hook; ``tests/trainers/test_adapters.py`` watches upstream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as upstream

LOADER_NAME = "nnUNetDataLoader"


@contextmanager
def loader_class(replacement: type[nnUNetDataLoader]) -> Iterator[None]:
    """Inside it, ``nnUNetTrainer.get_dataloaders`` makes its loaders of ``replacement``."""
    original = getattr(upstream, LOADER_NAME)
    setattr(upstream, LOADER_NAME, replacement)
    try:
        yield
    finally:
        setattr(upstream, LOADER_NAME, original)
