"""CONTRIBUTING's block, network and trainer, followed literally, train."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from arch_kwargs import SHAPES
from network_contract import NetworkContract, build
from nnunet_ext.trainers import names
from nnunet_ext.trainers.registry import TrainerEntry
from nnunet_home import NnunetHome
from trainer_factory import make_trainer

ROOT = Path(__file__).parents[1]
CODE = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)


@pytest.fixture
def contributed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainerEntry:
    """The text's code as one module, and its trainer in the registry."""
    block, network, trainer, entry = CODE
    (tmp_path / "contributed.py").write_text("\n".join([block, network, trainer]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "contributed", raising=False)
    written = entry.replace("nnunet_ext.trainers.segmentation", "contributed")
    registered: TrainerEntry = eval(written, {"TrainerEntry": TrainerEntry})
    monkeypatch.setattr(names, "TRAINERS", (*names.TRAINERS, registered))
    return registered


def test_the_network_keeps_the_contract(contributed: TrainerEntry) -> None:
    network = importlib.import_module("contributed").DilatedUNet

    class Contract(NetworkContract):
        pass

    Contract.network = network
    for shape in SHAPES[:3]:
        Contract().test_every_parameter_gets_a_finite_gradient(shape)
        Contract().test_feature_map_size_counts_what_convolutions_produce(shape, True)
        Contract().test_pretraining_keys_name_what_reads_the_image(shape)
    assert isinstance(build(network, SHAPES[0], deep_supervision=False)(SHAPES[0].batch()), torch.Tensor)


def test_the_trainer_trains_under_its_name_and_under_composed_ones(
    contributed: TrainerEntry, preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        preprocessed,
        f"{contributed.name}_1epochs_2iters",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
    )
    trainer.run_training()
    assert type(trainer.network).__name__ == "DilatedUNet"
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))


def test_the_code_is_short() -> None:
    """Ten lines each, imports, docstrings and blank lines not counted."""
    for code in CODE[:3]:
        body = code.split("class ", 1)[1].splitlines()
        lines = [line for line in body if line.strip() and '"""' not in line]
        assert len(lines) <= 15, code
