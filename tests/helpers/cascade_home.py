"""Tiny datasets with the two stages of a cascade, preprocessed in this process."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunet_home import NnunetHome, write_dataset
from nnunetv2.training.logging.nnunet_logger import MetaLogger

from nnunet_ext import trainers
from nnunet_ext.cascade.records import CoarseRecord, save_record
from nnunet_ext.files import checksum

COARSE, FINE = "3d_lowres", "3d_cascade_fullres"
CASES = 5


@dataclass(frozen=True)
class Grid:
    """A phantom's volume, (z, y, x) of its file, and the two stages on it, transposed."""

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    coarse_spacing_mm: tuple[float, float, float]
    coarse_patch: tuple[int, int, int]
    fine_patch: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    transpose: tuple[int, int, int] = (0, 1, 2)


HALVED: Any = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
GRIDS = {
    "isotropic": Grid((24, 24, 24), (1, 1, 1), (2, 2, 2), (12, 12, 12), (16, 16, 16), HALVED),
    "anisotropic": Grid(
        (12, 40, 40), (3, 1, 1), (3, 2, 2), (12, 20, 20), (8, 24, 24), ((1, 1, 1), (1, 2, 2), (2, 2, 2))
    ),
    "transposed": Grid(
        (40, 40, 12),
        (1, 1, 3),
        (3, 2, 2),
        (12, 20, 20),
        (8, 24, 24),
        ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        (2, 0, 1),
    ),
    "smaller than the patch": Grid((10, 20, 24), (1, 1, 1), (2, 2, 2), (8, 12, 12), (16, 16, 16), HALVED),
}


@dataclass(frozen=True)
class CascadeHome:
    """A home with one such dataset."""

    home: NnunetHome
    dataset: str
    grid: Grid
    plans: str = "nnUNetPlans"
    data: str = "nnUNetPlans_3d_fullres"

    @property
    def preprocessed(self) -> Path:
        return self.home.root / "preprocessed" / self.dataset

    @property
    def results(self) -> Path:
        return Path(self.home.environment["nnUNet_results"]) / self.dataset

    @property
    def cases(self) -> list[str]:
        return [f"case_{number}" for number in range(CASES)]

    @property
    def splits(self) -> list[dict[str, list[str]]]:
        found: list[dict[str, list[str]]] = json.loads((self.preprocessed / "splits_final.json").read_text())
        return found

    def predictions(self, trainer: str) -> Path:
        """Where a coarse trainer leaves its predictions for the fine stage."""
        return self.results / f"{trainer}__{self.plans}__{COARSE}" / "predicted_next_stage" / FINE


def make_cascade_home(root: Path, *, labels: str = "plain", grid: str = "isotropic") -> CascadeHome:
    """Raw and preprocessed data of both stages, with one case left out in each of five folds."""
    home, dataset, shape = NnunetHome(root).create(), f"Dataset920_{labels}", GRIDS[grid]
    raw = write_dataset(
        home, dataset, labels=labels, cases=CASES, size=shape.size, spacing_mm=shape.spacing_mm
    )
    made = CascadeHome(home, dataset, shape)
    made.preprocessed.mkdir(parents=True)
    plans = plans_with_stages(dataset, shape)
    (made.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    (made.preprocessed / "dataset_fingerprint.json").write_text("{}")
    shutil.copy(raw / "dataset.json", made.preprocessed)
    shutil.copytree(raw / "labelsTr", made.preprocessed / "gt_segmentations")
    splits = [{"train": [c for c in made.cases if c != case], "val": [case]} for case in made.cases]
    (made.preprocessed / "splits_final.json").write_text(json.dumps(splits))
    for configuration in ("3d_fullres", COARSE):
        _preprocess(made, raw, plans, configuration)
    return made


def plans_with_stages(dataset: str, grid: Grid) -> dict[str, Any]:
    """Plans as nnU-Net's planner writes them, of few channels."""
    fine = _configuration("nnUNetPlans_3d_fullres", grid, spacing_mm=_transposed(grid), patch=grid.fine_patch)
    coarse = _configuration(
        "nnUNetPlans_3d_lowres", grid, spacing_mm=grid.coarse_spacing_mm, patch=grid.coarse_patch
    )
    return {
        "dataset_name": dataset,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(grid.spacing_mm),
        "original_median_shape_after_transp": list(grid.size),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(grid.transpose),
        "transpose_backward": [grid.transpose.index(axis) for axis in range(3)],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {
                "max": 259.0,
                "mean": 112.0,
                "median": 104.0,
                "min": 23.0,
                "percentile_00_5": 47.0,
                "percentile_99_5": 234.0,
                "std": 38.0,
            }
        },
        "configurations": {
            "2d": {**fine, "patch_size": list(grid.fine_patch[1:])},
            "3d_fullres": fine,
            COARSE: {**coarse, "next_stage": FINE},
            FINE: {**fine, "previous_stage": COARSE},
        },
    }


def _transposed(grid: Grid) -> list[float]:
    return [grid.spacing_mm[axis] for axis in grid.transpose]


def _configuration(
    data: str, grid: Grid, *, spacing_mm: Sequence[float], patch: Sequence[int]
) -> dict[str, Any]:
    strides = [list(stride) for stride in grid.strides]
    levels = len(strides)
    resample = "resample_data_or_seg_to_shape"
    kwargs = {"order_z": 0, "force_separate_z": None}
    return {
        "data_identifier": data,
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "batch_dice": False,
        "patch_size": list(patch),
        "median_image_size_in_voxels": list(grid.size),
        "spacing": list(spacing_mm),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": resample,
        "resampling_fn_seg": resample,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **kwargs},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **kwargs},
        "resampling_fn_probabilities": resample,
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **kwargs},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": levels,
                "features_per_stage": [4, 8, 8][:levels],
                "conv_op": "torch.nn.modules.conv.Conv3d",
                "kernel_sizes": [[1 if min(s) < max(s) else 3, 3, 3] for s in strides],
                "strides": strides,
                "n_conv_per_stage": [1] * levels,
                "n_conv_per_stage_decoder": [1] * (levels - 1),
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
    }


def _preprocess(made: CascadeHome, raw: Path, plans: dict[str, Any], configuration: str) -> None:
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    configured = manager.get_configuration(configuration)
    folder = made.preprocessed / configured.data_identifier
    folder.mkdir()
    for case in made.cases:
        DefaultPreprocessor(verbose=False).run_case_save(
            str(folder / case),
            [str(raw / "imagesTr" / f"{case}_0000.nii.gz")],
            str(raw / "labelsTr" / f"{case}.nii.gz"),
            manager,
            configured,
            json.loads((raw / "dataset.json").read_text()),
        )


def use_home(home: NnunetHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net's folders, and no processes beside this one."""
    for variable, value in home.environment.items():
        if variable.startswith("nnUNet_"):
            monkeypatch.setenv(variable, value)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: _InThisProcess)
    # A plot of an epoch takes longer than the epoch.
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, output_folder: None)


def staged(
    made: CascadeHome,
    name: str,
    configuration: str,
    *,
    fold: int | str = 0,
    change_plans: Callable[[dict[str, Any]], None] | None = None,
    cls: Any = None,
) -> Any:
    """The trainer of one stage."""
    plans = json.loads((made.preprocessed / f"{made.plans}.json").read_text())
    if change_plans is not None:
        change_plans(plans)
    dataset_json = json.loads((made.preprocessed / "dataset.json").read_text())
    build = cls or getattr(trainers, name)
    return build(
        {**plans, "continue_training": False}, configuration, fold, dataset_json, torch.device("cpu")
    )


def write_coarse_predictions(
    made: CascadeHome, trainer: str, *, change: Callable[[str, np.ndarray], np.ndarray] | None = None
) -> Path:
    """What the folds of a coarse stage leave, with records: the reference, or what ``change`` makes of it."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    folder = made.predictions(trainer)
    folder.mkdir(parents=True, exist_ok=True)
    data = nnUNetDatasetBlosc2(str(made.preprocessed / made.data))
    for fold, split in enumerate(made.splits):
        for case in split["val"]:
            reference = np.asarray(data.load_case(case)[1][0])
            coarse = np.where(reference < 3, np.maximum(reference, 0), 0).astype(np.uint8)
            if change is not None:
                coarse = change(case, coarse)
            nnUNetDatasetBlosc2.save_seg(coarse, str(folder / case))
            record = CoarseRecord(
                case=case,
                trainer=trainer,
                plans=made.plans,
                configuration=COARSE,
                fold=fold,
                training_cases=tuple(sorted(split["train"])),
                checkpoint_sha256="",
                prediction_sha256=checksum(folder / f"{case}.b2nd"),
            )
            save_record(record, folder)
    return folder


class _Done:
    """What nnU-Net asks of work that it handed out."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def get(self) -> Any:
        return self._result

    def ready(self) -> bool:
        return True


class _Pool:
    """nnU-Net's pools take seconds to start; here their work is done at once."""

    _pool: tuple[Any, ...] = ()

    def __init__(self, processes: int) -> None:
        pass

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def starmap_async(self, function: Any, arguments: Any) -> _Done:
        return _Done([function(*each) for each in arguments])

    def starmap(self, function: Any, arguments: Any) -> list[Any]:
        return [function(*each) for each in arguments]

    def imap_unordered(self, function: Any, arguments: Any) -> Any:
        return map(function, arguments)


class _InThisProcess:
    Pool = _Pool
