"""Traced memory against what a real step keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from arch_kwargs import SHAPES, Shape
from training_steps import RESENC, VANILLA, step_of

from nnunet_ext import networks
from nnunet_ext.planning import TrainingStep, trace_step_memory
from nnunet_ext.planning.memory import (
    build_network,
    forward_with_loss,
    saved_by_forward,
)

RECOMPUTING = ("AFUNet", "AGUNet", "RASUNet")
OURS = [f"nnunet_ext.networks.{name}" for name in networks.__all__ if name != "UNet"]

KEEPS_ALL = [name for name in OURS if not name.endswith(RECOMPUTING)]


def really_saved(step: TrainingStep) -> int:
    """The same counted on a step that computes."""
    image = torch.randn(step.batch_size, step.input_channels, *step.patch_size)
    return saved_by_forward(step, build_network(step), image)[0]


def saved_by_autograd(step: TrainingStep) -> int:
    """Storages that autograd's hooks see being saved; weights, image and targets are there anyway."""
    network = build_network(step)
    image = torch.randn(step.batch_size, step.input_channels, *step.patch_size)
    there = {p.untyped_storage()._cdata for p in [*network.parameters(), image]}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss, outputs, targets = forward_with_loss(step, network, image)
        del outputs
        there |= {target.untyped_storage()._cdata for target in targets}
        size = sum(s.nbytes() for key, s in kept.items() if key not in there)
    del loss
    return size


@pytest.mark.parametrize("shape", SHAPES[:4], ids=lambda shape: shape.name)
@pytest.mark.parametrize("network", [VANILLA, RESENC, *KEEPS_ALL])
def test_what_lives_on_is_what_autograd_saves(network: str, shape: Shape) -> None:
    """To the loss itself, of 4 bytes; networks that compute again keep more than autograd knows of."""
    step = step_of(network, shape)
    assert really_saved(step) == saved_by_autograd(step) + 4


@pytest.mark.parametrize("shape", SHAPES[:4], ids=lambda shape: shape.name)
@pytest.mark.parametrize("network", [VANILLA, RESENC, *OURS])
def test_traced_is_what_a_step_on_the_cpu_keeps(network: str, shape: Shape) -> None:
    step = step_of(network, shape)
    assert trace_step_memory(step).saved == really_saved(step)


@pytest.mark.parametrize("targets", ["labels", "labels_ignore", "regions", "regions_ignore"])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("deep_supervision", [True, False])
def test_every_kind_of_target(targets: Any, batch_dice: bool, deep_supervision: bool) -> None:
    step = step_of(VANILLA, targets=targets, batch_dice=batch_dice, deep_supervision=deep_supervision)
    assert trace_step_memory(step).saved == really_saved(step)


@pytest.mark.parametrize("network", [VANILLA, *OURS])
def test_mixed_precision(network: str) -> None:
    """Within 1 %: real kernels keep the statistics of normalization in float32, fake ones in bfloat16."""
    step = step_of(network, autocast=torch.bfloat16)
    assert trace_step_memory(step).saved == pytest.approx(really_saved(step), rel=0.01)


def test_many_classes_make_the_loss_a_large_share() -> None:
    """With 31 classes a quarter of what is kept is the loss's; counting convolutions would miss it."""
    few, many = (trace_step_memory(step_of(VANILLA, outputs=classes)).saved for classes in (2, 31))
    assert many > 1.25 * few


def test_a_gpu_s_mixed_precision_is_traced_without_one() -> None:
    full, half = (
        trace_step_memory(step_of(VANILLA, SHAPES[1], device="cuda", autocast=dtype))
        for dtype in (None, torch.float16)
    )
    # Convolutions' inputs in half the bytes; softmax and cross-entropy stay in float32.
    assert 0.45 < half.saved / full.saved < 0.8
    assert (half.parameters, half.gradients, half.optimizer) == (
        full.parameters,
        full.gradients,
        full.optimizer,
    )


@pytest.mark.parametrize("autocast", [None, torch.float16])
def test_a_gpu_s_attention_keeps_no_n_x_n_matrix(autocast: torch.dtype | None) -> None:
    """Of 4096 positions, 2 patches and 8 groups of channels it would be half a gigabyte or one."""
    shape = Shape("", (16, 16, 16), ((3, 3, 3),), ((1, 1, 1),), (64,))
    with_it, without = (
        trace_step_memory(
            step_of(
                "nnunet_ext.networks.MAUNet",
                shape,
                arch_kwargs={**shape.arch_kwargs(), "position_attention": wanted},
                device="cuda",
                autocast=autocast,
            )
        ).saved
        for wanted in (True, False)
    )
    features = 2 * 64 * 16**3 * (4 if autocast is None else 2)
    assert features < with_it - without < 8 * features


def test_the_parts() -> None:
    step = step_of(VANILLA, SHAPES[1])
    memory = trace_step_memory(step)
    weights = 4 * sum(p.numel() for p in build_network(step).parameters())
    assert memory.parameters == memory.gradients == memory.optimizer == weights
    voxels = [8 * 12 * 16, 4 * 6 * 8]
    assert memory.batch == 2 * (4 * voxels[0] + 2 * sum(voxels))
    assert memory.total == memory.saved + 3 * weights + memory.batch
    with_adam = trace_step_memory(step_of(VANILLA, SHAPES[1], optimizer="Adam"))
    assert with_adam == replace(memory, optimizer=2 * weights)


def test_it_grows_with_the_batch_and_nothing_is_left_behind() -> None:
    one, four = (trace_step_memory(step_of(OURS[0], batch_size=size)).saved for size in (1, 4))
    assert 3.9 < four / one < 4.1
    assert not torch.is_autocast_enabled("cuda")
    assert type(torch.empty(1)) is torch.Tensor


def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a multiple of"):
        trace_step_memory(step_of(OURS[0], patch_size=(4, 18, 16)))
