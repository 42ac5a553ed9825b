"""Left is left: which axes are mirrored in training and in prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_home import NnunetHome
from trainer_factory import make_trainer, read_log

LATERALITY = {"pairs": [["shell", "core"]]}


def axes_of(trainer: Any) -> tuple[int, ...] | None:
    """Mirroring axes of training, after checking that prediction has the same."""
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert trainer.inference_allowed_mirroring_axes == axes
    mirrored: tuple[int, ...] | None = axes
    return mirrored


def transposed(order: list[int]) -> Callable[[dict[str, Any]], None]:
    def change(plans: dict[str, Any]) -> None:
        plans["transpose_forward"] = order

    return change


def with_record(home: NnunetHome, record: Any) -> None:
    file = home.root / "preprocessed" / "Dataset901_plain" / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **record}))


@pytest.mark.parametrize(
    ("configuration", "order", "axis", "expected"),
    [
        ("3d_fullres", [0, 1, 2], 2, (0, 1)),
        ("3d_fullres", [2, 0, 1], 2, (1, 2)),
        ("3d_fullres", [1, 0, 2], 1, (1, 2)),
        ("2d", [0, 1, 2], 2, (0,)),
        ("2d", [1, 2, 0], 2, (1,)),
        ("2d", [2, 0, 1], 2, (0, 1)),
    ],
)
def test_the_left_right_axis_is_left_out(
    own_copy: NnunetHome,
    configuration: str,
    order: list[int],
    axis: int,
    expected: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_record(own_copy, {"laterality": {**LATERALITY, "axis": axis}})
    trainer = make_trainer(
        own_copy,
        "nnUNetTrainerRASUNet",
        dataset="Dataset901_plain",
        monkeypatch=monkeypatch,
        configuration=configuration,
        change_plans=transposed(order),
    )
    assert axes_of(trainer) == expected
    said = "Left is left (shell / core): axis" in read_log(trainer)
    assert said == (len(expected) < len(trainer.configuration_manager.patch_size))


def test_a_chiral_anatomy_has_no_pairs(own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    with_record(own_copy, {"laterality": {}})
    trainer = make_trainer(
        own_copy, "nnUNetTrainerMAUNet", dataset="Dataset901_plain", monkeypatch=monkeypatch
    )
    assert axes_of(trainer) == (0, 1)
    assert "Left is left (a chiral anatomy): axis 2" in read_log(trainer)


def test_without_a_record_every_axis_is_mirrored_and_paired_names_are_warned_of(
    own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(
        own_copy, "nnUNetTrainerRASUNet", dataset="Dataset901_plain", monkeypatch=monkeypatch
    )
    assert axes_of(trainer) == (0, 1, 2)
    assert "WARNING" not in read_log(trainer)
    with_record(own_copy, {"labels": {"background": 0, "eye_left": 1, "eye_right": 2}})
    for name, warned in (("nnUNetTrainerRASUNet", True), ("nnUNetTrainerRASUNet_NoMirroring", False)):
        trainer = make_trainer(own_copy, name, dataset="Dataset901_plain", monkeypatch=monkeypatch)
        assert axes_of(trainer) == ((0, 1, 2) if warned else None)
        record = 'Add "laterality": {"pairs": [["eye_left", "eye_right"]], "axis": 2} to dataset.json'
        assert (record in read_log(trainer)) == warned


def test_a_record_of_other_labels_is_refused(own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    with_record(own_copy, {"laterality": {"pairs": [["eye left", "eye right"]]}})
    trainer = make_trainer(
        own_copy, "nnUNetTrainerRASUNet", dataset="Dataset901_plain", monkeypatch=monkeypatch
    )
    with pytest.raises(ValueError, match=r"no labels \['eye left', 'eye right'\]"):
        axes_of(trainer)


def test_the_checkpoint_tells_the_predictor(own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    with_record(own_copy, {"laterality": LATERALITY})
    trainer = make_trainer(
        own_copy, "nnUNetTrainerRASUNet_1epochs_1iters", dataset="Dataset901_plain", monkeypatch=monkeypatch
    )
    trainer.run_training()
    saved = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert saved["inference_allowed_mirroring_axes"] == (0, 1)


def test_training_never_mirrors_that_axis(own_copy: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """F.15 for training: with every other augmentation off, left stays left in what the network sees."""
    with_record(own_copy, {"laterality": LATERALITY})
    trainer = make_trainer(
        own_copy, "nnUNetTrainerRASUNet_Paper", dataset="Dataset901_plain", monkeypatch=monkeypatch
    )
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    transforms = trainer.get_training_transforms(
        np.array([8, 8, 8]), (0.0, 0.0), None, axes, False, use_mask_for_norm=[False]
    )
    # A ramp along each axis; x is the last.
    ramp = torch.arange(8.0).expand(1, 8, 8, 8)
    image = torch.cat([ramp.movedim(3, axis) for axis in (1, 2, 3)])
    torch.manual_seed(0)
    rising = {axis: set() for axis in range(3)}
    for _ in range(40):
        seen = transforms(image=image.clone(), segmentation=torch.zeros(1, 8, 8, 8))["image"]
        for axis in range(3):
            along = seen[axis].movedim(axis, 0)
            rising[axis].add(bool(along[-1].mean() > along[0].mean()))
    assert rising == {0: {True, False}, 1: {True, False}, 2: {True}}
