"""Largest patch and batch within a budget."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from arch_kwargs import SHAPES

from nnunet_ext.planning import DoesNotFitError, TrainingStep, fit, trace_step_memory

KWARGS = SHAPES[0].arch_kwargs()
TEMPLATE = TrainingStep(
    network="nnunet_ext.networks.AGUNet",
    arch_kwargs={},
    input_channels=1,
    outputs=3,
    patch_size=(),
    batch_size=1,
)


def candidate(*patch: int) -> dict[str, Any]:
    return {"patch_size": patch, "architecture": {"arch_kwargs": KWARGS}, "batch_dice": True}


def needs(patch: tuple[int, ...], batch: int) -> int:
    step = dataclasses.replace(
        TEMPLATE, arch_kwargs=KWARGS, patch_size=patch, batch_size=batch, batch_dice=True
    )
    return trace_step_memory(step).total


def fitted(budget: int, **options: Any) -> Any:
    defaults = {"dataset_voxels": 1e9, "max_dataset_covered": 0.05}
    candidates = [candidate(64, 64), candidate(32, 64), candidate(32, 32)]
    return fit(candidates, TEMPLATE, budget_bytes=budget, **{**defaults, **options})


@pytest.mark.parametrize("batch", [2, 3, 7, 20])
def test_the_largest_batch_that_fits_to_the_byte(batch: int) -> None:
    exact = needs((64, 64), batch)
    found = fitted(exact)
    assert (found.plan["patch_size"], found.plan["batch_size"]) == ((64, 64), batch)
    assert found.cost_bytes == exact
    if batch > 2:
        assert fitted(exact - 1).plan["batch_size"] == batch - 1


@pytest.mark.parametrize("batch", [2, 3, 51, 700, 999, 1000])
@pytest.mark.parametrize("weights", [0, 300, 50_000, 10**6])
def test_a_peak_that_grows_late_is_found_in_few_tries(weights: int, batch: int) -> None:
    """Up to some batch the gradients of the weights are more than the activations."""
    tried = []

    def cost(step: TrainingStep) -> int:
        tried.append(step.batch_size)
        return 2 * step.batch_size + max(weights, 100 * step.batch_size)

    budget = cost(dataclasses.replace(TEMPLATE, batch_size=batch))
    covers_1000 = {"dataset_voxels": 64 * 64 * 1000, "max_dataset_covered": 1.0}
    for allowed, expected in ((budget, batch), (budget + 1, batch), (budget - 1, batch - 1)):
        tried.clear()
        if expected >= 2:
            assert fitted(allowed, cost=cost, **covers_1000).plan["batch_size"] == expected
        assert len(tried) <= 15


def test_the_patch_shrinks_only_where_two_do_not_fit() -> None:
    found = fitted(needs((64, 64), 2) - 1)
    assert found.plan["patch_size"] == (32, 64)
    assert found.plan["batch_size"] >= 2


def test_the_batch_covers_a_share_of_the_dataset_at_most() -> None:
    """5 % of 20 patches is one; nnU-Net does not go below two."""
    budget = needs((64, 64), 20)
    for patches, batch, limit in ((20, 2, "dataset"), (100, 5, "dataset"), (10_000, 20, "memory")):
        found = fitted(budget, dataset_voxels=64 * 64 * patches)
        assert (found.plan["batch_size"], found.batch_is) == (batch, limit)


def test_the_user_s_batch() -> None:
    found = fitted(needs((64, 64), 20), batch_size=3)
    assert (found.plan["batch_size"], found.batch_is) == (3, "asked")
    found = fitted(needs((64, 64), 2), batch_size=3)
    assert (found.plan["patch_size"], found.plan["batch_size"]) == ((32, 64), 3)


def test_what_cannot_fit_says_what_would() -> None:
    message = r"AGUNet does not fit: a batch of 2 patches of \(32, 32\), the smallest tried, needs 0\.00 GiB"
    with pytest.raises(DoesNotFitError, match=message):
        fitted(1000)


def test_what_would_fit_does() -> None:
    """--gpu-memory-gb is in 10^9 bytes: the GiB that a step needs would not be enough."""
    large = [candidate(512, 512)]
    options = {"dataset_voxels": 1e9, "max_dataset_covered": 0.05, "allowed_by": "--gpu-memory-gb"}
    with pytest.raises(DoesNotFitError) as refused:
        fit(large, TEMPLATE, budget_bytes=1000, **options)
    told = re.search(r"Allow it with --gpu-memory-gb ([\d.]+), or", str(refused.value))
    assert told
    assert fit(large, TEMPLATE, budget_bytes=int(float(told[1]) * 1e9), **options).plan["batch_size"] >= 2
    with pytest.raises(DoesNotFitError, match="Allow it with a larger --match-vanilla-gb, or ask"):
        fitted(1000)
