"""The traced peak of a training step against that of a real one on the CPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from training_steps import VANILLA, step_of

from nnunet_ext.planning import trace_step_memory
from nnunet_ext.planning.live import LiveMemory
from nnunet_ext.planning.peak import run_step, trace_peak_bytes

NETWORKS = [VANILLA, "nnunet_ext.networks.MAUNet", "nnunet_ext.networks.RASUNet"]


def test_live_memory_counts_from_making_to_end() -> None:
    with LiveMemory() as memory:
        first = torch.zeros(100)
        view = first[10:]  # no storage of its own
        second = first + 1
        assert memory.now == 800
        del first
        assert memory.now == 800  # the view holds it
        del view
        assert memory.now == 400
        second.add_(1)
        assert (memory.now, memory.peak) == (400, 800)


@pytest.mark.parametrize(("targets", "optimizer"), [("labels", "SGD"), ("regions", "Adam")])
@pytest.mark.parametrize("network", NETWORKS)
def test_fake_tensors_come_and_go_as_real_ones(network: str, targets: Any, optimizer: Any) -> None:
    step = step_of(network, targets=targets, optimizer=optimizer)
    with LiveMemory() as memory:
        run_step(step)
    assert trace_peak_bytes(step) == memory.peak


@pytest.mark.parametrize("network", NETWORKS[:2])
def test_the_allocator_sees_the_same_peak(network: str) -> None:
    """Counted by PyTorch's profiler, which sees what kernels allocate inside, too: within 10 %."""
    patch = (16, 48, 48)  # at the sizes of the other tests the kernels' workspaces would be most of it
    step = step_of(network, patch_size=patch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run_step(step)
    now = peak = 0
    for event in profiled.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    assert trace_peak_bytes(step) == pytest.approx(peak, rel=0.1)


def test_adam_keeps_another_number_for_each_weight() -> None:
    sgd, adam = (trace_peak_bytes(step_of(VANILLA, optimizer=optimizer)) for optimizer in ("SGD", "Adam"))
    assert adam - sgd == trace_step_memory(step_of(VANILLA)).gradients


def test_a_gpu_s_step_in_mixed_precision_takes_less() -> None:
    full, mixed = (
        trace_peak_bytes(step_of(VANILLA, device="cuda", autocast=dtype)) for dtype in (None, torch.float16)
    )
    assert 0.5 * full < mixed < 0.9 * full
    kept = trace_step_memory(step_of(VANILLA, device="cuda", autocast=torch.float16))
    # Gradients are not there yet when the most activations are.
    assert mixed > kept.saved + kept.parameters + kept.optimizer + kept.batch
