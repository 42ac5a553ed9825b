"""Trainers constructed in this process as ``nnUNetv2_train`` constructs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_home import NnunetHome

from nnunet_ext import trainers


def load_plans(home: NnunetHome, dataset: str) -> dict[str, Any]:
    """The plans of a preprocessed dataset, with the key that nnU-Net adds."""
    path = home.root / "preprocessed" / dataset / "nnUNetPlans.json"
    return {**json.loads(path.read_text()), "continue_training": False}


def make_trainer(
    home: NnunetHome,
    name: str,
    *,
    dataset: str,
    monkeypatch: pytest.MonkeyPatch,
    configuration: str = "3d_fullres",
    change_plans: Callable[[dict[str, Any]], None] | None = None,
    fold: int | str = 0,
) -> Any:
    """The trainer called ``name`` on the CPU, in the home's folders."""
    for variable, value in home.environment.items():
        if variable.startswith("nnUNet_"):
            monkeypatch.setenv(variable, value)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")  # augment in this process
    plans = load_plans(home, dataset)
    if change_plans is not None:
        change_plans(plans)
    dataset_json = json.loads((home.root / "preprocessed" / dataset / "dataset.json").read_text())
    return getattr(trainers, name)(plans, configuration, fold, dataset_json, torch.device("cpu"))


def keep_stages(count: int) -> Callable[[dict[str, Any]], None]:
    """Cut the architecture of every configuration to its first ``count`` levels."""

    def cut(plans: dict[str, Any]) -> None:
        for configuration in plans["configurations"].values():
            if "architecture" not in configuration:
                continue
            kwargs = configuration["architecture"]["arch_kwargs"]
            kwargs["n_stages"] = count
            for key in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"):
                kwargs[key] = kwargs[key][:count]
            kwargs["n_conv_per_stage_decoder"] = kwargs["n_conv_per_stage_decoder"][: count - 1]

    return cut


def read_log(trainer: Any) -> str:
    return Path(trainer.log_file).read_text()
