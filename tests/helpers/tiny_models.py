"""Tiny models in nnU-Net's folders, trained for a moment in this process, and cases to predict with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunet_home import LABELS
from torch import nn

SCIPY = (
    "resample_data_or_seg_to_shape",
    {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
)
TORCH = (
    "resample_torch_fornnunet",
    {"is_seg": False, "force_separate_z": None, "memefficient_seg_resampling": False},
)
NONE: tuple[str, dict[str, Any]] = ("no_resampling_hack", {})
CUBIC = (
    "resample_data_or_seg_to_shape",
    {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
)


@dataclass(frozen=True)
class Tiny:
    """What a model shall be like.

    Attributes:
        patch_size: two numbers for slices, three for volumes.
        spacing_mm: of the plan, transposed.
        transpose: nnU-Net's transpose_forward.
        labels: a key of ``nnunet_home.LABELS``.
        channels: images of a case.
        probabilities: function that resamples the outputs, and its options.
        folds: that are trained.
        mirroring: axes that may be mirrored.
        file_ending: of images.
    """

    patch_size: tuple[int, ...] = (8, 16, 16)
    spacing_mm: tuple[float, ...] = (2.0, 1.0, 1.0)
    transpose: tuple[int, ...] = (0, 1, 2)
    labels: str = "plain"
    channels: int = 1
    probabilities: tuple[str, dict[str, Any]] = field(default=SCIPY)
    folds: tuple[int | str, ...] = (0,)
    mirroring: tuple[int, ...] = ()
    file_ending: str = ".nii.gz"

    def plans(self) -> dict[str, Any]:
        name, options = self.probabilities
        cubic = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
        segmentation = {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None}
        data = "no_resampling_hack" if name == "no_resampling_hack" else "resample_data_or_seg_to_shape"
        dim = len(self.patch_size)
        configuration = {
            "data_identifier": "tiny",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": list(self.patch_size),
            "spacing": list(self.spacing_mm),
            "normalization_schemes": ["CTNormalization"] * self.channels,
            "use_mask_for_norm": [False] * self.channels,
            "resampling_fn_data": data,
            "resampling_fn_data_kwargs": {} if data != "resample_data_or_seg_to_shape" else cubic,
            "resampling_fn_seg": data,
            "resampling_fn_seg_kwargs": {} if data != "resample_data_or_seg_to_shape" else segmentation,
            "resampling_fn_probabilities": name,
            "resampling_fn_probabilities_kwargs": options,
            "batch_dice": False,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": 2,
                    "features_per_stage": [8, 12],
                    "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
                    "kernel_sizes": [[3] * dim] * 2,
                    "strides": [[1] * dim, [2] * dim],
                    "n_conv_per_stage": [1, 1],
                    "n_conv_per_stage_decoder": [1],
                    "conv_bias": True,
                    "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
        statistics = {"mean": 50.0, "std": 50.0, "percentile_00_5": 0.0, "percentile_99_5": 200.0}
        return {
            "dataset_name": "Dataset990_tiny",
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": list(self.transpose),
            "transpose_backward": [int(a) for a in np.argsort(self.transpose)],
            "original_median_spacing_after_transp": [2.0, 1.0, 1.0],
            "original_median_shape_after_transp": [16, 32, 32],
            "configurations": {"tiny": configuration},
            "experiment_planner_used": "ExperimentPlanner",
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {
                str(channel): statistics for channel in range(self.channels)
            },
        }

    def dataset_json(self) -> dict[str, Any]:
        return {
            "channel_names": {str(channel): "CT" for channel in range(self.channels)},
            "numTraining": 1,
            "file_ending": self.file_ending,
            **LABELS[self.labels],
        }

    def create(self, root: Path) -> Path:
        """The model's folder, with trained weights."""
        folder = root / "nnUNetTrainer__nnUNetPlans__tiny"
        folder.mkdir(parents=True)
        (folder / "plans.json").write_text(json.dumps(self.plans()))
        (folder / "dataset.json").write_text(json.dumps(self.dataset_json()))
        for number, fold in enumerate(self.folds):
            (folder / f"fold_{fold}").mkdir()
            torch.save(
                {
                    "trainer_name": "nnUNetTrainer",
                    "init_args": {"configuration": "tiny"},
                    "inference_allowed_mirroring_axes": self.mirroring or None,
                    "network_weights": _weights(
                        self.patch_size, self.channels, "regions" in self.labels, number
                    ),
                },
                folder / f"fold_{fold}" / "checkpoint_final.pth",
            )
        return folder


@cache
def _weights(patch_size: tuple[int, ...], channels: int, regions: bool, seed: int) -> dict[str, torch.Tensor]:
    """Of the plans' network, after some steps on random balls."""
    torch.manual_seed(seed)
    dim = len(patch_size)
    network = _network(dim, channels=channels, heads=2 if regions else 3)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    rng = np.random.default_rng(seed)
    for _ in range(40):
        images, targets = zip(*(_patch(rng, patch_size) for _ in range(2)), strict=True)
        image = torch.tensor(np.stack(images)).unsqueeze(1).repeat(1, channels, *[1] * dim)
        target = torch.tensor(np.stack(targets)).long()
        logits = network((image - 50) / 50)
        if regions:
            wanted = torch.stack([target >= 1, target >= 2], 1).float()
            loss = nn.functional.binary_cross_entropy_with_logits(logits, wanted)
        else:
            loss = nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.state_dict()


def _network(dim: int, *, channels: int, heads: int) -> nn.Module:
    return PlainConvUNet(
        channels,
        2,
        [8, 12],
        nn.Conv2d if dim == 2 else nn.Conv3d,
        [[3] * dim] * 2,
        [[1] * dim, [2] * dim],
        [1, 1],
        heads,
        [1],
        conv_bias=True,
        norm_op=nn.InstanceNorm2d if dim == 2 else nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
    )


def write_case(
    folder: Path,
    name: str,
    *,
    shape: Sequence[int] = (14, 30, 26),
    spacing_mm: Sequence[float] = (2.0, 1.0, 1.0),
    channels: int = 1,
    seed: int = 0,
    air: int = 0,
    ending: str = ".nii.gz",
) -> list[Path]:
    """Images of a bright ball with a brighter core; ``air`` columns around it lie far below the window."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for channel in range(channels):
        image, _ = _patch(np.random.default_rng([seed, channel]), shape)
        image = np.pad(image, [(0, 0), (air, air), (air, air)], constant_values=-1000)
        if not air:
            image[0] = 0  # nnU-Net crops what is zero in all channels
        written = sitk.GetImageFromArray(image)
        written.SetSpacing([float(s) for s in reversed(spacing_mm)])
        written.SetOrigin((5.0, -7.0, 11.0))
        files.append(folder / f"{name}_{channel:04d}{ending}")
        sitk.WriteImage(written, str(files[-1]))
    return files


def _patch(rng: np.random.Generator, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A noisy ball with a core; tones differ enough that a tile of one tone is told from the others."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    center = np.array(shape) * rng.uniform(0.4, 0.6, len(shape))
    distance = np.sqrt((((grid - center) / (np.array(shape) * rng.uniform(0.25, 0.4))) ** 2).sum(-1))
    labels = (distance < 1).astype(np.uint8) + (distance < 0.6)
    image = np.array([20.0, 80.0, 190.0])[labels] + rng.normal(0, 8, tuple(shape))
    return image.astype(np.float32), labels
