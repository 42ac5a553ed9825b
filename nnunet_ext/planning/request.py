"""What is asked of the planner, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_ext.cascade.settings import Kind
from nnunet_ext.planning.fitting import Fit
from nnunet_ext.planning.memory import Optimizer

Base = Literal["default", "resenc"]
# Which configuration a patch is for, by its numbers.
PATCH_CONFIGURATIONS = {2: "2d", 3: "3d_fullres"}


@dataclass(frozen=True)
class CoarseRequest:
    """What is asked of the two stages of a cascade.

    Attributes:
        kind: how patches are proposed.
        spacing_mm: of the coarse stage, (z, y, x) of the images; None for ``grid`` or the planner's.
        grid: voxels that the median image is to have in the coarse stage, (z, y, x).
        fine_patch: of the fine stage, (z, y, x); None for the largest that fits.
        groups: of a region of interest: a name, and names or values of labels; () for dataset.json's.
    """

    kind: Kind
    spacing_mm: tuple[float, float, float] | None = None
    grid: tuple[int, int, int] | None = None
    fine_patch: tuple[int, int, int] | None = None
    groups: tuple[tuple[str, tuple[str | int, ...]], ...] = ()


@dataclass(frozen=True)
class PlanRequest:
    """What the user asks for.

    Attributes:
        dataset: nnU-Net's name or number.
        network: class name in ``nnunet_ext.networks``.
        plans_name: name of the plans; their file must not exist.
        base: nnU-Net's planner that decides spacing, topology and features.
        optimizer: that the network will be trained with; nnU-Net's own has SGD.
        match_vanilla_gb: nnU-Net's memory target; the budget is what its own network costs with the patch and
            the batch that this target gives.
        gpu_memory_gb: the budget instead, as the most that a step holds at once, in 10^9 bytes.
        exceeds_memory: plan a patch and batch that are both given even where they need more, with a warning.
        spacing_mm: of 3d_fullres, (z, y, x); None for nnU-Net's choice.
        patch_size: of 2d (y, x) or of 3d_fullres (z, y, x) of the images; None for the largest that fits.
        batch_size: None for the largest that fits.
        window: HU, (low, high), of every CT channel; None for nnU-Net's normalization.
        window_becomes: values of the window's ends.
        window_is_optional: a dataset without CT is planned without the window instead of refused.
        order: of the interpolation of images, 0 to 3; None for nnU-Net's.
        separate_z: nnU-Net's ``force_separate_z`` of images; None for nnU-Net's choice.
        base_features: channels of the first level; None for nnU-Net's.
        only: the configuration that ``batch_size`` and ``base_features`` are for; None for all.
        coarse: the stages of a cascade; None for no more than nnU-Net plans.
    """

    dataset: str | int
    network: str
    plans_name: str
    base: Base = "default"
    optimizer: Optimizer = "SGD"
    match_vanilla_gb: float = 8.0
    gpu_memory_gb: float | None = None
    exceeds_memory: bool = False
    spacing_mm: tuple[float, float, float] | None = None
    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = None
    window: tuple[float, float] | None = None
    window_becomes: tuple[float, float] = (-1.0, 1.0)
    window_is_optional: bool = False
    order: int | None = None
    separate_z: bool | None = None
    base_features: int | None = None
    only: str | None = None
    coarse: CoarseRequest | None = None


@dataclass(frozen=True)
class PlannedConfiguration:
    """One configuration, as planned and as nnU-Net would have it.

    Attributes:
        name: such as ``3d_fullres``.
        fit: the plan and its memory.
        vanilla: nnU-Net's plan.
        data_identifier: folder of the preprocessed data; other plans' where theirs would be the same.
        is_preprocessed: that folder exists.
    """

    name: str
    fit: Fit
    vanilla: Mapping[str, Any]
    data_identifier: str
    is_preprocessed: bool


@dataclass(frozen=True)
class Planned:
    """What was planned, and where it was written.

    Attributes:
        file: of the plans.
        configurations: those that have an architecture of their own.
        transpose_forward: which axis of the images, z y x, each axis of the plans is.
    """

    file: Path
    configurations: tuple[PlannedConfiguration, ...]
    transpose_forward: tuple[int, ...] = (0, 1, 2)
