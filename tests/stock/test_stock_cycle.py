"""What `make test` runs of stock nnU-Net's commands: one cycle in 2D, one in 3D, and a paper's regime."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from nnunet_home import NnunetHome
from stock_cycle import BUDGET, DATASET, life_of_a_model, predict, train_command

pytestmark = pytest.mark.stock


@pytest.mark.parametrize(
    ("name", "configuration"), [("nnUNetTrainerMAUNet", "2d"), ("nnUNetTrainerRASUNet", "3d_fullres")]
)
def test_life_of_a_model(preprocessed: NnunetHome, name: str, configuration: str, tmp_path: Path) -> None:
    life_of_a_model(preprocessed, name + BUDGET, configuration, tmp_path)


@pytest.mark.long
def test_a_paper_s_regime_in_nnunet_s_workers(preprocessed: NnunetHome, tmp_path: Path) -> None:
    """Planned crops and optimizer of paper 002 from the command line, where loaders run in processes."""
    name = "nnUNetTrainerAFUNet_Paper_1epochs_1iters"
    done = subprocess.run(
        train_command(preprocessed, name, "2d"), env=preprocessed.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Regime of paper 002: 1 epochs x 1 iterations = 1; in the paper: 10000" in done.stdout
    results = Path(preprocessed.environment["nnUNet_results"])
    folder = results / DATASET / f"{name}__nnUNetPlans__2d" / "fold_0"
    checkpoint = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["inference_allowed_mirroring_axes"] == (1,)
    assert predict(preprocessed, name, "2d", tmp_path / "predicted").ndim == 3
