"""The verb plan on a preprocessed phantom dataset, and what stock nnU-Net makes of its plans."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_ext.trainers.registry import VANILLA
from nnunet_home import NnunetHome

from nnunet_ext import networks
from nnunet_ext.cli.main import main
from nnunet_ext.cli.plan import NETWORKS, _request, add_arguments
from nnunet_ext.presets import differences
from nnunet_ext.regimes import REGIMES

RunPlan = Callable[..., tuple[Any, str]]


@pytest.fixture
def run_plan(
    own_copy: NnunetHome,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> RunPlan:
    """The verb in this process, on data of the test's own: the result and what was said beside it."""

    def run(*options: str, check: bool = True, as_text: bool = False) -> tuple[Any, str]:
        for variable, value in own_copy.environment.items():
            if variable.startswith("nnUNet_"):
                monkeypatch.setenv(variable, value)
        caplog.clear()
        capsys.readouterr()
        code = main(["plan", "901", *options, *(() if as_text else ("--json",))])
        assert (code == 0) == check, caplog.text
        printed = capsys.readouterr().out
        return printed if as_text else json.loads(printed or "{}"), caplog.text

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


PAPERS = {"AGUNet": "000", "MAUNet": "001", "AFUNet": "002", "ResUNet": "003", "RASUNet": "004"}


@pytest.mark.parametrize("network", PAPERS)
def test_a_preset_is_what_the_paper_asks(run_plan: RunPlan, network: str) -> None:
    regime = PAPERS[network]
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


def test_a_network_is_planned_as_another_paper_asks(run_plan: RunPlan) -> None:
    """V-Net is compared in two papers; its own here is 004."""
    result, _ = run_plan("--network", "VNet", "--preset", "002")
    plans = json.loads(Path(result["plans_file"]).read_text())
    assert differences(REGIMES["002"].preset, plans, "2d") == ()


def test_what_is_printed_says_why_and_what_comes_next(run_plan: RunPlan) -> None:
    said, _ = run_plan("--network", "AFUNet", "--preset", "--patch-size", "32", "32", as_text=True)
    assert "2d at 1 x 1 mm: patch 32 x 32 (32 x 32), batch 64 (" in said
    assert "), as asked; a step takes " in said
    assert "), 5 % of the dataset, or 2, at most; a step takes " in said  # of 3d_fullres
    # The paper's configuration, which is not the last that is planned.
    train = "nnUNetv2_train Dataset901_plain 2d FOLD -p nnUNetAFUNetPlans -tr nnUNetTrainerAFUNet_Paper"
    assert said.strip().splitlines()[-1].strip() == train
    said, _ = run_plan("--network", "AGUNet", "--preset", "002", as_text=True)
    train = "nnUNetv2_train Dataset901_plain 2d FOLD -p nnUNetAGUNetPlans -tr nnUNetTrainerAGUNet"
    assert said.strip().splitlines()[-1].strip() == train


def test_patches_are_along_the_axes_of_the_images(run_plan: RunPlan) -> None:
    """nnU-Net puts the axis of the largest spacing first."""
    options = ("--network", "AGUNet", "--spacing-mm", "1", "1", "4", "--patch-size")
    result, _ = run_plan(*options, "32", "64", "16")
    assert result["transpose_forward"] == [2, 0, 1]
    chosen = result["configurations"]["3d_fullres"]
    assert (chosen["patch_size"], chosen["spacing_mm"]) == ([16, 32, 64], [4, 1, 1])
    _, said = run_plan(*options, "32", "65", "16", check=False)
    assert "cannot have the patch (32, 65, 16) at a spacing of [1.0, 1.0, 4.0] mm" in said
    assert "the nearest is (32, 80, 16): ask for that" in said
    said, _ = run_plan(*options, "32", "64", "16", as_text=True)
    assert "Sizes and spacings are along x z y of the images" in said


def test_images_of_few_slices(own_copy: NnunetHome, run_plan: RunPlan) -> None:
    """nnU-Net's patches have four voxels an axis, or as many as the images."""
    file = own_copy.root / "preprocessed" / "Dataset901_plain" / "dataset_fingerprint.json"
    fingerprint = json.loads(file.read_text())
    fingerprint["shapes_after_crop"] = [[3, 32, 32] for _ in fingerprint["shapes_after_crop"]]
    fingerprint["spacings"] = [[6.0, 1.0, 1.0] for _ in fingerprint["spacings"]]
    file.write_text(json.dumps(fingerprint))
    result, _ = run_plan("--network", "RASUNet")
    assert result["configurations"]["3d_fullres"]["patch_size"] == [3, 32, 32]


def test_nnunet_s_own_network_gets_nnunet_s_own_plan(
    run_plan: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    monkeypatch.setattr(networks, "PlainConvUNet", PlainConvUNet, raising=False)
    monkeypatch.setitem(NETWORKS, "PlainConvUNet", VANILLA)
    for gigabytes in ("8", "0.05"):
        result, _ = run_plan("--network", "PlainConvUNet", "--match-vanilla-gb", gigabytes)
        for chosen in result["configurations"].values():
            assert chosen["patch_size"] == chosen["vanilla_patch_size"]
            assert chosen["batch_size"] == chosen["vanilla_batch_size"]


def test_memory_is_that_of_the_optimizer_that_trains() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)

    def optimizer(*options: str) -> str:
        return _request(parser.parse_args(["901", "--plans-name", "some", "--network", *options])).optimizer

    assert optimizer("MAUNet", "--preset") == "Adam"
    assert optimizer("AFUNet", "--preset") == "SGD"
    assert optimizer("MAUNet") == "SGD"
    assert optimizer("AFUNet", "--preset", "001") == "SGD"  # trained without _Paper


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
        (["--gpu-memory-gb", "nan"], "--gpu-memory-gb must be a finite number, got nan"),
        (["--match-vanilla-gb", "inf"], "--match-vanilla-gb must be a finite number, got inf"),
        (["--spacing-mm", "1", "nan", "1"], "--spacing-mm must be a finite number, got nan"),
        (["--window", "100", "inf"], "--window must be two finite numbers, got 100 inf"),
        (["--plans-name", "a__b"], "--plans-name must be a file's name without __"),
        (["--plans-name", "a/b"], "--plans-name must be a file's name without __"),
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
