"""Generators of a translation: as in the paper, or anchored to a table of intensities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunet_ext.networks.cyclegan import ResNetGenerator
from nnunet_ext.translation.facts import HISTOGRAM_BINS
from nnunet_ext.translation.intensity_maps import mapped
from nnunet_ext.translation.settings import Settings

# Beyond it the inverse of tanh has no end; at it, what is added counts a twenty-fifth of what it does at 0.
_FARTHEST = 0.98


class AnchoredGenerator(nn.Module):
    """A generator that begins as a table of intensities and learns what to add before tanh.

    Difference from paper 001, whose generators begin at random: nothing in the losses says which tissue is
    which, and a cycle can be closed with air and tissue exchanged. From a table that keeps air dark they
    hardly can be. The table also brings absolute intensities past the instance normalization.

    Args:
        generator: its last convolution is set to 0, so that nothing is added at first.
        table: values for equal steps from -1 to 1; None for weights that are loaded afterwards.

    Example:
        >>> table = [-1.0] * 64 + [0.5] * (HISTOGRAM_BINS + 1 - 64)
        >>> generator = AnchoredGenerator(ResNetGenerator(features=2, blocks=1), table)
        >>> image = torch.full((1, 1, 8, 8, 8), -1.0)
        >>> image[..., 4:] = 0.8
        >>> [round(v, 2) for v in generator(image)[0, 0, 0, 0, [0, 7]].tolist()]
        [-0.98, 0.5]
    """

    table: Tensor

    def __init__(self, generator: ResNetGenerator, table: Sequence[float] | None = None) -> None:
        super().__init__()
        self.generator = generator
        generator.begin_at_zero()
        values = [0.0] * (HISTOGRAM_BINS + 1) if table is None else list(table)
        self.register_buffer("table", torch.tensor(values))

    def forward(self, image: Tensor) -> Tensor:
        """As :meth:`~nnunet_ext.networks.cyclegan.ResNetGenerator.forward`."""
        begun = mapped(image, self.table).clamp(-_FARTHEST, _FARTHEST)
        return torch.tanh(torch.atanh(begun) + self.generator.logits(image))


def new_generator(settings: Settings, table: Sequence[float] | None = None) -> nn.Module:
    """A generator as the settings want it.

    Args:
        settings: of the training.
        table: of an anchored one; None where its weights are loaded afterwards.
    """
    generator = ResNetGenerator(features=settings.generator_features, blocks=settings.generator_blocks)
    return AnchoredGenerator(generator, table) if settings.anchored else generator
