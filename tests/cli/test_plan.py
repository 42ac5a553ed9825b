"""The verb plan on a preprocessed phantom dataset, and what stock nnU-Net makes of its plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunet_home import NnunetHome

from nnunet_ext.cli.main import main


def run_plan(home: NnunetHome, *options: str, check: bool = True) -> tuple[dict[str, Any], str]:
    done = home.run("nnunet_ext", "plan", "901", *options, "--json", check=check)
    return json.loads(done.stdout or "{}"), done.stderr


@pytest.mark.stock
def test_plans_in_vanilla_s_memory_share_its_data_and_train(own_copy: NnunetHome) -> None:
    result, _ = run_plan(own_copy, "--network", "RASUNet")
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


@pytest.mark.stock
def test_window_order_and_spacing_get_data_of_their_own(own_copy: NnunetHome) -> None:
    options = ("--window", "0", "150", "--order", "1", "--spacing-mm", "4", "1", "1", "--batch-size", "2")
    result, _ = run_plan(own_copy, "--network", "AGUNet", *options)
    assert {c["batch_size"] for c in result["configurations"].values()} == {2}
    plans = json.loads(Path(result["plans_file"]).read_text())
    fullres = plans["configurations"]["3d_fullres"]
    assert fullres["spacing"] == [4.0, 1.0, 1.0]
    assert fullres["resampling_fn_data_kwargs"]["order"] == 1
    assert fullres["data_identifier"] == "nnUNetAGUNetPlans_3d_fullres"
    intensity = plans["foreground_intensity_properties_per_channel"]["0"]
    assert [intensity[k] for k in ("percentile_00_5", "percentile_99_5", "mean", "std")] == [0, 150, 75, 75]
    # The same again: another name, the same data. nnU-Net's planner of ResEnc plans would mix up the data.
    again, _ = run_plan(own_copy, "--network", "MAUNet", "--planner", "resenc", *options)
    assert again["configurations"]["3d_fullres"]["data_identifier"] == "nnUNetAGUNetPlans_3d_fullres"
    own, _ = run_plan(own_copy, "--network", "MAUNet", "--planner", "resenc", "--order", "0")
    chosen = own["configurations"]["3d_fullres"]
    assert (chosen["data_identifier"], chosen["is_preprocessed"]) == ("nnUNetMAUNetPlans2_3d_fullres", False)


@pytest.mark.stock
def test_refusals(own_copy: NnunetHome) -> None:
    _, said = run_plan(own_copy, "--network", "AGUNet", "--plans-name", "nnUNetPlans", check=False)
    assert "nnUNetPlans.json exists: plans are not overwritten" in said
    _, said = run_plan(own_copy, "--network", "AGUNet", "--batch-size", "5000", check=False)
    assert "AGUNet does not fit: a batch of 5000 patches" in said
    assert not list((own_copy.root / "preprocessed" / "Dataset901_plain").glob("nnUNetAGUNet*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "--batch-size must be above 0, got 0"),
        (["--match-vanilla-gb", "-1"], "--match-vanilla-gb must be above 0, got -1"),
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
