"""CONTRIBUTING's block, network and trainer, written into a copy of the checkout, pass lint and train."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nnunet_home import NnunetHome

ROOT = Path(__file__).parents[1]
BLOCK, NETWORK, TRAINER, EXPORT, ENTRY = re.findall(
    r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL
)
NAME = "nnUNetTrainerPairUNet"

# What a contributor's tests and nnU-Net's command would do, with the contributor's package.
FOLLOW = """
import json, sys
import torch
from arch_kwargs import SHAPES
from network_contract import NetworkContract
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunet_ext.networks import PairUNet

class TestPairUNet(NetworkContract):
    network = PairUNet

for shape in SHAPES[:3]:
    TestPairUNet().test_every_parameter_gets_a_finite_gradient(shape)
    TestPairUNet().test_feature_map_size_counts_what_convolutions_produce(shape, True)
    TestPairUNet().test_pretraining_keys_name_what_reads_the_image(shape)
plans, dataset = (json.loads(open(file).read()) for file in sys.argv[1:3])
plans["continue_training"] = False
found = recursive_find_trainer_class_by_name(sys.argv[3])
trainer = found(plans, "3d_fullres", 0, dataset, torch.device("cpu"))
trainer.run_training()
loss = trainer.logger.get_value("train_losses", step=-1)
assert loss == loss
print("TRAINED", type(trainer.network).__module__, type(trainer.network).__name__)
"""


def insert(file: Path, text: str, *, behind: str) -> None:
    before, found, after = file.read_text().partition(behind)
    assert found, behind
    file.write_text(before + found + text + after)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The checkout's code with everything that the text says."""
    folder = tmp_path / "checkout"
    for name in ("nnunet_ext", "trainers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for code in (BLOCK, NETWORK, TRAINER):
        file = folder / code.splitlines()[0].removeprefix("# ")
        assert not file.exists()
        file.write_text(code)
    networks = folder / "nnunet_ext" / "networks" / "__init__.py"
    insert(networks, EXPORT, behind='declarations."""\n\n')
    insert(networks, ' "PairUNet",', behind='"MAUNet",')
    entry = "".join(f"    {line}\n" for line in ENTRY.splitlines())
    insert(
        folder / "trainers" / "registry.py",
        entry.rstrip("\n") + ",\n",
        behind="TRAINERS: tuple[TrainerEntry, ...] = (\n",
    )
    return folder


def test_it_passes_lint(checkout: Path) -> None:
    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "."], cwd=checkout, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_network_keeps_the_contract_and_its_trainer_trains(
    checkout: Path, preprocessed: NnunetHome, tmp_path: Path
) -> None:
    package = tmp_path / "installed" / "nnunet_ext"
    shutil.copytree(checkout / "nnunet_ext", package)
    shutil.copytree(checkout / "trainers", package / "trainers")
    script = tmp_path / "follow.py"
    script.write_text(FOLLOW)
    data = preprocessed.root / "preprocessed" / "Dataset901_plain"
    done = subprocess.run(
        [
            *(sys.executable, script, data / "nnUNetPlans.json", data / "dataset.json"),
            f"{NAME}_1epochs_2iters_NoMirroring",
        ],
        env={
            **preprocessed.environment,
            "nnUNet_extTrainer": str(package / "hook"),
            "nnUNet_n_proc_DA": "0",
            "PYTHONPATH": os.pathsep.join([str(package.parent), str(ROOT / "tests" / "helpers")]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TRAINED nnunet_ext.networks.pair_unet PairUNet" in done.stdout


def test_the_code_is_short() -> None:
    """Ten lines each, imports, docstrings and blank lines not counted."""
    for code in (BLOCK, NETWORK, TRAINER):
        body = code.split("class ", 1)[1].splitlines()
        lines = [line for line in body if line.strip() and '"""' not in line]
        assert len(lines) <= 15, code
