"""Every trainer through stock nnU-Net's commands: `make test-all`. A class is what one worker takes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from nnunet_ext.trainers.registry import SINGLE_STAGE
from nnunet_home import NnunetHome
from stock_cycle import BUDGET, life_of_a_model, predict, train_command

pytestmark = [pytest.mark.stock, pytest.mark.long]
CONFIGURATIONS = ("2d", "3d_fullres")
every_trainer = pytest.mark.parametrize("name", [trainer.name for trainer in SINGLE_STAGE])


class TestLifeIn2D:
    @every_trainer
    def test_life(self, preprocessed: NnunetHome, name: str, tmp_path: Path) -> None:
        life_of_a_model(preprocessed, name + BUDGET, "2d", tmp_path)


class TestLifeIn3D:
    @every_trainer
    def test_life(self, preprocessed: NnunetHome, name: str, tmp_path: Path) -> None:
        life_of_a_model(preprocessed, name + BUDGET, "3d_fullres", tmp_path)


class TestBestConfiguration:
    @every_trainer
    def test_validation_best_configuration_and_ensemble(
        self, preprocessed: NnunetHome, name: str, tmp_path: Path
    ) -> None:
        trainer = f"{name}_1epochs_1iters"
        for configuration in CONFIGURATIONS:
            for options in ((), ("--val",)):
                command = train_command(preprocessed, trainer, configuration, *options)
                subprocess.run(command, env=preprocessed.environment, check=True)
            predict(preprocessed, trainer, configuration, tmp_path / configuration)
        best = preprocessed.run(
            "nnUNetv2_find_best_configuration",
            *("901", "-c", *CONFIGURATIONS, "-tr", trainer, "-f", "0", "-np", "1"),
        )
        assert "nnUNetv2_predict" in best.stdout
        predicted, out = [tmp_path / configuration for configuration in CONFIGURATIONS], tmp_path / "ensemble"
        preprocessed.run("nnUNetv2_ensemble", "-i", *predicted, "-o", out, "-np", "1")
        assert (out / "unseen.nii.gz").is_file()
