"""Merged windows are resampled as probabilities, in whatever exports them through nnU-Net."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import Tensor

# Logits of probabilities stay finite: sigmoid and softmax give back what was put in, to this.
LEAST = 1e-7


def logits_of(probabilities: Tensor, *, has_regions: bool) -> Tensor:
    """Logits whose softmax, or sigmoid for regions, is what is given.

    Args:
        probabilities: (heads, ...); without regions they need not add up to 1, and are scaled to it.
        has_regions: each head for itself.

    Example:
        >>> logits = logits_of(torch.tensor([[0.25], [0.75]]), has_regions=False)
        >>> [round(p, 6) for p in logits.softmax(0).flatten().tolist()]
        [0.25, 0.75]
    """
    kept = probabilities.float().clamp(LEAST, 1 - LEAST)
    return kept.logit() if has_regions else kept.log()


def probabilities_of(logits: Any, *, has_regions: bool) -> Tensor:
    """nnU-Net's inference nonlinearity, in float32."""
    values = torch.as_tensor(logits).float()
    return values.sigmoid() if has_regions else values.softmax(0)


class ProbabilitiesResampling:
    """A resampling function of nnU-Net's plans that takes and returns logits but resamples probabilities."""

    def __init__(self, resample: Any, *, has_regions: bool) -> None:
        self.resample = resample
        self.has_regions = has_regions

    def __call__(self, logits: Any, *grids: Any) -> Tensor:
        """As the function, of ``(logits, new shape, current spacing, new spacing)``."""
        resampled = self.resample(probabilities_of(logits, has_regions=self.has_regions), *grids)
        return logits_of(torch.as_tensor(resampled), has_regions=self.has_regions)


class ResamplesProbabilities(ConfigurationManager):
    """A configuration that nnU-Net's export resamples as probabilities; otherwise the same.

    Where no window lies a logit has no meaning, and resampling logits loses thin structures: a tube of two
    voxels vanishes or doubles. Everything else of the export is nnU-Net's.

    Args:
        configuration: of the plans, inheritance resolved.
        has_regions: the network's outputs are regions.
    """

    def __init__(self, configuration: dict[str, Any], *, has_regions: bool) -> None:
        super().__init__(configuration)
        self.has_regions = has_regions

    @property
    def resampling_fn_probabilities(self) -> ProbabilitiesResampling:
        """The plan's function, for probabilities."""
        plan = ConfigurationManager(self.configuration)
        return ProbabilitiesResampling(plan.resampling_fn_probabilities, has_regions=self.has_regions)
