"""The verb plan on a preprocessed phantom dataset, and what stock nnU-Net makes of its plans."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_home import NnunetHome

from nnunet_ext.cli.main import main
from nnunet_ext.presets import differences
from nnunet_ext.regimes import REGIMES

RunPlan = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def run_plan(
    own_copy: NnunetHome,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> RunPlan:
    """The verb in this process, on data of the test's own: the result and what was said beside it."""

    def run(*options: str, check: bool = True) -> tuple[dict[str, Any], str]:
        for variable, value in own_copy.environment.items():
            if variable.startswith("nnUNet_"):
                monkeypatch.setenv(variable, value)
        caplog.clear()
        capsys.readouterr()
        code = main(["plan", "901", *options, "--json"])
        assert (code == 0) == check, caplog.text
        return json.loads(capsys.readouterr().out or "{}"), caplog.text

    return run


@pytest.mark.stock
@pytest.mark.long
def test_plans_in_vanilla_s_memory_share_its_data_and_train(own_copy: NnunetHome, run_plan: RunPlan) -> None:
    result, _ = run_plan("--network", "RASUNet")
    file = Path(result["plans_file"])
    assert file.name == "nnUNetRASUNetPlans.json"
    for name, chosen in result["configurations"].items():
        assert chosen["step_bytes"] <= chosen["budget_bytes"], name
        assert (chosen["data_identifier"], chosen["is_preprocessed"]) == (f"nnUNetPlans_{name}", True)
    plans = json.loads(file.read_text())
    fullres = plans["configurations"]["3d_fullres"]
    assert fullres["architecture"]["network_class_name"] == "nnunet_ext.networks.RASUNet"
    assert fullres["data_identifier"] == "nnUNetPlans_3d_fullres"
    # Plans that name the network: nnU-Net's own trainer trains it.
    trainer = "nnUNetTrainer_1epochs_1iters"
    arguments = ("901", "2d", "0", "-p", file.stem, "-tr", trainer, "-device", "cpu")
    own_copy.run("nnUNetv2_train", *arguments)
    folder = own_copy.root / "results" / "Dataset901_plain" / f"{trainer}__{file.stem}__2d" / "fold_0"
    weights = torch.load(folder / "checkpoint_final.pth", weights_only=False)["network_weights"]
    assert any(".attention.squeeze." in key for key in weights)


def test_window_order_and_spacing_get_data_of_their_own(run_plan: RunPlan) -> None:
    options = ("--window", "0", "150", "--order", "1", "--spacing-mm", "4", "1", "1", "--batch-size", "2")
    result, _ = run_plan("--network", "AGUNet", *options)
    assert {c["batch_size"] for c in result["configurations"].values()} == {2}
    plans = json.loads(Path(result["plans_file"]).read_text())
    fullres = plans["configurations"]["3d_fullres"]
    assert fullres["spacing"] == [4.0, 1.0, 1.0]
    assert fullres["resampling_fn_data_kwargs"]["order"] == 1
    assert fullres["data_identifier"] == "nnUNetAGUNetPlans_3d_fullres"
    intensity = plans["foreground_intensity_properties_per_channel"]["0"]
    assert [intensity[k] for k in ("percentile_00_5", "percentile_99_5", "mean", "std")] == [0, 150, 75, 75]
    # The same again: another name, the same data. nnU-Net's planner of ResEnc plans would mix up the data.
    again, _ = run_plan("--network", "MAUNet", "--planner", "resenc", *options)
    assert again["configurations"]["3d_fullres"]["data_identifier"] == "nnUNetAGUNetPlans_3d_fullres"
    own, _ = run_plan("--network", "MAUNet", "--planner", "resenc", "--order", "0")
    chosen = own["configurations"]["3d_fullres"]
    assert (chosen["data_identifier"], chosen["is_preprocessed"]) == ("nnUNetMAUNetPlans2_3d_fullres", False)


@pytest.mark.parametrize("network", ["MAUNet", "AFUNet", "ResUNet", "RASUNet"])
def test_a_preset_is_what_the_paper_asks(run_plan: RunPlan, network: str) -> None:
    regime = {"MAUNet": "001", "AFUNet": "002", "ResUNet": "003", "RASUNet": "004"}[network]
    preset = REGIMES[regime].preset
    result, said = run_plan("--network", network, "--preset")
    assert said == ""
    plans = json.loads(Path(result["plans_file"]).read_text())
    assert differences(preset, plans, preset.configuration) == ()
    other = "2d" if preset.configuration == "3d_fullres" else "3d_fullres"
    assert plans["configurations"][other]["architecture"]["arch_kwargs"]["features_per_stage"][0] == 32
    patch = plans["configurations"][preset.configuration]["patch_size"]
    strides = plans["configurations"][preset.configuration]["architecture"]["arch_kwargs"]["strides"]
    assert all(n % p == 0 for n, p in zip(patch, np.prod(strides, axis=0), strict=True))


def test_options_override_the_preset_and_patches_are_taken_at_their_word(run_plan: RunPlan) -> None:
    options = ("--preset", "--order", "1", "--batch-size", "3", "--patch-size", "16", "64", "48")
    result, _ = run_plan("--network", "RASUNet", *options)
    chosen = json.loads(Path(result["plans_file"]).read_text())["configurations"]["3d_fullres"]
    assert (chosen["patch_size"], chosen["batch_size"]) == ([16, 64, 48], 3)
    assert chosen["resampling_fn_data_kwargs"]["order"] == 1
    assert chosen["spacing"] == [3.0, 1.0, 1.0]
    _, said = run_plan("--network", "RASUNet", "--patch-size", "16", "65", "48", check=False)
    assert "cannot have the patch (16, 65, 48)" in said
    assert "the nearest is (16, 72, 48): ask for that" in said


def test_patch_and_batch_together_are_planned_whatever_they_need(run_plan: RunPlan) -> None:
    """Unless the memory is given, too."""
    options = ("--network", "AGUNet", "--patch-size", "32", "32", "--batch-size", "5000")
    _, said = run_plan(*options, "--match-vanilla-gb", "8", check=False)
    assert "AGUNet does not fit: a batch of 5000 patches of (32, 32)" in said
    result, said = run_plan(*options)
    assert "2d: a batch of 5000 patches of (32, 32) needs" in said
    chosen = result["configurations"]["2d"]
    assert (chosen["patch_size"], chosen["batch_size"]) == ([32, 32], 5000)
    assert chosen["step_bytes"] > chosen["budget_bytes"]
    assert result["configurations"]["3d_fullres"]["batch_size"] < 5000


@pytest.mark.long
def test_a_gpu_s_memory_is_the_peak_that_fits(run_plan: RunPlan) -> None:
    small, large = (
        run_plan("--network", "AGUNet", "--patch-size", "16", "16", "--gpu-memory-gb", gb)[0]
        for gb in ("0.0075", "0.01")
    )
    for result, budget in ((small, 7.5e6), (large, 1e7)):
        for chosen in result["configurations"].values():
            assert chosen["budget_bytes"] == budget
            assert chosen["step_bytes"] <= budget
    batches = [r["configurations"]["2d"]["batch_size"] for r in (small, large)]
    assert batches[1] > batches[0] > 2
    options = ("--patch-size", "16", "16", "--gpu-memory-gb", "0.0001")
    _, said = run_plan("--network", "AGUNet", *options, check=False)
    assert "AGUNet does not fit" in said


def test_refusals(own_copy: NnunetHome, run_plan: RunPlan) -> None:
    _, said = run_plan("--network", "AGUNet", "--plans-name", "nnUNetPlans", check=False)
    assert "nnUNetPlans.json exists: plans are not overwritten" in said
    _, said = run_plan("--network", "AGUNet", "--batch-size", "5000", check=False)
    assert "AGUNet does not fit: a batch of 5000 patches" in said
    assert not list((own_copy.root / "preprocessed" / "Dataset901_plain").glob("nnUNetAGUNet*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "--batch-size must be above 0, got 0"),
        (["--match-vanilla-gb", "-1"], "--match-vanilla-gb must be above 0, got -1"),
        (["--gpu-memory-gb", "0"], "--gpu-memory-gb must be above 0, got 0"),
        (["--spacing-mm", "1", "0", "1"], "--spacing-mm must be above 0, got 0"),
        (["--patch-size", "32", "-32"], "--patch-size must be above 0, got -32"),
        (["--patch-size", "32"], "--patch-size takes two or three numbers, got 1"),
    ],
)
def test_values_without_sense_are_refused(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.setenv(name, "somewhere")
    assert main(["plan", "1", "--network", "AGUNet", *options]) == 2
    assert message in caplog.text


def test_missing_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    monkeypatch.setenv("nnUNet_preprocessed", "somewhere")
    assert main(["plan", "1", "--network", "AGUNet"]) == 2
    assert "nnU-Net's variable nnUNet_raw is not set" in caplog.text
