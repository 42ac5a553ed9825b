"""Ways into nnU-Net's trainer where it has no hook; ``tests/trainers/test_adapters.py`` watches upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as upstream

LOADER_NAME = "nnUNetDataLoader"
PREDICTOR_NAME = "nnUNetPredictor"
SAVE_NAME = "save"


@contextmanager
def loader_class(replacement: type[nnUNetDataLoader]) -> Iterator[None]:
    """Inside it, ``nnUNetTrainer.get_dataloaders`` makes its loaders of ``replacement``."""
    with _swapped(upstream, LOADER_NAME, replacement):
        yield


@contextmanager
def predictor_class(replacement: Callable[..., nnUNetPredictor]) -> Iterator[None]:
    """Inside it, ``nnUNetTrainer.perform_actual_validation`` makes its predictor of ``replacement``."""
    with _swapped(upstream, PREDICTOR_NAME, replacement):
        yield


@contextmanager
def checkpoint_keys(keys: Mapping[str, Any]) -> Iterator[None]:
    """Inside it, ``nnUNetTrainer.save_checkpoint`` writes ``keys`` beside its own."""
    save = getattr(torch, SAVE_NAME)

    def save_more(checkpoint: dict[str, Any], *arguments: Any, **options: Any) -> None:
        save({**checkpoint, **keys}, *arguments, **options)

    with _swapped(torch, SAVE_NAME, save_more):
        yield


@contextmanager
def _swapped(module: Any, name: str, replacement: Any) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, replacement)
    try:
        yield
    finally:
        setattr(module, name, original)
