"""The papers' records: complete, printed by the documentation, and the plans they ask for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nnunet_ext.trainers.registry import MODIFIERS, TRAINERS

from nnunet_ext.presets import Preset, differences, window_properties
from nnunet_ext.regimes import REGIMES, as_markdown

DOCS = Path(__file__).parents[1] / "docs"


def test_every_trainer_s_paper_has_a_record() -> None:
    assert {trainer.paper for trainer in TRAINERS} == set(REGIMES)
    losses = {m.token for m in MODIFIERS if m.choice == "loss"}
    for number, regime in REGIMES.items():
        assert regime.paper == number
        assert (regime.epochs is None) != (regime.iterations is None)
        assert regime.loss in losses
        assert (regime.optimizer == "SGD") == (regime.momentum > 0)


def test_the_page_is_the_records() -> None:
    assert (DOCS / "papers" / "regimes.md").read_text() == as_markdown()


def test_the_records_are_light() -> None:
    code = "import sys, nnunet_ext.regimes; print({'torch', 'numpy', 'nnunetv2'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"


def test_nnunet_normalizes_with_the_window() -> None:
    """F.11."""
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization

    image = np.array([-1000.0, -150.0, 0.0, 75.0, 150.0, 3000.0], dtype=np.float32)
    properties = window_properties((-150, 150), (-1, 1))
    assert CTNormalization(intensityproperties=properties).run(image.copy()).tolist() == [
        -1,
        -1,
        0,
        0.5,
        1,
        1,
    ]
    properties = window_properties((-200, 1300), (0, 1))
    assert CTNormalization(intensityproperties=properties).run(image.copy()) == pytest.approx(
        [0, 50 / 1500, 200 / 1500, 275 / 1500, 350 / 1500, 1]
    )


@pytest.mark.parametrize("window", [(150, -150), (0, 0)])
def test_a_window_goes_from_low_to_high(window: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must go from low to high"):
        window_properties(window, (-1, 1))


def plans_as_asked(preset: Preset) -> dict[str, Any]:
    """Plans as JSON has them."""
    properties = window_properties(preset.window or (-1, 1), preset.window_becomes)
    configuration = {
        "spacing": list(preset.spacing_mm or (1.0, 1.0, 1.0)),
        "patch_size": list(preset.patch_size or (16, 16, 16)),
        "batch_size": preset.batch_size or 2,
        "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
        "resampling_fn_data_kwargs": {"order": preset.order or 0, "force_separate_z": preset.separate_z},
        "architecture": {"arch_kwargs": {"features_per_stage": [preset.base_features or 32, 64]}},
    }
    return {
        "configurations": {preset.configuration: configuration},
        "foreground_intensity_properties_per_channel": {"0": properties, "1": {}},
    }


@pytest.mark.parametrize("paper", REGIMES)
def test_differences_of_a_plan(paper: str) -> None:
    preset = REGIMES[paper].preset
    plans = plans_as_asked(preset)
    assert differences(preset, plans, preset.configuration) == ()
    other = replace(
        preset,
        spacing_mm=(9.0, 9.0, 9.0),
        patch_size=(8,),
        batch_size=3,
        window=(-7.0, 7.0),
        order=2,
        separate_z=True,
        base_features=5,
    )
    found = differences(other, plans, preset.configuration)
    assert len(found) == 6 + len(window_properties((-7.0, 7.0), preset.window_becomes)) - (
        # Only the mean of a window that lies as the other stays.
        window_properties((-7.0, 7.0), preset.window_becomes)["mean"]
        == plans["foreground_intensity_properties_per_channel"]["0"]["mean"]
    )
    assert any(line.startswith("batch size ") and line.endswith("in the paper 3") for line in found)


def test_another_configuration_is_the_only_difference_worth_a_line() -> None:
    preset = REGIMES["002"].preset
    assert differences(preset, {}, "3d_fullres") == ("configuration 3d_fullres, in the paper 2d",)
