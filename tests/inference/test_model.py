"""Model folders: found, loaded, and what is missing is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import Tiny

from nnunet_ext.inference.model import ModelError, available_folds, find_model, load_model, our_trainers_found


def test_each_fold_has_its_own_weights(model_folder: Callable[[Tiny], Path]) -> None:
    folder = model_folder(Tiny(folds=(0, 1)))
    model = load_model(folder)
    assert (model.folds, model.heads, model.image_channels, model.configuration) == ((0, 1), 3, 1, "tiny")
    for fold, network in zip(model.folds, model.networks, strict=True):
        saved = torch.load(folder / f"fold_{fold}" / "checkpoint_final.pth", weights_only=False)
        assert all(torch.equal(saved["network_weights"][k], v) for k, v in network.state_dict().items())
        assert not network.training


def test_folds_are_chosen_in_the_order_given(model_folder: Callable[[Tiny], Path]) -> None:
    assert load_model(model_folder(Tiny(folds=(0, 1))), folds=[1]).folds == (1,)


def test_all_is_taken_only_where_no_numbered_fold_is_there(tmp_path: Path) -> None:
    for name in ("fold_all", "fold_10", "fold_2", "fold_3"):
        (tmp_path / name).mkdir()
    (tmp_path / "fold_all" / "c.pth").touch()
    assert available_folds(tmp_path, "c.pth") == ("all",)
    for name in ("fold_10", "fold_2"):
        (tmp_path / name / "c.pth").touch()
    assert available_folds(tmp_path, "c.pth") == (2, 10)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": [3]}, r"checkpoint_final.pth of fold 3 .* folds that have it: 0; .* -f and -chk"),
        (
            {"checkpoint": "checkpoint_best.pth"},
            r"checkpoint_best.pth .* checkpoints that exist: checkpoint_final",
        ),
        ({"folds": [0, 0]}, "each fold once"),
    ],
)
def test_a_missing_checkpoint_is_named(
    options: dict[str, object], said: str, model_folder: Callable[[Tiny], Path]
) -> None:
    with pytest.raises(ModelError, match=said):
        load_model(model_folder(Tiny()), **options)  # type: ignore[arg-type]


def test_a_file_cut_off_is_a_refusal_with_its_folder(
    model_folder: Callable[[Tiny], Path], tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model_folder(Tiny()), copy)
    file = copy / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=f"the model in {copy} cannot be loaded"):
        load_model(copy)


def test_checksums_change_with_weights_and_plans(
    model_folder: Callable[[Tiny], Path], tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model_folder(Tiny()), copy)
    before = load_model(copy).checksums()
    assert set(before) == {"plans.json", "dataset.json", "fold_0/checkpoint_final.pth"}
    (copy / "plans.json").write_text((copy / "plans.json").read_text() + "\n")
    after = load_model(copy).checksums()
    assert [name for name in before if before[name] != after[name]] == ["plans.json"]


def test_find_model_names_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    trained = tmp_path / "Dataset990_tiny" / "nnUNetTrainer__nnUNetPlans__2d"
    trained.mkdir(parents=True)
    assert find_model(dataset="Dataset990_tiny", configuration="2d") == trained
    with pytest.raises(ModelError, match="trained for this dataset: nnUNetTrainer__nnUNetPlans__2d"):
        find_model(dataset="Dataset990_tiny", configuration="3d_fullres")
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(ModelError, match="nnUNet_results is not defined"):
        find_model(dataset="Dataset990_tiny", configuration="2d")


@pytest.mark.parametrize("variable", [None, "/somewhere/else"])
def test_our_trainers_are_found_without_the_variable(
    variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    if variable:
        monkeypatch.setenv("nnUNet_extTrainer", variable)
    with our_trainers_found():
        assert recursive_find_trainer_class_by_name("nnUNetTrainerRASUNet").__name__ == "nnUNetTrainerRASUNet"
    assert os.environ.get("nnUNet_extTrainer") == variable
