"""Losses of CycleGAN: least squares against the discriminators, cycle, identity, and structure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_STRUCTURE_WINDOW_VOX = 7
# Variance below which a window is taken for flat: noise of 1 % of the range.
_FLAT = 4e-4


def adversarial_loss(judgement: Tensor, *, real: bool) -> Tensor:
    """Mean squared distance of a discriminator's judgement from 1 (real) or 0 (generated).

    Reference:
        Mao et al., Least squares generative adversarial networks, 2017; used by CycleGAN.

    Args:
        judgement: any shape.
        real: what it should have said.

    Example:
        >>> float(adversarial_loss(torch.tensor([0.5, 0.5]), real=True))
        0.25
    """
    return functional.mse_loss(judgement, torch.full_like(judgement, float(real)))


def distance(image: Tensor, other: Tensor) -> Tensor:
    """Mean absolute difference: of a cycle from where it began, of an identity from what came in.

    Args:
        image: any shape.
        other: of the same shape.

    Example:
        >>> float(distance(torch.zeros(2), torch.tensor([0.0, 1.0])))
        0.5
    """
    return functional.l1_loss(image, other)


def structure_loss(image: Tensor, translation: Tensor) -> Tensor:
    """How much of the image's local structure the translation does not have, from 0 to 1.

    One minus the squared correlation within windows of 7^3 voxels, averaged over windows that are not flat in
    the image. Squared, because tissue that is bright in one modality may be dark in the other.

    Reference:
        None of the papers: CycleGAN alone may move structures, and labels would no longer fit (SPEC A2.1,
        demand P). Squared local correlation is a common measure of registration across modalities.

    Args:
        image: (B, 1, Z, Y, X).
        translation: of the same shape; computed in float32, whatever they are.

    Example:
        >>> image = torch.rand(1, 1, 8, 8, 8)
        >>> abs(float(structure_loss(image, 1 - 2 * image))) < 0.01
        True
    """
    with torch.autocast(image.device.type, enabled=False):
        first, second = image.float(), translation.float()
        mean_first, mean_second = _local_mean(first), _local_mean(second)
        variance_first = (_local_mean(first * first) - mean_first**2).clamp_min(0)
        variance_second = (_local_mean(second * second) - mean_second**2).clamp_min(0)
        covariance = _local_mean(first * second) - mean_first * mean_second
        weight = variance_first / (variance_first + _FLAT)
        squared = covariance**2 / (variance_first * variance_second + 1e-3 * _FLAT**2)
        return 1 - (weight * squared).sum() / weight.sum().clamp_min(1e-6)


def _local_mean(image: Tensor) -> Tensor:
    return functional.avg_pool3d(image, _STRUCTURE_WINDOW_VOX, stride=2)
