"""Plans with the two stages of a cascade, and what nnU-Net's preprocessing and our trainers make of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from cascade_home import COARSE, FINE, GRIDS, CascadeHome, staged, use_home, write_coarse_predictions
from nnunet_home import NnunetHome, write_dataset

from nnunet_ext.cascade.settings import as_field, settings_of
from nnunet_ext.cli.main import main
from nnunet_ext.planning.coarse import coarse_spacing_mm
from nnunet_ext.planning.fallback import fallback_positions

DATASET = "Dataset930_planned"
Plan = Callable[..., tuple[dict[str, Any], CascadeHome, str]]


@pytest.fixture
def plan(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Plan:
    """A phantom with nnU-Net's fingerprint, planned by the verb, in this process."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )

    def run(grid: str, *options: str, labels: str = "plain") -> tuple[dict[str, Any], CascadeHome, str]:
        shape, home = GRIDS[grid], NnunetHome(tmp_path).create()
        use_home(home, monkeypatch)
        if not (home.root / "raw" / DATASET).exists():
            write_dataset(home, DATASET, labels=labels, cases=5, size=shape.size, spacing_mm=shape.spacing_mm)
            (home.root / "preprocessed" / DATASET).mkdir()
            DatasetFingerprintExtractor(DATASET, num_processes=1).run()
        capsys.readouterr()
        caplog.clear()
        monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # which nnU-Net's planner hands to torch as threads
        code = main(["plan", DATASET, *options, "--json"])
        monkeypatch.setenv("nnUNet_n_proc_DA", "0")
        result = json.loads(capsys.readouterr().out) if code == 0 else {}
        name = Path(result.get("plans_file", "none.json")).stem
        made = CascadeHome(home, DATASET, shape, plans=name, data=f"{name}_3d_fullres")
        return result, made, caplog.text

    return run


def preprocess(made: CascadeHome, *configurations: str) -> None:
    """As ``nnUNetv2_preprocess`` does it."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    for configuration in configurations:
        DefaultPreprocessor(verbose=False).run(DATASET, configuration, made.plans, num_processes=1)
    splits = [{"train": [c for c in made.cases if c != case], "val": [case]} for case in made.cases]
    (made.preprocessed / "splits_final.json").write_text(json.dumps(splits))


def plans_of(made: CascadeHome) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.preprocessed / f"{made.plans}.json").read_text())
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("grid", "options", "trainer"),
    [
        ("isotropic", ("--network", "AGUNet", "--fine-patch", "8", "8", "8"), "nnUNetTrainerSkeletonCascade"),
        ("anisotropic", ("--network", "ResUNet", "--group", "middle=core"), "nnUNetTrainerROICascade"),
    ],
)
def test_planned_stages_preprocess_and_train(
    plan: Plan, grid: str, options: tuple[str, ...], trainer: str
) -> None:
    result, made, _ = plan(grid, *options, "--coarse")
    configurations = plans_of(made)["configurations"]
    coarse, full, fine = (configurations[c] for c in (COARSE, "3d_fullres", FINE))
    assert coarse["architecture"]["network_class_name"].endswith("PlainConvUNet")
    assert (coarse["next_stage"], fine["previous_stage"]) == (FINE, COARSE)
    assert coarse["data_identifier"] == f"{made.plans}_3d_lowres"
    assert fine["data_identifier"] == full["data_identifier"]
    assert "inherits_from" not in fine
    assert coarse["spacing"] == ([2, 2, 2] if grid == "isotropic" else [3, 2, 2])
    assert [c["batch_dice"] for c in (coarse, full, fine)] == [False, True, True]
    for name in (COARSE, FINE):
        assert result["configurations"][name]["step_bytes"] <= result["configurations"][name]["budget_bytes"]
    features = [c["architecture"]["arch_kwargs"]["features_per_stage"][0] for c in (coarse, fine)]
    kind = fine["nnunet_ext"]["proposals"]["kind"]
    if grid == "isotropic":
        assert fine["patch_size"] == [8, 8, 8]
        assert np.prod(fine["architecture"]["arch_kwargs"]["strides"], axis=0).max() < 8
        assert (kind, features) == ("skeleton", [16, 32])
    else:
        (group,) = fine["nnunet_ext"]["proposals"]["groups"]
        assert (group["name"], group["labels"], group["size"]) == ("middle", [2], fine["patch_size"])
        # The core is in the middle of the ball, which is the body.
        assert np.abs(np.array(group["fallback"]) - 0.5).max() < 0.1
    preprocess(made, COARSE, "3d_fullres")
    first = staged(made, f"{trainer}_1epochs_1iters", COARSE)
    first.run_training()
    write_coarse_predictions(made, trainer)
    second = staged(made, f"{trainer}_1epochs_1iters", FINE)
    second.run_training()
    assert np.isfinite(second.logger.get_value("train_losses", step=-1))
    assert second.proposals.kind == kind
    assert second.num_input_channels == 3


def test_refusals(plan: Plan) -> None:
    _, _, said = plan("isotropic", "--network", "AGUNet", "--coarse", "--coarse-spacing-mm", "0.5", "1", "1")
    assert "finer than the full one of [1.0, 1.0, 1.0] mm" in said
    _, _, said = plan("isotropic", "--network", "ResUNet", "--coarse", "--group", "eye=lens")
    assert "--group eye: there is no foreground label 'lens'" in said
    _, _, said = plan("isotropic", "--network", "AGUNet", "--coarse", "--group", "a=1")
    assert "--group is for --proposals roi" in said
    _, _, said = plan("isotropic", "--network", "AGUNet", "--fine-patch", "8", "8", "8")
    assert "--fine-patch needs --coarse" in said
    _, _, said = plan("isotropic", "--network", "ResUNet", "--coarse", "--group", "eyes")
    assert "--group is NAME=LABEL,LABEL, got eyes" in said


def test_the_paper_s_grid_becomes_a_spacing() -> None:
    found = coarse_spacing_mm((0.5, 0.35, 0.35), (275, 512, 512), grid=(128, 256, 256))
    shape = np.array((0.5, 0.35, 0.35)) / found * (275, 512, 512)
    assert np.round(shape).tolist() == [128, 256, 256]


def test_fallback_positions_leave_out_what_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = NnunetHome(tmp_path).create()
    raw = write_dataset(home, DATASET, cases=3, size=(20, 20, 20), spacing_mm=(1, 1, 1))
    for case in range(3):
        image, labels = np.zeros((20, 20, 20), np.float32), np.zeros((20, 20, 20), np.uint8)
        image[2:13, 2:13, 2:13] = 100
        labels[2, 7, 12] = 1
        for array, file in ((image, f"imagesTr/case_{case}_0000"), (labels, f"labelsTr/case_{case}")):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(raw / f"{file}.nii.gz"))
    (raw / "labelsTr" / "case_1.nii.gz").write_bytes(b"no image")
    described = json.loads((raw / "dataset.json").read_text())
    plans = {
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [2, 0, 1],
        "configurations": {"3d_fullres": {"normalization_schemes": ["ZScoreNormalization"]}},
    }
    groups: dict[str, list[int]] = {"all": [], "shell": [1], "core": [2]}
    found = fallback_positions(raw, described, plans, groups)
    assert found == {"all": (1.0, 0.0, 0.5), "shell": (1.0, 0.0, 0.5)}
    assert "case_1" in caplog.text


def test_what_plan_writes_is_what_trainers_read() -> None:
    described = {"labels": {"background": 0, "a": 1, "b": 2}, "roi_groups": {"x": ["a"], "y": ["a", "b"]}}
    for kind in ("skeleton", "roi"):
        settings = settings_of({}, kind=kind, dataset_json=described)
        again = json.loads(json.dumps(as_field(settings)))
        assert settings_of(again, kind=kind, dataset_json=described) == settings
    assert [g.labels for g in replace(settings).groups] == [(1,), (1, 2)]
