"""What generators and discriminators minimize: one module each, so that a step calls each once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnunet_ext.networks.cyclegan import PatchDiscriminator, ResNetGenerator
from nnunet_ext.translation.intensity_maps import IntensityMaps, mapped
from nnunet_ext.translation.losses import adversarial_loss, distance, structure_loss
from nnunet_ext.translation.settings import Settings

Judge = Callable[[Tensor], Tensor]
TOTAL, FAKE_CT, FAKE_MR = "total", "fake_ct", "fake_mr"
_MATCHED_WEIGHT = 10.0  # as much as a cycle's


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
        maps: what generators learn while they warm up; needed where the settings have a warm-up.
    """

    to_ct_table: Tensor
    to_mr_table: Tensor

    def __init__(self, settings: Settings, maps: IntensityMaps | None = None) -> None:
        super().__init__()
        self.has_warmup = settings.warmup_steps > 0
        if self.has_warmup:
            if maps is None:
                raise ValueError("expected intensity maps for a warm-up, got none")
            for name, values in (("to_ct_table", maps.to_ct), ("to_mr_table", maps.to_mr)):
                self.register_buffer(name, torch.tensor(values), persistent=False)
        self.weights = {
            "cycle": settings.cycle_weight,
            "identity": settings.identity_weight,
            "structure": settings.structure_weight,
        }
        shape = {"features": settings.generator_features, "blocks": settings.generator_blocks}
        self.to_ct = ResNetGenerator(**shape)
        self.to_mr = ResNetGenerator(**shape)

    def forward(
        self, mr: Tensor, ct: Tensor, judge_mr: Judge, judge_ct: Judge, *, warm_up: bool = False
    ) -> dict[str, Tensor]:
        """Losses and translations of a batch.

        Args:
            mr: (B, 1, Z, Y, X), between -1 and 1.
            ct: likewise; of other patients.
            judge_mr: discriminator of MR.
            judge_ct: discriminator of CT.
            warm_up: minimize the distance from matched histograms in place of the adversarial loss.

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
        if self.has_warmup:
            losses |= {
                "matched_ct": distance(fake_ct, mapped(mr, self.to_ct_table)),
                "matched_mr": distance(fake_mr, mapped(ct, self.to_mr_table)),
            }
        total = self.weighted(losses, warm_up=warm_up)
        return {TOTAL: total, **losses, FAKE_CT: fake_ct, FAKE_MR: fake_mr}

    def weighted(self, losses: Mapping[str, Tensor], *, warm_up: bool = False) -> Tensor:
        """The sum that is minimized."""
        judged, matched = (0.0, _MATCHED_WEIGHT) if warm_up else (1.0, 0.0)
        weights = {**self.weights, "adversarial": judged, "matched": matched}
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


def _translated(
    generator: ResNetGenerator, image: Tensor, own: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """A translation, and what becomes of an image that is of the wanted kind already."""
    if own is None:
        return generator(image), None
    translation, same = generator(torch.cat([image, own])).split(len(image))
    return translation, same


def _discriminator_loss(discriminator: PatchDiscriminator, real: Tensor, fake: Tensor) -> Tensor:
    of_real, of_fake = discriminator(torch.cat([real, fake])).split(len(real))
    return 0.5 * (adversarial_loss(of_real, real=True) + adversarial_loss(of_fake, real=False))
