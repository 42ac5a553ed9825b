"""The verb translate, from two preprocessed datasets to a mixed one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nnunet_home import NnunetHome, write_dataset
from translation_home import CT, MR, PLANS, TranslationHome, write_home

from nnunet_ext.cli.main import main
from nnunet_ext.cli.translate_actions import _mirroring_axes
from nnunet_ext.translation.folder import WARNING

SMALL = {
    "--steps": 2,
    "--features": 2,
    "--blocks": 1,
    "--discriminator-features": 2,
    "--discriminator-layers": 1,
    "--pool-size": 1,
    "--workers": 0,
    "--picture-every": 0,
    "--device": "cpu",
}
SMALL_TRAINING = (*(str(word) for pair in SMALL.items() for word in pair), "--no-pbar")
RunTranslate = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def home(tmp_path: Path) -> TranslationHome:
    return write_home(tmp_path / "home", cases=5)


@pytest.fixture
def translate(
    home: TranslationHome,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> RunTranslate:
    """The verb in this process: exit code, the last line of stdout and what was logged."""
    monkeypatch.setenv("nnUNet_raw", str(home.raw))
    monkeypatch.setenv("nnUNet_preprocessed", str(home.preprocessed))

    def run(*arguments: object) -> tuple[int, dict[str, Any], str]:
        caplog.clear()
        capsys.readouterr()
        code = main(["translate", *map(str, arguments)])
        lines = capsys.readouterr().out.splitlines()
        return code, json.loads(lines[-1]) if lines else {}, caplog.text

    return run


def test_the_whole_way(home: TranslationHome, translate: RunTranslate, tmp_path: Path) -> None:
    model = tmp_path / "model"
    plans = ("-p", PLANS, "-c", "tiny", *SMALL_TRAINING)
    code, result, _ = translate("train", 41, "Dataset042_CT", "--out", model, *plans)
    assert (code, result) == (0, {"model": str(model), "steps": 2, "left_out": 0})
    code, result, log = translate("apply", model, 41, "--dataset-id", 43, "--no-pbar")
    assert (code, result["written"], result["refused"]) == (0, 5, 0)
    assert WARNING in log
    code, result, _ = translate("match", 41, 42, "--dataset-id", 44, "--no-pbar")
    assert (code, result["written"]) == (0, 5)
    for synthetic in (43, 44):
        code, result, _ = translate(
            "mix", 42, synthetic, "--fraction", 0.4, "--dataset-id", synthetic + 10, "--no-pbar"
        )
        assert code == 0
        assert {k: v for k, v in result.items() if k != "dataset"} == {
            "real": 5,
            "synthetic_cases": 2,
            "of_a_real_patient": 0,
        }
    assert (home.raw / "Dataset053_Mixed" / "splits_final.json").is_file()
    # Typed again, the same; with another fraction, refused.
    assert translate("mix", 42, 43, "--fraction", 0.4, "--dataset-id", 53, "--no-pbar")[0] == 0
    code, _, log = translate("mix", 42, 43, "--fraction", 0.6, "--dataset-id", 53, "--no-pbar")
    assert code == 2
    assert "mixed otherwise" in log


def test_a_model_of_another_modality_is_refused(
    home: TranslationHome, translate: RunTranslate, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    translate("train", 41, 42, "--out", model, "-p", PLANS, "-c", "tiny", *SMALL_TRAINING)
    code, _, log = translate("apply", model, 42, "--dataset-id", 43, "--no-pbar")
    assert code == 2
    assert "knows images of channels {'0': 'MR'}, got {'0': 'CT'}" in log
    record = json.loads((model / "translation.json").read_text())
    (model / "translation.json").write_text(json.dumps({**record, "steps_done": 1}))
    code, _, log = translate("apply", model, 41, "--dataset-id", 43, "--no-pbar")
    assert code == 2
    assert "was trained 1 of 2 steps" in log
    assert translate("apply", model, 41, "--dataset-id", 43, "--unfinished", "--no-pbar")[0] == 0


def test_wrong_datasets_and_arguments(translate: RunTranslate, tmp_path: Path) -> None:
    plans = ("-p", PLANS, "-c", "tiny", *SMALL_TRAINING)
    code, _, log = translate("train", 42, 41, "--out", tmp_path / "m", *plans)
    assert (code, "expected CT as the target" in log) == (2, True)
    code, _, log = translate("train", 41, 99, "--out", tmp_path / "m", *plans)
    assert (code, "expected one dataset 99" in log) == (2, True)
    code, _, log = translate("train", 41, 42, "--out", tmp_path / "m", *plans, "--steps", 0)
    assert (code, "at least one step" in log) == (2, True)
    code, _, log = translate("apply", tmp_path / "none", 41, "--dataset-id", 43)
    assert (code, "expected a trained translation" in log) == (2, True)
    assert translate("mix", 42, 41, "--fraction", 0.5, "--dataset-id", 43)[0] == 2


def test_a_bad_case_makes_exit_code_1(home: TranslationHome, translate: RunTranslate) -> None:
    (home.raw / MR / "imagesTr" / "mr_2_0000.nii.gz").write_bytes(b"cut off")
    code, result, log = translate("match", 41, 42, "--dataset-id", 44, "--no-pbar")
    assert (code, result["written"], result["refused"]) == (1, 4, 1)
    assert "mr_2 is not translated" in log


def test_left_and_right_are_not_mirrored(home: TranslationHome) -> None:
    assert _mirroring_axes(*home.domains()) == (0, 1, 2)
    file = home.preprocessed / CT / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "laterality": {"pairs": [], "axis": 2}}))
    assert _mirroring_axes(*home.domains()) == (0, 1)


@pytest.mark.stock
@pytest.mark.long
def test_plans_that_agree_and_a_mixed_dataset_that_nnunet_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of the way as a user types it, on two datasets of stock nnU-Net."""
    home = NnunetHome(tmp_path).create()
    for number, modality in ((61, "MR"), (62, "CT")):
        folder = write_dataset(home, f"Dataset0{number}_{modality}", size=(24, 32, 32))
        file = folder / "dataset.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "channel_names": {"0": modality}}))
    home.run("nnUNetv2_extract_fingerprint", "-d", "61", "62", "-np", "1")
    options = ("--spacing-mm", 2, 1, 1, "--patch-size", 16, 16, 16, "--window", -100, 300)
    home.run("nnunet_ext", "translate", "plan", 61, 62, *map(str, options))
    name = "nnUNetTranslationPlans"
    home.run("nnUNetv2_preprocess", "-d", "61", "62", "-plans_name", name, "-c", "3d_fullres", "-np", "1")
    model = tmp_path / "model"
    home.run("nnunet_ext", "translate", "train", 61, 62, "--out", model, *SMALL_TRAINING)
    home.run("nnunet_ext", "translate", "apply", model, 61, "--dataset-id", 63)
    home.run("nnunet_ext", "translate", "mix", 62, 63, "--fraction", 0.4, "--dataset-id", 64)
    home.run(
        "nnUNetv2_plan_and_preprocess", "-d", "64", "-c", "3d_fullres", "-npfp", "1", "-np", "1",
        "--verify_dataset_integrity",
    )  # fmt: skip
    trainer = "nnUNetTrainerRASUNet_1epochs_1iters"
    home.run("nnUNetv2_train", "64", "3d_fullres", "0", "-tr", trainer, "-device", "cpu")
    validated = list(
        (home.root / "results").glob(f"Dataset064_Mixed/{trainer}__*/fold_0/validation/*.nii.gz")
    )
    assert len(validated) == 1
    assert "synthetic" not in validated[0].name
