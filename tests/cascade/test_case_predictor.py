"""`predict` with a cascade says of an image what validation in training said of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
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
    plans_with_stages,
    staged,
    use_home,
    write_coarse_predictions,
)
from float_sums import sum_in_float32
from nnunet_home import LABELS
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.cascade.case_predictor import CascadePredictor, CascadeSettings, background_planes
from nnunet_ext.cascade.model import coarse_folder, load_coarse, proposals_of
from nnunet_ext.cascade.proposals import Proposed
from nnunet_ext.cascade.resampling import logits_of
from nnunet_ext.cascade.settings import OnEmpty, SkeletonProposals
from nnunet_ext.cascade.windows import no_windows
from nnunet_ext.inference.cases import find_cases, prepare_case
from nnunet_ext.inference.model import Model, ModelError, load_model
from nnunet_ext.inference.predictor import Settings
from nnunet_ext.inference.report import RunReport
from nnunet_ext.inference.run import predict_cases

SKELETON, ROI = "nnUNetTrainerSkeletonCascade", "nnUNetTrainerROICascade"
BUDGET = "_1epochs_2iters"
FULL_SCAN = 2 * 3 * 3  # patches of 8 x 24 x 24, half a patch apart, in 12 x 40 x 40 voxels


def train(made: CascadeHome, name: str) -> Path:
    """Both stages of fold 0, with their validations; returns the fine model's folder."""
    write_coarse_predictions(made, name)
    for configuration in (COARSE, FINE):
        trainer = staged(made, name, configuration)
        trainer.run_training()
        trainer.perform_actual_validation(save_probabilities=configuration == FINE)
    return Path(trainer.output_folder_base)


def predicted(made: CascadeHome, fine: Model, output: Path, **options: Any) -> RunReport:
    """Of the case that fold 0 validates."""
    raw = made.home.root / "raw" / made.dataset / "imagesTr"
    cases = find_cases([raw / "case_0_0000.nii.gz"], file_ending=".nii.gz")
    predictor = cascade(fine, **options)
    return predict_cases(predictor, cases, output=output, probabilities=True, worker=False)


def cascade(fine: Model, **options: Any) -> CascadePredictor:
    return CascadePredictor(fine, **{"coarse": load_coarse(fine), "proposals": proposals_of(fine), **options})


def labels_in(file: Path) -> np.ndarray:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file))))


def stored_case(made: CascadeHome, trainer: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Image, coarse result and properties of the validated case, as the fine stage trains on them."""
    dataset = nnUNetDatasetBlosc2(
        str(made.preprocessed / "nnUNetPlans_3d_fullres"),
        ["case_0"],
        folder_with_segs_from_previous_stage=str(made.predictions(trainer)),
    )
    data, _, previous, properties = dataset.load_case("case_0")
    return data[:], np.asarray(previous[:]).squeeze(), properties


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> CascadeHome:
    labels, grid = getattr(request, "param", ("plain", "anisotropic"))
    home = make_cascade_home(tmp_path, labels=labels, grid=grid)
    use_home(home.home, monkeypatch)
    torch.manual_seed(0)
    return home


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (("plain", "anisotropic"), SKELETON),
        (("ignore", "isotropic"), ROI),
        (("regions", "transposed"), SKELETON),
        (("plain", "smaller than the patch"), ROI),
    ],
    indirect=["made"],
    ids=str,
)
def test_labels_are_those_of_validation(made: CascadeHome, name: str, tmp_path: Path) -> None:
    fine = load_model(train(made, name + BUDGET))
    report = predicted(made, fine, tmp_path / "out")
    (case,) = report.cases
    assert (case.status, case.reason) == ("done", "")
    assert set(case.seconds) >= {"preprocessing", "coarse", "proposals", "network", "resampling", "export"}
    validation = fine.folder / "fold_0" / "validation"
    windows = json.loads((validation.parent / "cascade_validation.json").read_text())["cases"]["case_0"][
        "windows"
    ]
    assert case.tiles == windows
    found, expected = (labels_in(folder / "case_0.nii.gz") for folder in (tmp_path / "out", validation))
    np.testing.assert_array_equal(found, expected)
    here, there = (np.load(f / "case_0.npz")["probabilities"] for f in (tmp_path / "out", validation))
    np.testing.assert_allclose(here, there, atol=1e-5)


def test_the_coarse_result_is_that_of_training(made: CascadeHome) -> None:
    """Resampled from grid to grid as nnU-Net does it for the training of the fine stage."""
    name = SKELETON + BUDGET
    predictor = cascade(load_model(train(made, name)))
    raw = made.home.root / "raw" / made.dataset / "imagesTr" / "case_0_0000.nii.gz"
    case = prepare_case(find_cases([raw], file_ending=".nii.gz")[0], predictor.preparation)
    np.testing.assert_array_equal(predictor._coarse_labels(case), stored_case(made, name)[1])


@pytest.mark.parametrize("policy", [OnEmpty.EMPTY, OnEmpty.FULLSCAN, OnEmpty.FALLBACK, OnEmpty.FAIL])
def test_nothing_found(
    made: CascadeHome,
    policy: OnEmpty,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fine = load_model(train(made, SKELETON + BUDGET))
    monkeypatch.setattr(
        CascadePredictor, "_coarse_labels", lambda self, case: np.zeros(case.data.shape[1:], np.uint8)
    )
    options = {"cascade": CascadeSettings(on_empty=policy)}
    (case,) = predicted(made, fine, tmp_path / "out", **options).cases
    if policy is OnEmpty.FAIL:
        assert case.status == "failed"
        assert "found nothing of foreground" in case.reason
        assert not (tmp_path / "out" / "case_0.nii.gz").exists()
        return
    assert case.notes == ("coarse_empty: the coarse model found nothing of foreground",)
    assert "case_0: coarse_empty: the coarse model found nothing of foreground" in caplog.text
    labels = labels_in(tmp_path / "out" / "case_0.nii.gz")
    if policy is OnEmpty.EMPTY:
        assert case.tiles == 0
        assert not labels.any()
    else:
        assert case.tiles == {OnEmpty.FULLSCAN: FULL_SCAN, OnEmpty.FALLBACK: 1}[policy]


def test_everywhere_is_stock_prediction_with_the_coarse_result(
    made: CascadeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(made, ROI + BUDGET)
    (case,) = predicted(made, load_model(folder), tmp_path / "out", proposals=None).cases
    assert case.status == "done"
    # nnU-Net adds tiles up in half precision: with float32 nothing but rounding is left between the two.
    sum_in_float32(monkeypatch)
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), [0])
    data, previous, properties = stored_case(made, ROI + BUDGET)
    behind = [previous == label for label in predictor.label_manager.foreground_labels]
    stacked = torch.from_numpy(np.concatenate([data, np.stack(behind).astype(np.float32)]))
    expected = convert_predicted_logits_to_segmentation_with_correct_shape(
        predictor.predict_sliding_window_return_logits(stacked),
        predictor.plans_manager,
        predictor.configuration_manager,
        predictor.label_manager,
        properties,
    )
    np.testing.assert_array_equal(labels_in(tmp_path / "out" / "case_0.nii.gz"), expected)


def test_a_thin_tube_is_resampled_as_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC F.4, on the way to the image: a tube of two voxels, certain to 0.9, at a factor of 1.5."""
    plans = PlansManager(plans_with_stages("Dataset920_plain", GRIDS["isotropic"]))
    described = {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", **LABELS["plain"]}
    configuration, shape, new_shape = plans.get_configuration(FINE), (20, 40, 20), (30, 60, 30)
    merged = torch.zeros(3, *shape)
    merged[1, 10:12, :, 10:12] = 0.9
    merged[0] = 1 - merged[1]
    predictor = object.__new__(CascadePredictor)
    predictor.model = SimpleNamespace(
        plans_manager=plans,
        configuration_manager=configuration,
        label_manager=plans.get_label_manager(described),
        heads=3,
    )
    predictor.proposals = SkeletonProposals()
    box = tuple(slice(0, n) for n in shape)
    for name, result in (
        ("_coarse_labels", None),
        ("_propose", Proposed(no_windows((16, 16, 16), shape))),
        ("_probability_planes", background_planes(shape, heads=3, has_regions=False, box=box, inside=merged)),
    ):
        monkeypatch.setattr(predictor, name, lambda *_, result=result, **__: result)
    case: Any = SimpleNamespace(
        data=torch.zeros(1, *shape),
        properties={"spacing": [1 / 1.5] * 3, "shape_after_cropping_and_before_resampling": new_shape},
    )
    found = predictor.predict(case).labels

    def volume(values: torch.Tensor) -> int:
        grids = (list(new_shape), [1.0] * 3, [1 / 1.5] * 3)
        resampled = np.asarray(configuration.resampling_fn_probabilities(values.numpy(), *grids))
        return int(np.count_nonzero(resampled.argmax(0)))

    expected = volume(merged)
    assert np.count_nonzero(found) == pytest.approx(expected, rel=0.02)
    assert abs(volume(logits_of(merged, has_regions=False)) - expected) > 0.2 * expected


def test_without_mirroring_neither_stage_mirrors(made: CascadeHome) -> None:
    fine = load_model(train(made, ROI + BUDGET))
    plain = cascade(fine, settings=Settings(mirroring_axes=()))
    assert (plain._fine.forward.passes, plain._coarse.forward.passes) == (1, 1)
    assert plain.record() != cascade(fine).record()


def test_the_coarse_model_is_found_and_checked(made: CascadeHome, tmp_path: Path) -> None:
    folder = train(made, ROI + BUDGET)
    fine = load_model(folder)
    assert proposals_of(fine) is not None
    coarse = load_coarse(fine)
    assert (coarse.configuration, coarse.folds) == (COARSE, (0,))
    with pytest.raises(ModelError, match="--coarse-model"):
        load_coarse(replace(fine, folder=_moved(folder, tmp_path)))
    with pytest.raises(ModelError, match=f"expected a model of {COARSE}"):
        load_coarse(fine, folder=folder)
    with pytest.raises(ModelError, match="labels"):
        load_coarse(replace(fine, dataset_json={"labels": {"background": 0}}))
    shutil.copytree(folder / "fold_0", folder / "fold_3")
    assert load_coarse(replace(fine, folds=(0, 3))).folds == (0,)


def test_folds_of_different_coarse_trainers_are_not_mixed(made: CascadeHome) -> None:
    folder = train(made, ROI + BUDGET)
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    assert coarse_folder(load_model(folder)).name.startswith(ROI + BUDGET)
    file = folder / "fold_1" / "checkpoint_final.pth"
    stored = torch.load(file, weights_only=False)
    torch.save({**stored, "nnunet_ext": {"coarse_trainer": ROI}}, file)
    both = load_model(folder)
    with pytest.raises(ModelError, match="coarse predictions of different trainers"):
        load_coarse(both)
    assert load_coarse(load_model(folder, folds=[0])).folds == (0,)


def _moved(folder: Path, tmp_path: Path) -> Path:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / folder.name).symlink_to(folder)
    return alone / folder.name


def test_settings_are_recorded(made: CascadeHome) -> None:
    predictor = cascade(load_model(train(made, SKELETON + BUDGET)), proposals=SkeletonProposals(dilation=2))
    record = json.loads(json.dumps(predictor.record()))
    assert record["proposals"]["dilation"] == 2
    assert set(record["coarse"]["files"]) >= {"plans.json", "fold_0/checkpoint_final.pth"}
