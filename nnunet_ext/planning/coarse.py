"""The two stages of a cascade in nnU-Net's plans: where nnU-Net plans none, and with a patch of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_ext.cascade.settings import (
    COARSE,
    FINE,
    Proposals,
    RoiGroup,
    RoiProposals,
    SkeletonProposals,
    as_field,
    foreground_values,
    groups_of_dataset,
    label_values,
)
from nnunet_ext.planning.fallback import fallback_positions
from nnunet_ext.planning.fitting import Fit, kept_bytes, step_of_plan
from nnunet_ext.planning.plan_fields import plain
from nnunet_ext.planning.request import CoarseRequest, PlannedConfiguration

if TYPE_CHECKING:
    from nnunet_ext.planning.planner import FittedPlanner
    from nnunet_ext.planning.shared_data import PlansBeside

FULL = "3d_fullres"


def add_stages(
    planner: FittedPlanner,
    plans: dict[str, Any],
    asked: CoarseRequest,
    *,
    vanilla: Mapping[str, Any],
    beside: PlansBeside,
) -> list[PlannedConfiguration]:
    """Write ``3d_lowres`` and ``3d_cascade_fullres`` into plans that have ``3d_fullres``.

    Args:
        planner: that made the plans.
        plans: changed in place.
        asked: what the stages are to be.
        vanilla: nnU-Net's own plan of ``3d_fullres``.
        beside: the dataset's other plans.

    Returns:
        What was planned for the two.

    Raises:
        ValueError: the coarse spacing is finer than the full one; a group of labels that there are not.
        DoesNotFitError: the fine network does not fit.
    """
    configurations = plans["configurations"]
    configurations[FULL]["batch_dice"] = True  # as nnU-Net has it where there is a coarse stage
    coarse = _coarse_plan(planner, plans, asked, vanilla)
    fine_fit = planner.fit(
        FINE,
        {**vanilla, "batch_dice": True},
        plans,
        patch=asked.fine_patch,
        extra_input_channels=len(foreground_values(planner.dataset_json)),
    )
    fine = plain(fine_fit.plan)
    fine["data_identifier"] = configurations[FULL]["data_identifier"]
    settings = _proposals(planner, plans, asked, tuple(fine["patch_size"]))
    configurations[COARSE] = {**coarse, "next_stage": FINE}
    configurations[FINE] = {**fine, "previous_stage": COARSE, **as_field(settings)}
    beside.share_data(plans, COARSE)
    cost = kept_bytes(
        step_of_plan(coarse, planner.template(plans, planned=coarse), batch_size=coarse["batch_size"])
    )
    fits = {COARSE: (Fit(coarse, cost, cost, "vanilla"), coarse), FINE: (fine_fit, vanilla)}
    identifiers = {name: configurations[name]["data_identifier"] for name in fits}
    return [
        PlannedConfiguration(name, fit, own, identifiers[name], beside.has_data(identifiers[name]))
        for name, (fit, own) in fits.items()
    ]


def coarse_spacing_mm(
    full_spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    *,
    spacing_mm: Sequence[float] | None = None,
    grid: Sequence[int] | None = None,
) -> tuple[float, ...]:
    """The spacing of the coarse stage, along the same axes as the arguments.

    Args:
        full_spacing_mm: of ``3d_fullres``.
        median_shape: of the training images at that spacing.
        spacing_mm: as asked for.
        grid: voxels that the median image is to have: paper 000 reduces every image to 128 x 256 x 256.

    Returns:
        What is asked for; else twice the full spacing along every axis that is not that coarse already.

    Raises:
        ValueError: it would be finer than the full spacing.

    Example:
        >>> coarse_spacing_mm((3.0, 1.0, 1.0), (40, 256, 256))
        (3.0, 2.0, 2.0)
        >>> coarse_spacing_mm((0.5, 0.35, 0.35), (256, 512, 512), grid=(128, 256, 256))
        (1.0, 0.7, 0.7)
    """
    finest = min(full_spacing_mm)
    if spacing_mm is not None:
        found = [float(s) for s in spacing_mm]
    elif grid is not None:
        found = [s * n / g for s, n, g in zip(full_spacing_mm, median_shape, grid, strict=True)]
    else:
        found = [2 * s if s < 2 * finest else s for s in full_spacing_mm]
    if any(c < f * 0.999 for c, f in zip(found, full_spacing_mm, strict=True)):
        raise ValueError(
            f"the coarse stage would have a spacing of {[round(c, 3) for c in found]} mm, finer than the "
            f"full one of {[round(float(f), 3) for f in full_spacing_mm]} mm: ask for a larger "
            "--coarse-spacing-mm or a smaller --coarse-grid"
        )
    return tuple(found)


def _coarse_plan(
    planner: FittedPlanner, plans: Mapping[str, Any], asked: CoarseRequest, vanilla: Mapping[str, Any]
) -> dict[str, Any]:
    """nnU-Net's plan of its own network at the coarse spacing."""
    order = plans["transpose_forward"]
    full, shape = np.array(vanilla["spacing"]), np.array(vanilla["median_image_size_in_voxels"])
    spacing = np.array(
        coarse_spacing_mm(
            full.tolist(),
            shape.tolist(),
            spacing_mm=_transposed(asked.spacing_mm, order),
            grid=_transposed(asked.grid, order),
        )
    )
    small = tuple(max(1, round(n)) for n in (full / spacing * shape).tolist())
    features = planner.request.base_features or planner.UNet_base_num_features
    most = planner.UNet_max_features_3d
    # Paper 000: the fine network has twice the channels of the coarse one.
    factor = 2 if asked.kind == "skeleton" else 1
    with planner.changed(
        UNet_base_num_features=max(1, features // factor), UNet_max_features_3d=max(1, most // factor)
    ):
        found = planner.get_plans_for_configuration(
            spacing,
            small,
            planner.generate_data_identifier(COARSE),
            float(np.prod(small, dtype=np.float64) * planner.dataset_json["numTraining"]),
            {},
        )
    return plain({**found, "batch_dice": False})


def _proposals(
    planner: FittedPlanner, plans: Mapping[str, Any], asked: CoarseRequest, patch: tuple[int, ...]
) -> Proposals:
    if asked.kind == "skeleton":
        return SkeletonProposals()
    described = planner.dataset_json
    labels: dict[str, tuple[int, ...]] = {
        name: tuple(label_values(list(values), described, where=f"--group {name}"))
        for name, values in asked.groups
    } or {group["name"]: tuple(group["labels"]) for group in groups_of_dataset(described)}
    positions = fallback_positions(planner.raw_dataset_folder, described, plans, labels)
    return RoiProposals(
        tuple(RoiGroup(name, values, patch, positions.get(name)) for name, values in labels.items())
    )


def _transposed(values: Sequence[Any] | None, order: Sequence[int]) -> list[Any] | None:
    return None if values is None else [values[axis] for axis in order]
