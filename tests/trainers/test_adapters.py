"""What our adapters expect of nnU-Net: a release that changes it fails here and in no training."""

from __future__ import annotations

import inspect

import pytest
from nnunet_ext.trainers.adapters import LOADER_NAME, loader_class
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as upstream


def test_the_trainer_makes_its_loaders_of_that_name() -> None:
    get_dataloaders = upstream.nnUNetTrainer.get_dataloaders
    assert LOADER_NAME in get_dataloaders.__code__.co_names
    assert get_dataloaders.__globals__ is vars(upstream)
    assert getattr(upstream, LOADER_NAME) is nnUNetDataLoader


def test_the_loader_asks_get_bbox_with_what_we_override() -> None:
    assert list(inspect.signature(nnUNetDataLoader.get_bbox).parameters) == [
        "self",
        "data_shape",
        "force_fg",
        "class_locations",
        "overwrite_class",
        "verbose",
    ]


def test_the_name_comes_back_whatever_happens() -> None:
    class Other(nnUNetDataLoader):
        pass

    def fail_in_between() -> None:
        with loader_class(Other):
            assert getattr(upstream, LOADER_NAME) is Other
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        fail_in_between()
    assert getattr(upstream, LOADER_NAME) is nnUNetDataLoader
