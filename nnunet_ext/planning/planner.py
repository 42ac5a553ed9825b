"""nnU-Net's planners with another network, in the memory that nnU-Net's own would have used."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.planning.fitting import Fit, fit, step_of_plan
from nnunet_ext.planning.memory import TrainingStep, trace_step_memory

Base = Literal["default", "resenc"]
BASES: Mapping[str, type[ExperimentPlanner]] = {"default": ExperimentPlanner, "resenc": ResEncUNetPlanner}

# Preprocessed data depend on these fields of a configuration and of the plans, and on nothing else in them.
DATA_FIELDS = (
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)
PLANS_DATA_FIELDS = (
    "transpose_forward",
    "image_reader_writer",
    "foreground_intensity_properties_per_channel",
)
ANY_SHARE = 1e9  # of the dataset in one batch: no limit
# Memory targets tried, as factors of the user's: nnU-Net's patch shrinks with the target.
TARGETS = [2 ** (1 - step / 16) for step in range(6 * 16)]


@dataclass(frozen=True)
class PlanRequest:
    """What the user asks for.

    Attributes:
        dataset: nnU-Net's name or number.
        network: class name in ``nnunet_ext.networks``.
        plans_name: name of the plans; their file must not exist.
        base: nnU-Net's planner that decides spacing, topology and features.
        match_vanilla_gb: nnU-Net's memory target; the budget is what its own network costs with the patch and
            the batch that this target gives.
        spacing_mm: of 3d_fullres, (z, y, x); None for nnU-Net's choice.
        batch_size: None for the largest that fits.
        window: (low, high) of every CT channel, which become -1 and 1; None for nnU-Net's normalisation.
        order: of the interpolation of images, 0 to 3; None for nnU-Net's.
    """

    dataset: str | int
    network: str
    plans_name: str
    base: Base = "default"
    match_vanilla_gb: float = 8.0
    spacing_mm: tuple[float, float, float] | None = None
    batch_size: int | None = None
    window: tuple[float, float] | None = None
    order: int | None = None


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
    """What was planned, and where it was written."""

    file: Path
    configurations: tuple[PlannedConfiguration, ...]


def plan(request: PlanRequest) -> Planned:
    """Plan a dataset that nnU-Net has taken the fingerprint of, and write the plans.

    Args:
        request: what is asked for.

    Raises:
        FileExistsError: there are plans of this name.
        DoesNotFitError: no patch fits.
        ValueError: a window for a dataset without CT.
        RuntimeError: the fingerprint is missing (from nnU-Net).
    """
    planner = _planner(request)
    file = Path(nnUNet_preprocessed) / planner.dataset_name / f"{request.plans_name}.json"
    if file.exists():
        raise FileExistsError(f"{file} exists: plans are not overwritten; choose another --plans-name")
    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints its own plans, which are not the result
        plans = planner.plan_experiment()
    if request.window is not None:
        _set_window(plans, request.window)
    configurations = []
    for name, vanilla in list(plans["configurations"].items()):
        if "architecture" not in vanilla:
            continue  # 3d_cascade_fullres inherits
        fitted = planner.fit(name, vanilla, plans)
        plans["configurations"][name] = _plain(fitted.plan)
        _share_data(plans, name, file)
        data = plans["configurations"][name]["data_identifier"]
        configurations.append(
            PlannedConfiguration(name, fitted, vanilla, data, (file.parent / data).is_dir())
        )
    _write(plans, file)
    return Planned(file, tuple(configurations))


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
        """nnU-Net's, with the user's order for images."""
        data, data_kwargs, seg, seg_kwargs = super().determine_resampling(*args, **kwargs)
        if self.request.order is not None:
            data_kwargs = {**data_kwargs, "order": self.request.order}
        return data, data_kwargs, seg, seg_kwargs

    def save_plans(self, plans: dict[str, Any]) -> None:
        """Nothing: the plans are written when they are complete."""
        recursive_fix_for_json_export(plans)

    def fit(self, name: str, vanilla: Mapping[str, Any], plans: dict[str, Any]) -> Fit:
        """The largest patch and batch of the network in the memory of nnU-Net's plan."""
        template = _template(plans, self.dataset_json, f"nnunet_ext.networks.{self.request.network}")
        budget = self._budget_bytes(vanilla, template)
        *_, voxels, _cache = self.asked[vanilla["data_identifier"]]
        return fit(
            self._candidates(vanilla, template.network),
            template,
            budget_bytes=budget,
            dataset_voxels=voxels,
            max_dataset_covered=self.max_dataset_covered,
            min_batch_size=self.UNet_min_batch_size,
            batch_size=self.request.batch_size,
        )

    def _budget_bytes(self, vanilla: Mapping[str, Any], template: TrainingStep) -> int:
        """What a step of nnU-Net's network keeps with the batch that the memory target allows.

        The plan's own batch may be smaller, since it covers 5 % of the dataset at most. That is a guard
        against overfitting and says nothing of the memory; it holds for our batch too.
        """
        spacing, shape, voxels, cache = self.asked[vanilla["data_identifier"]]
        covered, self.max_dataset_covered = self.max_dataset_covered, ANY_SHARE
        try:
            unguarded = super().get_plans_for_configuration(
                spacing, shape, vanilla["data_identifier"], voxels, cache
            )
        finally:
            self.max_dataset_covered = covered
        own = dataclasses.replace(template, network=vanilla["architecture"]["network_class_name"])
        batch_size = max(int(unguarded["batch_size"]), int(vanilla["batch_size"]))
        return trace_step_memory(step_of_plan(vanilla, own, batch_size=batch_size)).total

    def _candidates(self, vanilla: Mapping[str, Any], network: str) -> Iterator[dict[str, Any]]:
        """nnU-Net's plans of one configuration for ever smaller memory targets, each patch once."""
        target = self.UNet_vram_target_GB
        spacing, shape, voxels, cache = self.asked[vanilla["data_identifier"]]
        last: list[int] = []
        try:
            for factor in TARGETS:
                self.UNet_vram_target_GB = target * factor
                smaller = super().get_plans_for_configuration(
                    spacing, shape, vanilla["data_identifier"], voxels, cache
                )
                patch = [int(n) for n in smaller["patch_size"]]
                if patch == last:
                    continue
                if min(patch) < self.UNet_featuremap_min_edge_length:
                    return  # nnU-Net would go on to patches without a voxel
                last = patch
                architecture = {**smaller["architecture"], "network_class_name": network}
                yield {**vanilla, "patch_size": patch, "architecture": architecture}
        finally:
            self.UNet_vram_target_GB = target


def _planner(request: PlanRequest) -> FittedPlanner:
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


def _set_window(plans: dict[str, Any], window: Sequence[float]) -> None:
    """A fixed window in the fields that nnU-Net's CTNormalization reads: [low, high] becomes [-1, 1]."""
    low, high = window
    if not low < high:
        raise ValueError(f"the window must go from low to high, got {low} {high}")
    configurations = [c for c in plans["configurations"].values() if "normalization_schemes" in c]
    schemes = configurations[0]["normalization_schemes"]
    channels = [str(i) for i, scheme in enumerate(schemes) if scheme == "CTNormalization"]
    if not channels:
        raise ValueError(
            f"a window is for CT, and no channel of this dataset is called CT (schemes {schemes})"
        )
    for channel in channels:
        plans["foreground_intensity_properties_per_channel"][channel].update(
            percentile_00_5=low, percentile_99_5=high, mean=(low + high) / 2, std=(high - low) / 2
        )


def _share_data(plans: dict[str, Any], name: str, file: Path) -> None:
    """Point a configuration at the preprocessed data of other plans where they would be the same."""
    own = plans["configurations"][name]
    for other_file in sorted(file.parent.glob("*.json")):
        other = load_json(str(other_file))
        if not isinstance(other, dict) or "configurations" not in other:
            continue
        if any(other.get(field) != plans[field] for field in PLANS_DATA_FIELDS):
            continue
        for configuration in other["configurations"].values():
            if all(configuration.get(field) == own[field] for field in DATA_FIELDS):
                own["data_identifier"] = configuration["data_identifier"]
                return


def _plain(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The plan with numbers and lists as they will be read back."""
    fixed = dict(plan)
    recursive_fix_for_json_export(fixed)
    reread: dict[str, Any] = json.loads(json.dumps(fixed))
    return reread


def _write(plans: dict[str, Any], file: Path) -> None:
    partial = file.with_suffix(".json.partial")
    partial.write_text(json.dumps(plans, indent=4))
    os.replace(partial, file)
