"""From a request to plans on disk."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_preprocessed

from nnunet_ext.cascade.settings import COARSE, FINE
from nnunet_ext.planning.coarse import FULL, add_stages
from nnunet_ext.planning.plan_fields import plain, set_window, write
from nnunet_ext.planning.planner import planner_of
from nnunet_ext.planning.request import PATCH_CONFIGURATIONS, Planned, PlannedConfiguration, PlanRequest
from nnunet_ext.planning.shared_data import PlansBeside


def plan(request: PlanRequest) -> Planned:
    """Plan a dataset that nnU-Net has taken the fingerprint of, and write the plans.

    Args:
        request: what is asked for.

    Raises:
        FileExistsError: there are plans of this name.
        DoesNotFitError: no patch fits.
        ValueError: a window for a dataset without CT; a patch that nnU-Net's topology cannot have, or for a
            configuration that the dataset does not get.
        RuntimeError: the fingerprint is missing (from nnU-Net).
    """
    planner = planner_of(request)
    file = Path(nnUNet_preprocessed) / planner.dataset_name / f"{request.plans_name}.json"
    if file.exists():
        raise FileExistsError(f"{file} exists: plans are not overwritten; choose another --plans-name")
    with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints its own plans, which are not the result
        plans = planner.plan_experiment()
    _check_configurations(plans, request)
    if request.window is not None:
        set_window(
            plans, request.window, becomes=request.window_becomes, is_optional=request.window_is_optional
        )
    beside = PlansBeside.of(file, cases=planner.dataset_json["numTraining"])
    configurations = []
    own = dict(plans["configurations"])
    if request.coarse is not None:
        for stage in (COARSE, FINE):  # nnU-Net's, where it plans them: ours come instead
            plans["configurations"].pop(stage, None)
    for name, vanilla in list(plans["configurations"].items()):
        if "architecture" not in vanilla:
            continue  # 3d_cascade_fullres inherits
        fitted = planner.fit(name, vanilla, plans)
        plans["configurations"][name] = plain(fitted.plan)
        beside.share_data(plans, name)
        data = plans["configurations"][name]["data_identifier"]
        configurations.append(PlannedConfiguration(name, fitted, vanilla, data, beside.has_data(data)))
    if request.coarse is not None:
        configurations += add_stages(planner, plans, request.coarse, vanilla=own[FULL], beside=beside)
    write(plans, file)
    return Planned(file, tuple(configurations), tuple(plans["transpose_forward"]))


def _check_configurations(plans: dict[str, Any], request: PlanRequest) -> None:
    if request.coarse is not None and FULL not in plans["configurations"]:
        raise ValueError(
            f"a cascade works in 3D, and nnU-Net plans {sorted(plans['configurations'])} for this dataset"
        )
    patch = request.patch_size
    if patch is None:
        return
    wanted = PATCH_CONFIGURATIONS[len(patch)]
    if wanted not in plans["configurations"]:
        raise ValueError(
            f"the patch {patch} is for {wanted}, which nnU-Net does not plan for this dataset, but "
            f"{sorted(plans['configurations'])}"
        )
