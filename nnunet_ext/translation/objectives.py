"""What generators and discriminators minimize: one module each, so that a step calls each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnunet_ext.networks.cyclegan import PatchDiscriminator
from nnunet_ext.translation.generators import new_generator
from nnunet_ext.translation.intensity_maps import IntensityMaps
from nnunet_ext.translation.losses import adversarial_loss, distance, structure_loss
from nnunet_ext.translation.settings import Settings

Judge = Callable[[Tensor], Tensor]
TOTAL, FAKE_CT, FAKE_MR = "total", "fake_ct", "fake_mr"


class Generators(nn.Module):
    """Both generators and what they minimize together.

    Adversarial + cycle_weight x cycle + identity_weight x identity + structure_weight x structure, each the
    sum over both directions.

    Reference:
        Paper 001, MTN; SPEC A2.1. Differences: none in the sum. An image that is to be translated and one
        that is to stay as it is go through a generator together: one pass in place of two, with the same
        numbers, since instance normalization looks at each by itself.

    Args:
        settings: widths and weights.
        maps: where anchored generators begin.

    Raises:
        ValueError: anchored generators without maps.
    """

    def __init__(self, settings: Settings, maps: IntensityMaps | None = None) -> None:
        super().__init__()
        if settings.anchored and maps is None:
            raise ValueError("expected intensity maps for anchored generators, got none")
        self.weights = {
            "cycle": settings.cycle_weight,
            "identity": settings.identity_weight,
            "structure": settings.structure_weight,
        }
        self.to_ct = new_generator(settings, maps.to_ct if maps else None)
        self.to_mr = new_generator(settings, maps.to_mr if maps else None)

    def forward(self, mr: Tensor, ct: Tensor, judge_mr: Judge, judge_ct: Judge) -> dict[str, Tensor]:
        """Losses and translations of a batch.

        Args:
            mr: (B, 1, Z, Y, X), between -1 and 1.
            ct: likewise; of other patients.
            judge_mr: discriminator of MR.
            judge_ct: discriminator of CT.

        Returns:
            ``total``, each unweighted loss by name, and the translations ``fake_ct`` and ``fake_mr``.
        """
        needs_identity = self.weights["identity"] > 0
        fake_ct, same_ct = _translated(self.to_ct, mr, ct if needs_identity else None)
        fake_mr, same_mr = _translated(self.to_mr, ct, mr if needs_identity else None)
        losses = {
            "adversarial_ct": adversarial_loss(judge_ct(fake_ct), real=True),
            "adversarial_mr": adversarial_loss(judge_mr(fake_mr), real=True),
            "cycle_mr": distance(self.to_mr(fake_ct), mr),
            "cycle_ct": distance(self.to_ct(fake_mr), ct),
        }
        if same_ct is not None and same_mr is not None:
            losses |= {"identity_ct": distance(same_ct, ct), "identity_mr": distance(same_mr, mr)}
        if self.weights["structure"] > 0:
            losses |= {
                "structure_ct": structure_loss(mr, fake_ct),
                "structure_mr": structure_loss(ct, fake_mr),
            }
        return {TOTAL: self.weighted(losses), **losses, FAKE_CT: fake_ct, FAKE_MR: fake_mr}

    def weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum that is minimized."""
        weights = {**self.weights, "adversarial": 1.0}
        terms = [weights[name.split("_")[0]] * loss for name, loss in losses.items()]
        return torch.stack(terms).sum()


class Discriminators(nn.Module):
    """Both discriminators and what they minimize: half the error on real and on generated images each.

    Args:
        settings: width and depth.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        shape = {"features": settings.discriminator_features, "layers": settings.discriminator_layers}
        self.of_mr = PatchDiscriminator(**shape)
        self.of_ct = PatchDiscriminator(**shape)

    def forward(self, mr: Tensor, ct: Tensor, fake_mr: Tensor, fake_ct: Tensor) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            mr: (B, 1, Z, Y, X), real.
            ct: real.
            fake_mr: generated, detached.
            fake_ct: generated, detached.

        Returns:
            ``total`` and the loss of each discriminator.
        """
        losses = {
            "discriminator_mr": _discriminator_loss(self.of_mr, mr, fake_mr),
            "discriminator_ct": _discriminator_loss(self.of_ct, ct, fake_ct),
        }
        return {TOTAL: torch.stack(list(losses.values())).sum(), **losses}


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Inside it no gradients of a module's parameters are computed.

    The generators need gradients through the discriminators, but none of their parameters.
    """
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def _translated(generator: nn.Module, image: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A translation, and what becomes of an image that is of the wanted kind already."""
    if own is None:
        return generator(image), None
    translation, same = generator(torch.cat([image, own])).split(len(image))
    return translation, same


def _discriminator_loss(discriminator: PatchDiscriminator, real: Tensor, fake: Tensor) -> Tensor:
    of_real, of_fake = discriminator(torch.cat([real, fake])).split(len(real))
    return 0.5 * (adversarial_loss(of_real, real=True) + adversarial_loss(of_fake, real=False))
