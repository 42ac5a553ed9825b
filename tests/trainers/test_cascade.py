"""Both stages of the cascades, trained and validated for an iteration or two in this process."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from cascade_home import (
    COARSE,
    FINE,
    GRIDS,
    CascadeHome,
    make_cascade_home,
    staged,
    use_home,
    write_coarse_predictions,
)
from nnunet_ext.trainers.proposal_loader import ProposalLoader
from nnunet_ext.trainers.stages import StageError
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from trainer_factory import read_log

from nnunet_ext import trainers
from nnunet_ext.cascade.records import LeakError, read_record, save_record
from nnunet_ext.cascade.settings import ProposalSettingsError
from nnunet_ext.losses import FocalLoss, NoDice
from nnunet_ext.networks import RASUNet

SKELETON, ROI, MAUNET = (
    "nnUNetTrainerSkeletonCascade",
    "nnUNetTrainerROICascade",
    "nnUNetTrainerROICascadeMAUNet",
)
BUDGET = "_1epochs_1iters"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> CascadeHome:
    labels, grid = getattr(request, "param", ("plain", "isotropic"))
    home = make_cascade_home(tmp_path, labels=labels, grid=grid)
    use_home(home.home, monkeypatch)
    return home


def losses_are_finite(trainer: Any) -> bool:
    return all(np.isfinite(trainer.logger.get_value(f"{k}_losses", step=-1)) for k in ("train", "val"))


def report_of_validation(trainer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(trainer.output_folder) / "cascade_validation.json").read_text())
    return found


def first_convolution(network: torch.nn.Module) -> torch.Tensor:
    return next(weights for weights in network.parameters() if weights.ndim == 5)


def compound(trainer: Any) -> Any:
    return trainer.loss.loss if isinstance(trainer.loss, DeepSupervisionWrapper) else trainer.loss


def test_five_coarse_folds_then_fold_all_then_the_fine_stage(made: CascadeHome) -> None:
    name = SKELETON + BUDGET
    for fold in range(5):
        coarse = staged(made, name, COARSE, fold=fold)
        coarse.run_training()
        assert losses_are_finite(coarse)
        assert type(coarse.network).__name__ == "PlainConvUNet"
        assert isinstance(compound(coarse).dc, NoDice)
        coarse.perform_actual_validation()
    folder = made.predictions(name)
    for fold, case in enumerate(made.cases):
        record = read_record(folder, case)
        assert record is not None
        assert (record.fold, record.trainer, record.saw_its_case) == (fold, name, False)
        assert record.training_cases == tuple(made.splits[fold]["train"])
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    everything = staged(made, name, COARSE, fold="all")
    everything.run_training()
    everything.perform_actual_validation()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert "Fold all saw every case" in read_log(everything)
    assert everything.configuration_manager.next_stage_names == [FINE]

    fine = staged(made, name, FINE)
    fine.run_training()
    assert losses_are_finite(fine)
    assert type(fine.network).__name__ == "AGUNet"
    assert compound(fine).weight_ce == 0
    fine.perform_actual_validation(save_probabilities=True)
    report = report_of_validation(fine)
    assert set(report["cases"]) == set(made.splits[0]["val"])
    assert report["coarse_trainer"] == name
    assert "Stage one finds (recall ceiling)" in read_log(fine)
    image = sitk.ReadImage(str(made.preprocessed / "gt_segmentations" / "case_0.nii.gz"))
    written = sitk.ReadImage(str(Path(fine.output_folder) / "validation" / "case_0.nii.gz"))
    assert written.GetSize() == image.GetSize()
    probabilities = np.load(Path(fine.output_folder) / "validation" / "case_0.npz")["probabilities"]
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-4)
    stored = torch.load(Path(fine.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert stored["nnunet_ext"] == {"coarse_trainer": name}


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (("ignore", "anisotropic"), SKELETON),
        (("regions_ignore", "transposed"), ROI),
        (("regions", "isotropic"), MAUNET),
        (("plain", "smaller than the patch"), SKELETON),
    ],
    indirect=["made"],
    ids=str,
)
def test_every_kind_of_labels_and_grid(made: CascadeHome, name: str) -> None:
    shared = ROI if name == MAUNET else name
    coarse = staged(made, shared + BUDGET, COARSE)
    coarse.run_training()
    coarse.perform_actual_validation()
    assert losses_are_finite(coarse)
    assert read_record(made.predictions(shared + BUDGET), "case_0") is not None
    write_coarse_predictions(made, name + BUDGET)
    fine = staged(made, name + BUDGET, FINE)
    fine.run_training()
    assert losses_are_finite(fine)
    assert isinstance(fine.dataloader_train.data_loader, ProposalLoader)
    fine.perform_actual_validation()
    case = report_of_validation(fine)["cases"]["case_0"]
    assert case["windows"] >= 1
    # The coarse result is the reference: all of it lies in windows.
    assert {scores["recall_ceiling"] for scores in case["labels"].values()} == {1.0}
    assert (Path(fine.output_folder) / "validation" / "summary.json").is_file()


def test_the_fine_stage_of_fold_all_uses_the_folds(made: CascadeHome) -> None:
    write_coarse_predictions(made, SKELETON)
    fine = staged(made, SKELETON + BUDGET, FINE, fold="all")
    fine.run_training()
    assert losses_are_finite(fine)
    # Variants share one coarse model: a budget of its own had none.
    assert fine.coarse_folds.trainer == SKELETON
    report = json.loads((Path(fine.output_folder) / "proposals.json").read_text())
    assert set(report["cases"]) == set(made.cases)
    assert report["mean"]["training"]["recall_ceiling"] == 1.0
    assert f"Coarse predictions: out of fold, by {SKELETON}" in read_log(fine)


def test_variants_share_coarse_folds_and_a_resumed_run_stays_with_its_own(made: CascadeHome) -> None:
    write_coarse_predictions(made, SKELETON)
    name = f"{SKELETON}_1epochs_1iters_NoAG"
    fine = staged(made, name, FINE)
    fine.run_training()
    assert "AttentionGate" not in {type(module).__name__ for module in fine.network.modules()}
    write_coarse_predictions(made, f"{SKELETON}_1epochs_1iters")
    later = staged(made, name, FINE)
    assert later.coarse_folds.trainer == f"{SKELETON}_1epochs_1iters"
    later.load_checkpoint(str(Path(fine.output_folder) / "checkpoint_final.pth"))
    assert later.coarse_folds.trainer == SKELETON
    assert later.folder_with_segs_from_previous_stage == str(made.predictions(SKELETON))
    mau_net = staged(made, MAUNET, FINE)
    assert mau_net.coarse_folds.trainer == MAUNET
    assert not mau_net.coarse_folds.is_there
    write_coarse_predictions(made, ROI)
    assert staged(made, MAUNET, FINE).coarse_folds.trainer == ROI


def _without_record(made: CascadeHome, folder: Path) -> None:
    for file in folder.glob("*.coarse.json"):
        file.unlink()


def _change_splits(made: CascadeHome, folder: Path) -> None:
    splits = made.splits
    changed = [*splits[:3], {"train": splits[3]["train"][1:], "val": splits[3]["val"]}, splits[4]]
    (made.preprocessed / "splits_final.json").write_text(json.dumps(changed))


def _remove(made: CascadeHome, folder: Path) -> None:
    (folder / "case_2.b2nd").unlink()


def _overwrite(made: CascadeHome, folder: Path) -> None:
    (folder / "case_2.b2nd").write_bytes((folder / "case_3.b2nd").read_bytes())


def _see_everything(made: CascadeHome, folder: Path) -> None:
    record = read_record(folder, "case_1")
    assert record is not None
    save_record(replace(record, training_cases=tuple(made.cases)), folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_record, "nobody knows whether its model saw them: case_0"),
        (_change_splits, "before splits_final.json changed: case_3"),
        (_remove, "1 cases have no coarse prediction: case_2"),
        (_overwrite, "not the one that was recorded: case_2"),
        (_see_everything, "a coarse model that was trained on them: case_1"),
    ],
)
def test_a_leak_is_refused_with_the_command(made: CascadeHome, spoil: Any, message: str) -> None:
    folder = write_coarse_predictions(made, ROI)
    spoil(made, folder)
    fine = staged(made, MAUNET, FINE)
    with pytest.raises(LeakError, match=message) as caught:
        fine.run_training()
    assert f"nnUNetv2_train Dataset920_plain 3d_lowres FOLD -p nnUNetPlans -tr {ROI}" in str(caught.value)


def _moved_to(made: CascadeHome, fold: int, case: str) -> None:
    """New splits, in which a fold validates another case."""
    split = {"train": [c for c in made.cases if c != case], "val": [case]}
    changed = [split if number == fold else one for number, one in enumerate(made.splits)]
    (made.preprocessed / "splits_final.json").write_text(json.dumps(changed))


@pytest.mark.parametrize("goes_on", [False, True], ids=["--val", "--c"])
def test_a_record_says_what_the_weights_saw_not_what_the_splits_say_by_now(
    made: CascadeHome, goes_on: bool
) -> None:
    """--val or --c after the splits changed: the model saw the case that it validates now."""
    name = ROI + BUDGET
    first = staged(made, name, COARSE)
    first.run_training()
    first.perform_actual_validation()
    assert "trained on other cases" not in read_log(first)
    _moved_to(made, 0, "case_1")
    again = staged(made, name, COARSE)
    again.load_checkpoint(str(Path(first.output_folder) / "checkpoint_final.pth"))
    if goes_on:
        again.num_epochs = 2
        again.run_training()
    again.perform_actual_validation()
    assert "trained on other cases than splits_final.json has now" in read_log(again)
    record = read_record(made.predictions(name), "case_1")
    assert record is not None
    assert record.saw_its_case
    assert set(record.training_cases) == (set(made.cases) if goes_on else set(made.cases) - {"case_0"})
    fine = staged(made, name, FINE)
    fine.initialize()
    with pytest.raises(LeakError, match="trained on them: case_1") as caught:
        fine.require_coarse_predictions(["case_1"])
    assert "which trains it again" in str(caught.value)


def test_a_checkpoint_that_does_not_say_what_it_saw_leaves_no_record(made: CascadeHome) -> None:
    name = ROI + BUDGET
    first = staged(made, name, COARSE)
    first.run_training()
    file = Path(first.output_folder) / "checkpoint_final.pth"
    stored = torch.load(file, weights_only=False)
    # Names may be patients', and weights travel.
    assert not any(case in json.dumps(stored["nnunet_ext"]) for case in made.cases)
    torch.save({key: value for key, value in stored.items() if key != "nnunet_ext"}, file)
    again = staged(made, name, COARSE)
    again.load_checkpoint(str(file))
    again.perform_actual_validation()
    assert "does not say which cases it was trained on" in read_log(again)
    assert read_record(made.predictions(name), "case_0") is None


@pytest.mark.parametrize(
    ("name", "to_train"),
    [
        (f"{MAUNET}_5epochs_NoPAB", f"{ROI}_5epochs"),
        (MAUNET, ROI),
        (f"{SKELETON}_Paper_NoAG", f"{SKELETON}_Paper"),
    ],
)
def test_without_any_coarse_prediction_the_message_names_the_trainer(
    made: CascadeHome, name: str, to_train: str
) -> None:
    with pytest.raises(LeakError, match="5 cases have no coarse prediction") as caught:
        staged(made, name, FINE).run_training()
    assert f"-tr {to_train};" in str(caught.value)


def test_proposals_are_computed_once(made: CascadeHome, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunet_ext.cascade import cache

    computed = []
    propose = cache.propose

    def counted(*arguments: Any, **options: Any) -> Any:
        computed.append(1)
        return propose(*arguments, **options)

    monkeypatch.setattr(cache, "propose", counted)
    folder = write_coarse_predictions(made, SKELETON)
    for _ in range(2):
        fine = staged(made, SKELETON + BUDGET, FINE)
        fine.initialize()
        fine.get_dataloaders()
        assert len(computed) == 5
    # Workers get the windows with the dataset: what they unpickle computes nothing.
    loader = pickle.loads(pickle.dumps(fine.get_dataloaders()[0].data_loader._data))
    assert set(loader.windows) == set(made.splits[0]["train"])
    (folder / "case_4.proposals.json").write_text("half a f")
    again = staged(made, SKELETON + BUDGET, FINE)
    again.initialize()
    again.get_dataloaders()
    assert len(computed) == 6


@pytest.mark.parametrize("name", [SKELETON, ROI])
def test_nothing_found(made: CascadeHome, name: str) -> None:
    def find_nothing(case: str, coarse: np.ndarray) -> np.ndarray:
        return coarse * (case != "case_0")

    write_coarse_predictions(made, name, change=find_nothing)
    fine = staged(made, name + BUDGET, FINE)
    fine.run_training()
    fine.perform_actual_validation()
    case = report_of_validation(fine)["cases"]["case_0"]
    assert case["coarse_empty"] == ["foreground"]
    # Two steps along each axis of a full scan; one box in the middle of the body.
    assert case["windows"] == (8 if name == SKELETON else 1)
    assert "coarse_empty: foreground" in read_log(fine)


def test_the_image_alone(made: CascadeHome) -> None:
    write_coarse_predictions(made, SKELETON)
    fine = staged(made, f"{SKELETON}_1epochs_1iters_NoCoarseInput", FINE)
    fine.run_training()
    patch = torch.randn(1, 3, *GRIDS["isotropic"].fine_patch)
    other = torch.cat([patch[:, :1], 1 - patch[:, 1:]], dim=1)
    fine.network.eval()
    with torch.no_grad():
        for a, b in zip(fine.network(patch), fine.network(other), strict=True):
            assert torch.equal(a, b)
    assert first_convolution(fine.network).shape[1] == 1
    fine.perform_actual_validation()
    both = staged(made, SKELETON, FINE)
    both.initialize()
    both.network.eval()
    assert first_convolution(both.network).shape[1] == 3
    with torch.no_grad():
        assert not torch.equal(both.network(patch)[0], both.network(other)[0])


@pytest.mark.parametrize("loss", ["Dice", "DiceFocal"])
def test_a_chosen_loss_is_the_fine_stage_s(made: CascadeHome, loss: str) -> None:
    coarse, fine = (staged(made, f"{SKELETON}_{loss}", stage) for stage in (COARSE, FINE))
    for trainer in (coarse, fine):
        trainer.initialize()
    assert isinstance(compound(coarse).dc, NoDice)
    assert compound(coarse).weight_ce == 1
    assert not isinstance(compound(fine).dc, NoDice)
    assert isinstance(compound(fine).ce, FocalLoss) == (loss == "DiceFocal")


@pytest.mark.parametrize(("name", "number"), [(SKELETON, "000"), (ROI, "003"), (MAUNET, "001")])
def test_the_papers_regimes_in_both_stages(made: CascadeHome, name: str, number: str) -> None:
    write_coarse_predictions(made, getattr(trainers, name).coarse_trainer)
    for stage in (COARSE, FINE):
        trainer = staged(made, f"{name}_Paper_1epochs_1iters", stage)
        trainer.run_training()
        assert losses_are_finite(trainer)
        assert f"Regime of paper {number}" in read_log(trainer)
        assert isinstance(trainer.optimizer, torch.optim.Adam)
        assert ("configuration 3d" in read_log(trainer)) is False
    if name == SKELETON:
        passes = staged(made, f"{name}_Paper", FINE)
        passes.initialize()
        training, _ = passes.get_tr_and_val_datasets()
        windows = sum(len(w) for w in training.windows.values())
        assert passes.num_iterations_per_epoch == -(-windows // 2)


def test_what_is_no_stage_is_refused(made: CascadeHome) -> None:
    with pytest.raises(StageError, match=r"3d_fullres is none.*nnunet_ext plan Dataset920_plain .* --coarse"):
        staged(made, SKELETON, "3d_fullres")
    with pytest.raises(NotImplementedError, match="cascade in 3D; 2d is in 2D"):
        staged(made, ROI, "2d")
    assert not made.results.exists()

    def without_stages(plans: dict[str, Any]) -> None:
        del plans["configurations"][COARSE], plans["configurations"][FINE]

    with pytest.raises(StageError, match=r"no 3d_lowres.*plan Dataset920_plain --network AGUNet --coarse"):
        staged(made, SKELETON, COARSE, change_plans=without_stages)

    def between(plans: dict[str, Any]) -> None:
        plans["configurations"][FINE]["next_stage"] = "another"

    with pytest.raises(NotImplementedError, match="stands between two others"):
        staged(made, ROI, FINE, change_plans=between)

    def by_skeleton(plans: dict[str, Any]) -> None:
        plans["configurations"][FINE]["nnunet_ext"] = {"proposals": {"kind": "skeleton"}}

    with pytest.raises(ProposalSettingsError, match="by 'skeleton' and this trainer by 'roi'"):
        staged(made, ROI, FINE, change_plans=by_skeleton)


def test_another_fine_network_is_one_line_in_the_docs(made: CascadeHome) -> None:
    page = (Path(__file__).parents[2] / "docs" / "cascade.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    named: dict[str, Any] = {"__name__": "contributed"}
    exec(code, named)
    write_coarse_predictions(made, ROI)
    fine = staged(made, "", FINE, cls=named["nnUNetTrainerROICascadeRASUNet"])
    fine.num_epochs = fine.num_iterations_per_epoch = fine.num_val_iterations_per_epoch = 1
    fine.run_training()
    assert isinstance(fine.network, RASUNet)
    assert fine.coarse_folds.trainer == ROI


def test_composed_classes_pickle() -> None:
    for name in (f"{MAUNET}_Paper_5epochs_NoAG_NoCoarseInput", f"{SKELETON}_NoMirroring", ROI):
        cls = getattr(trainers, name)
        assert pickle.loads(pickle.dumps(cls)) is cls


def test_stock_prediction_with_the_coarse_result(made: CascadeHome, tmp_path: Path) -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    write_coarse_predictions(made, SKELETON)
    fine = staged(made, f"{SKELETON}_1epochs_1iters_NoCoarseInput", FINE)
    fine.run_training()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(fine.output_folder_base, (0,), "checkpoint_final.pth")
    image = made.home.root / "raw" / made.dataset / "imagesTs" / "unseen_0000.nii.gz"
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
    previous = (array > 60).astype(np.int16)
    predicted = predictor.predict_single_npy_array(
        array[None], {"spacing": list(made.grid.spacing_mm)}, segmentation_previous_stage=previous[None]
    )
    assert predicted.shape == array.shape
