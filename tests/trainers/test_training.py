"""Two real iterations of our trainers, in this process, on tiny preprocessed data."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_ext.trainers.deep_supervision import unwrapped
from nnunet_ext.trainers.registry import SINGLE_STAGE
from nnunet_home import LABELS, NnunetHome
from shared_datasets import dataset_of
from torch import nn
from trainer_factory import keep_stages, make_trainer, read_log

from nnunet_ext.losses import FocalLoss
from nnunet_ext.networks import RASUNet

TRAINER_NAMES = [trainer.name for trainer in SINGLE_STAGE]
BUDGET = "_1epochs_2iters"
# The rest of a table is left to `make test-all`.
ONE = "nnUNetTrainerRASUNet"


def long_unless(short: bool, *values: Any) -> Any:
    return pytest.param(*values, marks=() if short else pytest.mark.long)


@pytest.mark.parametrize(
    ("preprocessed", "name"),
    [
        long_unless(name == ONE or labels == "regions_ignore", labels, name)
        for name in TRAINER_NAMES
        for labels in LABELS
    ],
    indirect=["preprocessed"],
)
def test_trains_plain_labels_regions_and_ignore_label(
    preprocessed: NnunetHome, name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_of(request)
    trainer = make_trainer(preprocessed, name + BUDGET, dataset=dataset, monkeypatch=monkeypatch)
    trainer.initialize()
    before = {key: p.detach().clone() for key, p in trainer.network.named_parameters()}
    trainer.run_training()
    after = dict(trainer.network.named_parameters())
    # nnU-Net gives the smallest output the weight 0, so its head stays as it was. At 8 channels the inner
    # layer of squeeze-and-excitation is a single ReLU, which may be silent.
    stayed = [key for key, p in before.items() if torch.equal(p, after[key])]
    assert sum(not key.endswith("squeeze.bias") for key in stayed) <= 2
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    assert np.isfinite(trainer.logger.get_value("val_losses", step=-1))
    heads = {"plain": 3, "ignore": 3, "regions": 2, "regions_ignore": 2}
    assert unwrapped(trainer.network).decoder.num_classes == heads[dataset.split("_", 1)[1]]
    assert (Path(trainer.output_folder) / "checkpoint_final.pth").is_file()


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
@pytest.mark.parametrize(
    ("name", "stages"),
    [long_unless(name == ONE or stages == 2, name, stages) for name in TRAINER_NAMES for stages in (1, 2, 3)],
)
def test_trains_few_levels(
    preprocessed: NnunetHome, name: str, stages: int, configuration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nnU-Net's own formula gives NaN for two levels and an IndexError for one."""
    trainer = make_trainer(
        preprocessed,
        name + BUDGET,
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
        configuration=configuration,
        change_plans=keep_stages(stages),
    )
    if (name, stages, configuration) == ("nnUNetTrainerMAUNet", 1, "3d_fullres"):
        with pytest.raises(ValueError, match="position attention takes at most 4096 positions"):
            trainer.run_training()
        return
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    assert trainer.enable_deep_supervision == (stages > 1)
    if stages == 2:
        assert trainer.loss.weight_factors == (1.0,)
    if stages == 3:
        assert trainer.loss.weight_factors == (1.0, 0.0)


def test_without_deep_supervision_and_mirroring(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        preprocessed,
        "nnUNetTrainerRASUNet_1epochs_2iters_NoDeepSupervision_NoMirroring",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
    )
    trainer.run_training()
    assert trainer.inference_allowed_mirroring_axes is None
    assert not trainer.enable_deep_supervision
    assert isinstance(
        trainer.network(torch.zeros(1, 1, *trainer.configuration_manager.patch_size)), torch.Tensor
    )
    checkpoint = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["inference_allowed_mirroring_axes"] is None


ABLATIONS = [f"{t.name}_1epochs_1iters_{token}" for t in SINGLE_STAGE for token in t.ablations]
BASELINES = [f"{t.name}_1epochs_1iters_{'_'.join(t.ablations)}" for t in SINGLE_STAGE if len(t.ablations) > 1]
LOSSES = ["nnUNetTrainerMAUNet_1epochs_1iters", "nnUNetTrainerAFUNet_1epochs_1iters"]
LOSSES += [
    long_unless(t in ("nnUNetTrainer", "nnUNetTrainerMAUNet", ONE), f"{t}_1epochs_1iters_{m}")
    for t in ("nnUNetTrainer", *TRAINER_NAMES)
    for m in ("Dice", "DiceFocal")
]


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_leave_one_plug_out(
    preprocessed: NnunetHome, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def classes(trainer_name: str) -> set[str]:
        trainer = make_trainer(
            preprocessed, trainer_name, dataset="Dataset901_plain", monkeypatch=monkeypatch
        )
        trainer.run_training()
        return {type(module).__name__ for module in trainer.network.modules()}

    trainer, _, token = name.rpartition("_")
    plug = {
        "NoAG": "AttentionGate",
        "NoPAB": "PositionAttention",
        "NoAF": "AttentionFusion",
        "NoDASP": "DASP",
        "NoSAM": "SpatialAttention",
    }[token]
    assert plug in classes(trainer)
    assert plug not in classes(name)


@pytest.mark.parametrize("name", BASELINES)
def test_a_paper_s_baseline_is_all_ablations_at_once(
    preprocessed: NnunetHome, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    trainer.run_training()
    left = {type(module).__name__ for module in trainer.network.modules()}
    assert not left & {"AttentionGate", "PositionAttention", "AttentionFusion", "DASP"}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(preprocessed: NnunetHome, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))
    loss = trainer.loss.loss
    if name.endswith("_Dice"):
        assert loss.weight_ce == 0
        assert "Loss: Dice\n" in read_log(trainer).replace(" \n", "\n")
        return
    weight = {"nnUNetTrainerMAUNet": 0.1, "nnUNetTrainerAFUNet": 0.5}.get(name.split("_")[0], 1.0)
    assert (loss.weight_ce, loss.weight_dice) == (weight, 1)
    assert isinstance(loss.ce, FocalLoss)
    assert f"Loss: Dice + {weight:g} x focal loss (gamma 2)" in read_log(trainer)


def test_modifiers_change_what_they_say_and_nothing_else(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attributes(name: str) -> dict[str, Any]:
        trainer = make_trainer(preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
        kept = {k: v for k, v in vars(trainer).items() if isinstance(v, int | float | str | bool | None)}
        return {k: v for k, v in kept.items() if k not in ("log_file", "output_folder", "output_folder_base")}

    vanilla = attributes("nnUNetTrainer_NoMirroring")
    assert (vanilla["num_epochs"], vanilla["num_iterations_per_epoch"]) == (1000, 250)
    budget = attributes("nnUNetTrainer_20epochs_25iters")
    changed = {k: (vanilla[k], budget[k]) for k in vanilla if vanilla[k] != budget[k]}
    assert changed == {
        "num_epochs": (1000, 20),
        "num_iterations_per_epoch": (250, 25),
        "num_val_iterations_per_epoch": (50, 5),
    }
    assert attributes("nnUNetTrainer_1iters")["num_val_iterations_per_epoch"] == 1


def test_deep_supervision_equals_nnunet_s_where_nnunet_s_works(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, vanilla = (
        make_trainer(preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
        for name in ("nnUNetTrainerRASUNet", "nnUNetTrainer_5epochs_5iters")
    )
    for trainer in (ours, vanilla):
        trainer.initialize()
    assert ours._get_deep_supervision_scales() == vanilla._get_deep_supervision_scales()
    assert len(ours._get_deep_supervision_scales()) >= 3
    assert ours.loss.weight_factors == vanilla.loss.weight_factors


def test_outputs_that_do_not_fit_their_targets_are_refused(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        preprocessed, "nnUNetTrainerRASUNet", dataset="Dataset901_plain", monkeypatch=monkeypatch
    )
    monkeypatch.setattr(RASUNet, "deep_supervision_scales", [[1.0] * 3, [0.25] * 3])
    with pytest.raises(ValueError, match=r"RASUNet returns outputs of sizes .* give targets of sizes"):
        trainer.initialize()


def _vandalise(change: dict[str, Any]) -> Any:
    def apply(plans: dict[str, Any]) -> None:
        kwargs = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        for key, value in change.items():
            if value is None:
                del kwargs[key]
            else:
                kwargs[key] = value

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strides": None}, r"missing \['strides'\]"),
        ({"vision_transformer_depth": 12}, r"unknown \['vision_transformer_depth'\]"),
        (
            {"features_per_stage": [8]},
            r"RASUNet .* nnUNetPlans .* features_per_stage must be .* Use plans of",
        ),
        ({"norm_op": None}, r"missing \['norm_op'\]"),
        ({"norm_op": "torch.nn.InstanceNorm3D"}, r"classes that exist.*'norm_op': 'torch.nn.InstanceNorm3D'"),
        ({"conv_op": "torch.nn.Conv3D"}, r"classes that exist.*'conv_op': 'torch.nn.Conv3D'"),
        ({"norm_op_kwargs": {"epsilon": 1}}, "RASUNet .* nnUNetPlans .* 'epsilon'.* Use plans of"),
        ({"n_conv_per_stage": None}, r"one of n_conv_per_stage and n_blocks_per_stage .* got \[\]"),
        ({"n_blocks_per_stage": [1]}, r"one of .* got \['n_conv_per_stage', 'n_blocks_per_stage'\]"),
    ],
)
def test_corrupt_plans_are_refused(
    preprocessed: NnunetHome, change: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        preprocessed,
        "nnUNetTrainerRASUNet",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
        change_plans=_vandalise(change),
    )
    with pytest.raises(ValueError, match=message):
        trainer.initialize()


def test_a_class_that_the_plans_do_not_import_is_refused(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget_the_norm(plans: dict[str, Any]) -> None:
        plans["configurations"]["3d_fullres"]["architecture"]["_kw_requires_import"].remove("norm_op")

    trainer = make_trainer(
        preprocessed,
        "nnUNetTrainerRASUNet",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
        change_plans=forget_the_norm,
    )
    with pytest.raises(ValueError, match=r"listed in _kw_requires_import, got \{'norm_op'"):
        trainer.initialize()


def _name_ras_unet(plans: dict[str, Any]) -> None:
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            configuration["architecture"]["network_class_name"] = "nnunet_ext.networks.RASUNet"
            configuration["architecture"]["arch_kwargs"]["attention_reduction"] = 2


@pytest.mark.parametrize("name", ["nnUNetTrainer_1epochs_2iters", "nnUNetTrainerRASUNet_1epochs_2iters"])
def test_plans_that_name_the_network_train_with_any_trainer(
    preprocessed: NnunetHome, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        preprocessed,
        name,
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
        change_plans=_name_ras_unet,
    )
    trainer.run_training()
    assert isinstance(trainer.network, RASUNet)
    block = trainer.network.encoder.stages[0].block
    assert block.attention.squeeze.output_channels == block.output_channels // 2


def test_resenc_plans(preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_resenc(plans: dict[str, Any]) -> None:
        architecture = plans["configurations"]["3d_fullres"]["architecture"]
        architecture["network_class_name"] = (
            "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
        )
        kwargs = architecture["arch_kwargs"]
        kwargs["n_blocks_per_stage"] = [1, 3, 4, 6, 6, 6][: len(kwargs.pop("n_conv_per_stage"))]
        kwargs["n_conv_per_stage_decoder"] = [1] * (kwargs["n_stages"] - 1)

    trainer = make_trainer(
        preprocessed,
        "nnUNetTrainerRASUNet_1epochs_2iters",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
        change_plans=as_resenc,
    )
    trainer.run_training()
    assert np.isfinite(trainer.logger.get_value("train_losses", step=-1))


def test_fine_tuning_takes_all_but_the_heads(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    source, target = (
        make_trainer(preprocessed, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
        for name in ("nnUNetTrainerRASUNet_1epochs_1iters", "nnUNetTrainerRASUNet_NoDeepSupervision")
    )
    source.run_training()
    target.initialize()
    fresh = {key: value.clone() for key, value in target.network.state_dict().items()}
    load_pretrained_weights(target.network, str(Path(source.output_folder) / "checkpoint_final.pth"))
    weights = target.network.state_dict()
    for key, value in source.network.state_dict().items():
        assert torch.equal(weights[key], fresh[key] if ".seg_layers." in key else value), key


def test_the_trainer_s_log_and_debug_file_are_nnunet_s(
    preprocessed: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        preprocessed,
        "nnUNetTrainerRASUNet_1epochs_1iters",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
    )
    trainer.run_training()
    assert "Training done." in read_log(trainer)
    debug = json.loads((Path(trainer.output_folder) / "debug.json").read_text())
    assert debug["num_epochs"] == "1"
    assert pickle.loads(pickle.dumps(type(trainer))) is type(trainer)
    assert isinstance(trainer.network, nn.Module)
