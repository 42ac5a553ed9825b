"""What our adapters expect of nnU-Net: a release that changes it fails here and in no training."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_ext.trainers.adapters import (
    LOADER_NAME,
    PREDICTOR_NAME,
    checkpoint_keys,
    loader_class,
    predictor_class,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
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


def test_validation_makes_its_predictor_of_that_name() -> None:
    validate = upstream.nnUNetTrainer.perform_actual_validation
    assert PREDICTOR_NAME in validate.__code__.co_names
    assert getattr(upstream, PREDICTOR_NAME) is nnUNetPredictor
    made: list[Any] = []
    with predictor_class(lambda **options: made.append(options)):  # type: ignore[arg-type, return-value]
        getattr(upstream, PREDICTOR_NAME)(device="cpu")
    assert made == [{"device": "cpu"}]
    assert getattr(upstream, PREDICTOR_NAME) is nnUNetPredictor


def test_validation_asks_of_predictor_and_configuration_what_we_answer() -> None:
    """It hands its configuration on to the export, and asks it for the next stage."""
    validate = upstream.nnUNetTrainer.perform_actual_validation
    names = set(validate.__code__.co_names)
    assert {"predict_sliding_window_return_logits", "manual_initialization"} <= names
    assert {"configuration_manager", "next_stage_names", "identifiers", "do_split"} <= names
    source = inspect.getsource(validate)
    assert "(prediction, properties, self.configuration_manager, self.plans_manager," in source
    assert "for i, k in enumerate(dataset_val.identifiers):" in source


def test_checkpoints_are_saved_by_torch_save(tmp_path: Path) -> None:
    save = torch.save
    assert "torch.save(checkpoint, filename)" in inspect.getsource(upstream.nnUNetTrainer.save_checkpoint)
    with checkpoint_keys({"more": 1}):
        torch.save({"weights": 0}, tmp_path / "c.pth")
    assert torch.load(tmp_path / "c.pth") == {"weights": 0, "more": 1}
    assert torch.save is save
