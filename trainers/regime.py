"""A paper's regime in nnU-Net's trainer: what its record in ``nnunet_ext.regimes`` says, by hooks."""

from __future__ import annotations

from math import ceil, prod
from typing import Any, ClassVar

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nnunet_ext.trainers.mirroring import RestrictedMirroring
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from torch import nn

from nnunet_ext.laterality import Laterality, laterality_of
from nnunet_ext.losses import with_dice_smoothing
from nnunet_ext.presets import differences
from nnunet_ext.regimes import Regime

# nnU-Net's changes of intensity, by the name that a record gives them; "" for those that no paper has.
INTENSITY: dict[type[BasicTransform], str] = {
    GaussianNoiseTransform: "noise",
    MultiplicativeBrightnessTransform: "photometric",
    ContrastTransform: "photometric",
    GaussianBlurTransform: "",
    GammaTransform: "",
    SimulateLowResolutionTransform: "",
}


class PaperRegime(RestrictedMirroring):
    """Optimizer, rate, schedule, augmentation and length of a paper; its loss is a mixin of its own.

    Attributes:
        regime: the paper's record; set by the composed class.
    """

    regime: ClassVar[Regime]
    num_iterations_per_epoch: int
    num_val_iterations_per_epoch: int
    num_epochs: int
    initial_lr: float
    weight_decay: float

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """The paper's optimizer, and nnU-Net's schedule with the paper's exponent."""
        regime, weights = self.regime, self.network.parameters()
        optimizer: torch.optim.Optimizer
        if regime.optimizer == "Adam":
            optimizer = torch.optim.Adam(weights, self.initial_lr, weight_decay=self.weight_decay)
        else:
            optimizer = torch.optim.SGD(
                weights, self.initial_lr, momentum=regime.momentum, weight_decay=self.weight_decay
            )
        return optimizer, PolyLRScheduler(
            optimizer, self.initial_lr, self.num_epochs, exponent=regime.poly_exponent
        )

    def _build_loss(self) -> nn.Module:
        """The trainer's, or that of its name, with the paper's smoothing of Dice."""
        loss: nn.Module = super()._build_loss()
        smooth = self.regime.dice_smooth
        return loss if smooth is None else with_dice_smoothing(loss, smooth)

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> ComposeTransforms:
        """nnU-Net's, without the augmentations that the paper does not have."""
        composed = super().get_training_transforms(*args, **kwargs)
        wanted = self.regime.augmentations
        kept = []
        for transform in composed.transforms:
            inner = transform.transform if isinstance(transform, RandomTransform) else transform
            if isinstance(inner, SpatialTransform):
                inner.p_rotation = inner.p_rotation if "rotation" in wanted else 0
                inner.p_scaling = inner.p_scaling if "scaling" in wanted else 0
            if INTENSITY.get(type(inner)) in (None, *wanted):
                kept.append(transform)
        return ComposeTransforms(kept)

    def restrict_mirroring(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """The axes that the paper flips."""
        flip = self.regime.flip
        if flip == "none":
            axes = ()
        elif flip == "left-right":
            axis = self.left_right_axis(laterality_of(self.dataset_json) or Laterality())
            axes = tuple(a for a in axes if a == axis)
        return super().restrict_mirroring(axes)

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's; sets the iterations of an epoch, once it is known what there is to pass over."""
        training, validation = super().get_tr_and_val_datasets()
        if not self.iterations_are_given and self.regime.epochs is not None:
            self._pass_over(self.samples_of(training))
        self._log_length()
        self._warn_of_other_plans()
        return training, validation

    @property
    def iterations_are_given(self) -> bool:
        """The trainer's name says how many iterations an epoch has."""
        return False

    def samples_of(self, training: Any) -> int:
        """What a pass goes over in the training cases."""
        return count_samples(training, self.regime, self.configuration_manager.patch_size)

    @property
    def planned_as(self) -> str | None:
        """Name that the configuration has in presets; None where no preset tells of it."""
        name: str = self.configuration_name
        return name

    def _pass_over(self, samples: int) -> None:
        batch = self.configuration_manager.batch_size
        share = self.num_val_iterations_per_epoch / self.num_iterations_per_epoch
        self.num_iterations_per_epoch = ceil(samples / batch)
        self.num_val_iterations_per_epoch = max(1, round(share * self.num_iterations_per_epoch))
        self.print_to_log_file(
            f"An epoch is a pass over {samples} {self.regime.samples} in batches of {batch}: "
            f"{self.num_iterations_per_epoch} iterations"
        )

    def _log_length(self) -> None:
        total = self.num_epochs * self.num_iterations_per_epoch
        self.print_to_log_file(
            f"Regime of paper {self.regime.paper}: {self.num_epochs} epochs x "
            f"{self.num_iterations_per_epoch} iterations = {total}; "
            f"in the paper: {self.regime.paper_total or 'not given'}"
        )

    def _warn_of_other_plans(self) -> None:
        name = self.planned_as
        if name is None:
            return
        plans = {
            **self.plans_manager.plans,
            "configurations": {name: self.configuration_manager.configuration},
        }
        found = differences(self.regime.preset, plans, name)
        if found:
            self.print_to_log_file(
                f"WARNING: these plans are not those of paper {self.regime.paper}: {'; '.join(found)}. "
                "`nnunet_ext plan DATASET --network NAME --preset` makes them"
            )


def count_samples(dataset: Any, regime: Regime, patch_size: tuple[int, ...]) -> int:
    """What a pass of the paper's training goes over, in nnU-Net's training cases.

    Args:
        dataset: nnU-Net's dataset of the fold's training cases.
        regime: says what is counted.
        patch_size: of the plan.

    Returns:
        Cases; or slices (in 3D slabs as thick as the patch); or as many patches as tile the images.
    """
    if regime.sample == "volume":
        return len(dataset.identifiers)
    patch = (1,) * (3 - len(patch_size)) + tuple(patch_size)
    counted = patch[:1] if regime.sample == "slice" else patch
    shapes = (dataset.load_case(identifier)[0].shape[1:] for identifier in dataset.identifiers)
    # zip leaves out the axes that do not count.
    return sum(prod(ceil(n / k) for n, k in zip(shape, counted, strict=False)) for shape in shapes)
