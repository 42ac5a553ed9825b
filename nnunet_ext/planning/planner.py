"""nnU-Net's planners with another network, in the memory that nnU-Net's own would have used."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.planning.fitting import GIB, Fit, fit, kept_bytes, step_of_plan
from nnunet_ext.planning.memory import TrainingStep
from nnunet_ext.planning.peak import trace_peak_bytes
from nnunet_ext.planning.request import PATCH_CONFIGURATIONS, PlanRequest

logger = logging.getLogger(__name__)

BASES: Mapping[str, type[ExperimentPlanner]] = {"default": ExperimentPlanner, "resenc": ResEncUNetPlanner}

ANY_SHARE = 1e9  # of the dataset in one batch: no limit
ANY_MEMORY_GB = 1e9
BYTES_PER_GB = 1e9
# Memory targets tried, as factors of the user's: nnU-Net's patch shrinks with the target.
TARGETS = [2 ** (1 - step / 16) for step in range(6 * 16)]


class FittedPlanner(ExperimentPlanner):
    """Mixin of nnU-Net's planners: remembers what each configuration was planned from, and writes nothing."""

    request: PlanRequest
    UNet_vram_target_GB: float
    max_dataset_covered: float

    def get_plans_for_configuration(
        self,
        spacing: Any,
        median_shape: Any,
        data_identifier: str,
        approximate_n_voxels_dataset: float,
        _cache: dict[str, Any],
    ) -> dict[str, Any]:
        """nnU-Net's plan; notes the arguments, so that it can be asked again for another memory target."""
        asked: dict[str, Any] = self.__dict__.setdefault("asked", {})
        asked[data_identifier] = (np.array(spacing), median_shape, approximate_n_voxels_dataset, _cache)
        planned: dict[str, Any] = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        return planned

    def generate_data_identifier(self, configuration_name: str) -> str:
        """Data of these plans' own, unless others turn out to be the same.

        nnU-Net's planner of ResEnc plans takes those of the default plans, whatever the spacing.
        """
        return f"{self.plans_identifier}_{configuration_name}"

    def determine_resampling(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's, with the user's interpolation of images."""
        data, data_kwargs, seg, seg_kwargs = super().determine_resampling(*args, **kwargs)
        asked = {"order": self.request.order, "force_separate_z": self.request.separate_z}
        data_kwargs = {**data_kwargs, **{key: value for key, value in asked.items() if value is not None}}
        return data, data_kwargs, seg, seg_kwargs

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Nothing: the plans are written when they are complete."""
        recursive_fix_for_json_export(plans)

    def template(
        self,
        plans: dict[str, Any],
        *,
        planned: Mapping[str, Any] | None = None,
        extra_input_channels: int = 0,
    ) -> TrainingStep:
        """A training step of the network, or of the one that a configuration plans, without its shape."""
        network = f"nnunet_ext.networks.{self.request.network}"
        if planned is not None:
            network = planned["architecture"]["network_class_name"]
        template = _template(plans, self.dataset_json, network)
        channels = template.input_channels + extra_input_channels
        return dataclasses.replace(template, input_channels=channels, optimizer=self.request.optimizer)

    def fit(
        self,
        name: str,
        vanilla: Mapping[str, Any],
        plans: dict[str, Any],
        *,
        patch: tuple[int, ...] | None = None,
        extra_input_channels: int = 0,
    ) -> Fit:
        """The largest patch and batch of the network in the memory of nnU-Net's plan.

        Args:
            name: of the configuration.
            vanilla: nnU-Net's plan of it.
            plans: nnU-Net's.
            patch: instead of the largest, along the axes of the images; None for the request's, if that is
                for this configuration.
            extra_input_channels: of our network alone: the coarse result in a cascade.
        """
        template = self.template(plans, extra_input_channels=extra_input_channels)
        request = self.request
        is_asked_for = request.only in (None, name)
        if patch is None and request.patch_size is not None:
            patch = request.patch_size if PATCH_CONFIGURATIONS[len(request.patch_size)] == name else None
        if patch is not None and len(patch) == 3:
            patch = tuple(patch[axis] for axis in plans["transpose_forward"])
        if request.gpu_memory_gb is None:
            budget, cost = self._budget_bytes(vanilla, self.template(plans)), kept_bytes
        else:
            budget, cost = int(request.gpu_memory_gb * BYTES_PER_GB), trace_peak_bytes
        features = request.base_features if is_asked_for and request.base_features else None
        *_, voxels, _cache = self.asked[vanilla["data_identifier"]]
        batch = request.batch_size if is_asked_for else None
        nothing_to_choose = request.exceeds_memory and patch is not None and batch is not None
        with self.changed(UNet_base_num_features=features or self.UNet_base_num_features):
            fitted = fit(
                self._candidates(vanilla, template.network, patch=patch),
                template,
                budget_bytes=int(ANY_MEMORY_GB * BYTES_PER_GB) if nothing_to_choose else budget,
                dataset_voxels=voxels,
                max_dataset_covered=self.max_dataset_covered,
                min_batch_size=self.UNet_min_batch_size,
                batch_size=batch,
                cost=cost,
                allowed_by="--match-vanilla-gb" if request.gpu_memory_gb is None else "--gpu-memory-gb",
            )
        if fitted.cost_bytes > budget:
            logger.warning(
                "%s: a batch of %s patches of %s needs %.2f GiB; nnU-Net's own step needs %.2f GiB",
                name,
                batch,
                patch,
                fitted.cost_bytes / GIB,
                budget / GIB,
            )
        return dataclasses.replace(fitted, budget_bytes=budget)

    def _budget_bytes(self, vanilla: Mapping[str, Any], template: TrainingStep) -> int:
        """What a step of nnU-Net's network keeps with the batch that the memory target allows.

        The plan's own batch may be smaller, since it covers 5 % of the dataset at most. That is a guard
        against overfitting and says nothing of the memory; it holds for our batch too.
        """
        with self.changed(max_dataset_covered=ANY_SHARE):
            unguarded = self._ask_again(vanilla)
        name = vanilla["architecture"]["network_class_name"]
        own = dataclasses.replace(template, network=name, optimizer="SGD")
        batch_size = max(int(unguarded["batch_size"]), int(vanilla["batch_size"]))
        return kept_bytes(step_of_plan(vanilla, own, batch_size=batch_size))

    def _candidates(
        self, vanilla: Mapping[str, Any], network: str, *, patch: tuple[int, ...] | None
    ) -> Iterator[dict[str, Any]]:
        """Plans of one configuration: that of the patch, or nnU-Net's for ever smaller memory targets."""
        plans = self._smaller_and_smaller(vanilla) if patch is None else [self._of_patch(vanilla, patch)]
        for planned in plans:
            architecture = {**planned["architecture"], "network_class_name": network}
            size = [int(n) for n in planned["patch_size"]]
            yield {**vanilla, "patch_size": size, "architecture": architecture}

    def _smaller_and_smaller(self, vanilla: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        target = self.request.gpu_memory_gb or self.UNet_vram_target_GB
        last: list[int] = []
        edge = self.UNet_featuremap_min_edge_length
        for factor in TARGETS:
            with self.changed(UNet_vram_target_GB=target * factor):
                smaller = self._ask_again(vanilla)
            patch = [int(n) for n in smaller["patch_size"]]
            if patch == last:
                continue
            # nnU-Net would go on to patches without a voxel; few slices may be all that the images have.
            least = [edge if own >= edge else 1 for own in vanilla["patch_size"]]
            if any(n < m for n, m in zip(patch, least, strict=True)):
                return
            last = patch
            yield smaller

    def _of_patch(self, vanilla: Mapping[str, Any], patch: tuple[int, ...]) -> dict[str, Any]:
        """nnU-Net's topology for a patch: that of a dataset whose images are as large as the patch."""
        with self.changed(UNet_vram_target_GB=ANY_MEMORY_GB):
            planned = self._ask_again(vanilla, shape=np.array(patch))
        found = tuple(int(n) for n in planned["patch_size"])
        if found != patch:
            asked, spacing, nearest = map(self._as_in_images, (patch, planned["spacing"], found))
            raise ValueError(
                f"nnU-Net's topology cannot have the patch {asked} at a spacing of "
                f"{[round(float(n), 3) for n in spacing]} mm; the nearest is {nearest}: ask for that"
            )
        return planned

    def _as_in_images(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Values along the axes of the images, from those along the plan's; of 2D ones nothing changes."""
        order, _ = self.determine_transpose()
        if len(values) != len(order):
            return tuple(values)
        return tuple(values[list(order).index(axis)] for axis in range(len(order)))

    def _ask_again(self, vanilla: Mapping[str, Any], *, shape: Any = None) -> dict[str, Any]:
        """nnU-Net's plan of this configuration, as the planner's attributes are now."""
        identifier = vanilla["data_identifier"]
        spacing, median_shape, voxels, cache = self.asked[identifier]
        # The cache knows networks by patch and strides, not by features.
        fresh = cache if self.request.base_features is None and shape is None else {}
        planned: dict[str, Any] = super().get_plans_for_configuration(
            spacing, median_shape if shape is None else shape, identifier, voxels, fresh
        )
        return planned

    @contextlib.contextmanager
    def changed(self, **attributes: Any) -> Iterator[None]:
        """Inside it nnU-Net's planner has other attributes."""
        before = {name: getattr(self, name) for name in attributes}
        self.__dict__.update(attributes)
        try:
            yield
        finally:
            self.__dict__.update(before)


def planner_of(request: PlanRequest) -> FittedPlanner:
    """nnU-Net's planner that a request names, fitted."""
    # Named after nnU-Net's planner: the name is written into the plans.
    base = BASES[request.base]
    cls: type[FittedPlanner] = type(base.__name__, (FittedPlanner, base), {"request": request})
    return cls(
        request.dataset,
        gpu_memory_target_in_gb=request.match_vanilla_gb,
        plans_name=request.plans_name,
        overwrite_target_spacing=request.spacing_mm,
    )


def _template(plans: dict[str, Any], dataset_json: dict[str, Any], network: str) -> TrainingStep:
    labels = PlansManager(plans).get_label_manager(dataset_json)
    targets = "regions" if labels.has_regions else "labels"
    return TrainingStep(
        network=network,
        arch_kwargs={},
        input_channels=len(dataset_json["channel_names" if "channel_names" in dataset_json else "modality"]),
        outputs=labels.num_segmentation_heads,
        patch_size=(),
        batch_size=1,
        targets=f"{targets}_ignore" if labels.has_ignore_label else targets,  # type: ignore[arg-type]
    )
