"""The modifier Paper: what each paper's regime makes of nnU-Net's."""

from __future__ import annotations

import re
from math import ceil
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunet_ext.trainers.deep_supervision import unwrapped
from nnunet_ext.trainers.planned_crop import PlannedCropLoader
from nnunet_ext.trainers.registry import SINGLE_STAGE
from nnunet_home import NnunetHome
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn
from trainer_factory import make_trainer, read_log

from nnunet_ext.losses import FocalLoss
from nnunet_ext.regimes import REGIMES

PAPERS = {t.name: REGIMES[t.paper] for t in SINGLE_STAGE}


@pytest.fixture
def make(preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> Any:
    def construct(name: str, **options: Any) -> Any:
        return make_trainer(
            preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch, **options
        )

    return construct


@pytest.mark.parametrize(
    ("name", "configuration"), [*((name, "3d_fullres") for name in PAPERS), ("nnUNetTrainerAFUNet", "2d")]
)
def test_every_trainer_trains_in_its_paper_s_regime(make: Any, name: str, configuration: str) -> None:
    trainer = make(f"{name}_Paper_1epochs_2iters", configuration=configuration)
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    log = read_log(trainer)
    assert f"Regime of paper {PAPERS[name].paper}: 1 epochs x 2 iterations = 2; in the paper: " in log
    loaders = [
        augmenter.generator if hasattr(augmenter, "generator") else augmenter.data_loader
        for augmenter in (trainer.dataloader_train, trainer.dataloader_val)
    ]
    expected = PlannedCropLoader if PAPERS[name].planned_crop else nnUNetDataLoader
    assert [type(loader) for loader in loaders] == [expected] * 2
    assert hasattr(loaders[0]._data, "dataset") == PAPERS[name].planned_crop


@pytest.mark.parametrize("name", PAPERS)
def test_optimizer_rate_and_schedule(make: Any, name: str) -> None:
    regime = PAPERS[name]
    trainer = make(f"{name}_Paper")
    trainer.initialize()
    optimizer = trainer.optimizer
    assert type(optimizer) is getattr(torch.optim, regime.optimizer)
    (group,) = optimizer.param_groups
    assert group["weight_decay"] == regime.weight_decay
    assert group.get("momentum", 0) == regime.momentum
    rates = []
    for epoch in (0, trainer.num_epochs // 2, trainer.num_epochs - 1):
        trainer.lr_scheduler.step(epoch)
        rates.append(group["lr"] / regime.learning_rate)
    left = np.array([1, 0.5, 1 / trainer.num_epochs])
    assert rates == pytest.approx(left**0.9 if name == "nnUNetTrainerAFUNet" else [1, 1, 1])


@pytest.mark.parametrize("name", PAPERS)
def test_loss_and_deep_supervision(make: Any, name: str) -> None:
    regime = PAPERS[name]
    trainer = make(f"{name}_Paper")
    trainer.initialize()
    assert isinstance(trainer.loss, DeepSupervisionWrapper) == (name == "nnUNetTrainerResUNet")
    assert unwrapped(trainer.network).decoder.deep_supervision == (name == "nnUNetTrainerResUNet")
    loss = trainer.loss.loss if isinstance(trainer.loss, DeepSupervisionWrapper) else trainer.loss
    assert loss.weight_dice == 1
    assert loss.weight_ce == (regime.focal_weight if regime.loss == "DiceFocal" else 0)
    assert isinstance(loss.ce, FocalLoss) == (regime.loss == "DiceFocal")
    assert loss.dc.smooth == (1 if name == "nnUNetTrainerAGUNet" else 1e-5)  # equation 3 of paper 000


def test_what_a_name_says_overrides_the_paper(make: Any) -> None:
    trainer = make("nnUNetTrainerAFUNet_Paper_7epochs_3iters_Dice_NoDASP")
    trainer.initialize()
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch) == (7, 3)
    assert trainer.loss.weight_ce == 0
    trainer.get_tr_and_val_datasets()
    assert trainer.num_iterations_per_epoch == 3
    assert trainer.initial_lr == 1e-3
    focal = make("nnUNetTrainerRASUNet_Paper_DiceFocal")
    focal.initialize()
    assert isinstance(focal.loss.ce, FocalLoss)


def names_of(transforms: Any) -> list[str]:
    inner = [t.transform if isinstance(t, RandomTransform) else t for t in transforms.transforms]
    return [type(t).__name__ for t in inner]


INTENSITY = {
    "noise": ["GaussianNoiseTransform"],
    "photometric": ["MultiplicativeBrightnessTransform", "ContrastTransform"],
}
NEVER = ["GaussianBlurTransform", "SimulateLowResolutionTransform", "GammaTransform"]


@pytest.mark.parametrize("dummy_2d", [False, True])
@pytest.mark.parametrize("name", PAPERS)
def test_augmentation(make: Any, name: str, dummy_2d: bool) -> None:
    arguments: Any = (np.array([8, 16, 16]), (-1.0, 1.0), [[1, 1, 1], [0.5, 0.5, 0.5]], (0, 1, 2), dummy_2d)
    options: Any = {
        "use_mask_for_norm": [True],
        "is_cascaded": True,
        "foreground_labels": [1, 2],
        "regions": [[1, 2], [2]],
        "ignore_label": 3,
    }
    vanilla = make("nnUNetTrainer_5epochs_5iters").get_training_transforms(*arguments, **options)
    ours = make(f"{name}_Paper").get_training_transforms(*arguments, **options)
    wanted = PAPERS[name].augmentations
    dropped = {n for kind, names in INTENSITY.items() if kind not in wanted for n in names} | set(NEVER)
    assert names_of(ours) == [n for n in names_of(vanilla) if n not in dropped]
    (spatial,) = (t for t in ours.transforms if isinstance(t, SpatialTransform))
    assert (spatial.p_rotation > 0) == ("rotation" in wanted)
    assert (spatial.p_scaling > 0) == ("scaling" in wanted)


@pytest.mark.parametrize(
    ("name", "axes_3d", "axes_2d"),
    [
        ("nnUNetTrainerAGUNet", None, None),
        ("nnUNetTrainerMAUNet", None, None),
        ("nnUNetTrainerAFUNet", (2,), (1,)),
        ("nnUNetTrainerResUNet", (0, 1, 2), (0, 1)),
        ("nnUNetTrainerRASUNet", (0, 1, 2), (0, 1)),
    ],
)
def test_mirrored_axes(make: Any, name: str, axes_3d: Any, axes_2d: Any) -> None:
    for configuration, expected in (("3d_fullres", axes_3d), ("2d", axes_2d)):
        trainer = make(f"{name}_Paper", configuration=configuration)
        *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        assert axes == trainer.inference_allowed_mirroring_axes == expected


def test_an_epoch_is_a_pass_over_the_paper_s_samples(make: Any) -> None:
    batch = make("nnUNetTrainerAGUNet_Paper").configuration_manager.batch_size
    patch = make("nnUNetTrainerAGUNet_Paper").configuration_manager.patch_size
    shapes = []

    def iterations(name: str, **options: Any) -> int:
        trainer = make(f"{name}_Paper", **options)
        trainer.initialize()
        training, _ = trainer.get_tr_and_val_datasets()
        shapes[:] = [training.load_case(i)[0].shape[1:] for i in training.identifiers]
        found: int = trainer.num_iterations_per_epoch
        assert trainer.num_val_iterations_per_epoch == max(1, round(found / 5))
        return found

    assert iterations("nnUNetTrainerRASUNet") == ceil(4 / batch)
    tiles = iterations("nnUNetTrainerAGUNet")
    assert tiles == ceil(sum(np.prod(np.ceil(np.divide(s, patch))) for s in shapes) / batch)
    slabs = iterations("nnUNetTrainerAFUNet")
    assert slabs == ceil(sum(ceil(s[0] / patch[0]) for s in shapes) / batch)
    batch_2d = make("nnUNetTrainerAFUNet", configuration="2d").configuration_manager.batch_size
    slices = iterations("nnUNetTrainerAFUNet", configuration="2d")
    assert slices == ceil(sum(s[0] for s in shapes) / batch_2d)


def test_a_paper_that_counts_iterations(make: Any) -> None:
    """Paper 001: 40 000 iterations, in nnU-Net's epochs or those of the name."""
    for name, epochs, iterations in (
        ("nnUNetTrainerMAUNet_Paper", 160, 250),
        ("nnUNetTrainerMAUNet_Paper_30iters", 1334, 30),
        ("nnUNetTrainerMAUNet_Paper_5epochs", 5, 250),
    ):
        trainer = make(name)
        trainer.initialize()
        trainer.get_tr_and_val_datasets()
        assert (trainer.num_epochs, trainer.num_iterations_per_epoch) == (epochs, iterations)
        total = f"{epochs} epochs x {iterations} iterations = {epochs * iterations}; in the paper: 40000"
        assert total in read_log(trainer)


def test_other_plans_than_the_preset_are_warned_of(make: Any) -> None:
    def as_asked(plans: dict[str, Any]) -> None:
        plans["configurations"]["3d_fullres"]["patch_size"] = [32, 32, 32]

    trainer = make("nnUNetTrainerAGUNet_Paper")
    trainer.initialize()
    trainer.get_tr_and_val_datasets()
    warning = r"WARNING: these plans are not those of paper 000: patch [\d x]+, in the paper 32 x 32 x 32\."
    assert re.search(warning, read_log(trainer))
    # Another name, since nnU-Net's log files are told apart by their second.
    trainer = make("nnUNetTrainerAGUNet_Paper_2epochs", change_plans=as_asked)
    trainer.initialize()
    trainer.get_tr_and_val_datasets()
    assert "WARNING" not in read_log(trainer)


def test_the_dropouts_are_the_records() -> None:
    """The networks have them in any regime; the page of the regimes says how much."""
    from nnunet_ext.networks import RASUNet, ResUNet

    plan: Any = {
        "input_channels": 1,
        "num_classes": 2,
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": [1, 2],
        "nonlin": nn.LeakyReLU,
    }
    for network, number in ((ResUNet, "003"), (RASUNet, "004")):
        found = {m.p for m in network(**plan).modules() if isinstance(m, nn.modules.dropout._DropoutNd)}
        assert {f"{p:g}" for p in found} == {REGIMES[number].dropout.split()[0]}
