"""The largest patch and batch of a network within the memory of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any, Literal

from nnunet_ext.planning.memory import TrainingStep, trace_step_memory

GIB = 2**30
Cost = Callable[[TrainingStep], int]
Limit = Literal["memory", "dataset", "asked", "vanilla"]
Allowance = Literal["--match-vanilla-gb", "--gpu-memory-gb"]


@dataclass(frozen=True)
class Fit:
    """A plan that fits.

    Attributes:
        plan: one configuration of nnU-Net's plans.
        cost_bytes: of its training step.
        budget_bytes: what it may cost.
        batch_is: as large as fits (``memory``), as covers the share of the dataset that a batch may have
            (``dataset``), as was ``asked``, or as in nnU-Net's own plan (``vanilla``).
    """

    plan: Mapping[str, Any]
    cost_bytes: int
    budget_bytes: int
    batch_is: Limit = "memory"


class DoesNotFitError(ValueError):
    """No patch of nnU-Net's leaves room for two of them."""


def kept_bytes(step: TrainingStep) -> int:
    """What a step keeps when its backward pass begins: the cost by which networks are compared."""
    return trace_step_memory(step).total


def step_of_plan(plan: Mapping[str, Any], template: TrainingStep, *, batch_size: int) -> TrainingStep:
    """The training step that a configuration describes; ``template`` knows channels and targets."""
    return dataclasses.replace(
        template,
        arch_kwargs=plan["architecture"]["arch_kwargs"],
        patch_size=tuple(int(n) for n in plan["patch_size"]),
        batch_size=batch_size,
        batch_dice=bool(plan.get("batch_dice", False)),
    )


def fit(
    candidates: Iterable[Mapping[str, Any]],
    template: TrainingStep,
    *,
    budget_bytes: int,
    dataset_voxels: float,
    max_dataset_covered: float,
    min_batch_size: int = 2,
    batch_size: int | None = None,
    cost: Cost = kept_bytes,
    allowed_by: Allowance = "--match-vanilla-gb",
) -> Fit:
    """The first candidate that fits, with the largest batch that does.

    Args:
        candidates: plans of one configuration, the largest patch first.
        template: the network, its channels and targets.
        budget_bytes: what ``cost`` may come to.
        dataset_voxels: voxels of all training images at the plan's spacing.
        max_dataset_covered: largest share of them in one batch, nnU-Net's guard against overfitting.
        min_batch_size: nnU-Net's, which the guard does not go below.
        batch_size: the user's; None for the largest.
        cost: bytes of a step; grows with the batch.
        allowed_by: the option that the budget comes from, for what is said where nothing fits.

    Raises:
        DoesNotFitError: no candidate fits; the message says what the smallest needs.
    """
    smallest: tuple[Mapping[str, Any], int] | None = None
    for plan in candidates:
        step = step_of_plan(plan, template, batch_size=batch_size or min_batch_size)
        needed = cost(step)
        smallest = (plan, needed)
        if needed > budget_bytes:
            continue
        limit: Limit = "asked"
        if batch_size is None:
            covered = round(dataset_voxels * max_dataset_covered / prod(step.patch_size))
            at_most = max(covered, min_batch_size)
            step, needed = _largest_batch(step, needed, budget_bytes=budget_bytes, at_most=at_most, cost=cost)
            limit = "dataset" if step.batch_size == at_most else "memory"
        return Fit({**plan, "batch_size": step.batch_size}, needed, budget_bytes, limit)
    raise DoesNotFitError(
        _explain(smallest, template, budget_bytes, batch_size or min_batch_size, allowed_by)
    )


def _largest_batch(
    step: TrainingStep, needed: int, *, budget_bytes: int, at_most: int, cost: Cost
) -> tuple[TrainingStep, int]:
    """The step with the largest batch that fits, and its cost; that of ``step`` does.

    What is kept grows by the same amount with every patch: two tries find the largest batch. The peak does
    not, where a small batch needs less than the gradients of the weights: then the distance is halved.
    """
    if at_most <= step.batch_size:
        return step, needed
    each = cost(dataclasses.replace(step, batch_size=step.batch_size + 1)) - needed
    guess = step.batch_size + (budget_bytes - needed) // each if each > 0 else at_most
    guesses = iter((guess, guess + 1))
    fits, too_large = step, at_most + 1
    while too_large - fits.batch_size > 1:
        size = next(guesses, (fits.batch_size + too_large) // 2)
        size = min(max(size, fits.batch_size + 1), too_large - 1)
        larger = dataclasses.replace(step, batch_size=size)
        found = cost(larger)
        if found <= budget_bytes:
            fits, needed = larger, found
        else:
            too_large = size
    return fits, needed


def _explain(
    smallest: tuple[Mapping[str, Any], int] | None,
    template: TrainingStep,
    budget_bytes: int,
    batch_size: int,
    allowed_by: Allowance,
) -> str:
    network = template.network.rpartition(".")[2]
    if smallest is None:
        return f"there is no plan to fit {network} into"
    plan, needed = smallest
    # --gpu-memory-gb is the budget itself, in 10^9 bytes; from --match-vanilla-gb it only follows.
    is_budget = allowed_by == "--gpu-memory-gb"
    more = f"{allowed_by} {ceil(needed / 1e7) / 100:.2f}" if is_budget else f"a larger {allowed_by}"
    return (
        f"{network} does not fit: a batch of {batch_size} patches of {tuple(plan['patch_size'])}, the "
        f"smallest tried, needs {needed / GIB:.2f} GiB, and {budget_bytes / GIB:.2f} GiB are allowed. "
        f"Allow it with {more}, or ask for a smaller patch or batch."
    )
