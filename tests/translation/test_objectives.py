"""What the networks minimize (SPEC F.9)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from translation_home import small

from nnunet_ext.networks.cyclegan import ResNetGenerator
from nnunet_ext.translation.facts import HISTOGRAM_BINS
from nnunet_ext.translation.generators import AnchoredGenerator
from nnunet_ext.translation.intensity_maps import IntensityMaps
from nnunet_ext.translation.losses import structure_loss
from nnunet_ext.translation.objectives import Discriminators, Generators, frozen

SIZE = (1, 1, 16, 16, 16)


class Constant(nn.Module):
    """A discriminator that always says the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, image: Tensor) -> Tensor:
        return torch.full((len(image), 1, 2, 2, 2), self.value) + 0 * image.mean()


def test_generators_that_change_nothing_pay_for_the_discriminators_alone() -> None:
    generators = Generators(small())
    generators.to_ct = generators.to_mr = nn.Identity()  # type: ignore[assignment]
    mr, ct = torch.rand(SIZE), torch.rand(SIZE)
    losses = generators(mr, ct, Constant(0.5), Constant(0.25))
    assert float(losses["cycle_mr"]) == float(losses["identity_ct"]) == 0
    assert float(losses["total"]) == pytest.approx(0.5**2 + 0.75**2)


def test_weights_scale_their_losses_exactly() -> None:
    mr, ct = torch.rand(SIZE), torch.rand(SIZE)
    judge = Constant(1.0)

    def of(**weights: float) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return Generators(small(**weights))(mr, ct, judge, judge)

    plain = of(cycle_weight=0.0, identity_weight=0.0)
    assert float(plain["total"].detach()) == 0
    assert "identity_ct" not in plain
    heavy = of(cycle_weight=10.0, identity_weight=5.0, structure_weight=2.0)
    sums = {
        name: sum(float(value.detach()) for key, value in heavy.items() if key.startswith(name))
        for name in ("cycle", "identity", "structure")
    }
    assert float(heavy["total"]) == pytest.approx(
        10 * sums["cycle"] + 5 * sums["identity"] + 2 * sums["structure"], rel=1e-5
    )


def test_anchored_generators_begin_as_tables_and_learn_what_to_add() -> None:
    edges = torch.linspace(-1, 1, HISTOGRAM_BINS + 1)
    to_ct, to_mr = 0.5 * edges, -0.4 * edges
    maps = IntensityMaps(tuple(to_ct.tolist()), tuple(to_mr.tolist()))
    torch.manual_seed(0)
    generators = Generators(small(anchored=True), maps)
    image = torch.rand(SIZE) * 2 - 1
    torch.testing.assert_close(generators.to_ct(image), 0.5 * image)
    torch.testing.assert_close(generators.to_mr(image), -0.4 * image)
    other = torch.rand(SIZE) * 2 - 1
    judge = Discriminators(small())
    adam = torch.optim.Adam(generators.parameters(), 1e-2)
    for _ in range(2):
        adam.zero_grad()
        generators(image, other, judge.of_mr, judge.of_ct)["total"].backward()
        adam.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generators.to_ct.parameters())
    assert (generators.to_ct(image) - 0.5 * image).abs().max() > 1e-3
    with pytest.raises(ValueError, match="expected intensity maps for anchored generators"):
        Generators(small(anchored=True))


def test_what_is_anchored_at_the_ends_hardly_moves() -> None:
    """Air stays air however the network argues; in the middle the same argument decides."""
    table = [-1.0] * 64 + [0.0] * (HISTOGRAM_BINS + 1 - 64)
    generator = AnchoredGenerator(ResNetGenerator(features=2, blocks=1), table)
    torch.nn.init.constant_(generator.generator.layers[-1].bias, 1.0)
    image = torch.full(SIZE, -1.0)
    image[..., 4:] = 0.5
    found = generator(image)
    assert float(found[..., :4].detach().max()) < -0.85
    assert float(found[..., 4:].detach().min()) > 0.75


def test_one_pass_gives_what_three_would() -> None:
    torch.manual_seed(0)
    generators = Generators(small()).double()
    judges = Discriminators(small()).double()
    mr, ct = torch.rand(SIZE).double(), torch.rand(SIZE).double()
    found = generators(mr, ct, judges.of_mr, judges.of_ct)
    fake_ct, fake_mr = generators.to_ct(mr), generators.to_mr(ct)
    expected = {
        "adversarial_ct": (judges.of_ct(fake_ct) - 1).square().mean(),
        "adversarial_mr": (judges.of_mr(fake_mr) - 1).square().mean(),
        "cycle_mr": (generators.to_mr(fake_ct) - mr).abs().mean(),
        "cycle_ct": (generators.to_ct(fake_mr) - ct).abs().mean(),
        "identity_ct": (generators.to_ct(ct) - ct).abs().mean(),
        "identity_mr": (generators.to_mr(mr) - mr).abs().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    judged = judges(mr, ct, fake_mr, fake_ct)
    of_ct = (judges.of_ct(ct) - 1).square().mean() + judges.of_ct(fake_ct).square().mean()
    torch.testing.assert_close(judged["discriminator_ct"], of_ct / 2)


def test_a_discriminator_that_says_a_half_pays_a_quarter() -> None:
    discriminators = Discriminators(small())
    discriminators.of_mr = discriminators.of_ct = Constant(0.5)  # type: ignore[assignment]
    image = torch.rand(SIZE)
    losses = discriminators(image, image, image, image)
    assert float(losses["discriminator_mr"]) == float(losses["discriminator_ct"]) == 0.25


def test_frozen_discriminators_pass_gradients_on_and_keep_none() -> None:
    torch.manual_seed(0)
    generators, judges = Generators(small()), Discriminators(small())
    with frozen(judges):
        generators(torch.rand(SIZE), torch.rand(SIZE), judges.of_mr, judges.of_ct)[
            "adversarial_ct"
        ].backward()
    assert all(p.grad is None and p.requires_grad for p in judges.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in generators.to_ct.parameters())


def test_structure_is_kept_by_any_map_of_intensities_and_lost_by_a_shift() -> None:
    torch.manual_seed(0)
    image = torch.nn.functional.avg_pool3d(torch.rand(1, 1, 24, 24, 24), 3, 1) * 4 - 2
    assert float(structure_loss(image, 0.3 - 0.5 * image)) < 0.01
    assert float(structure_loss(image, torch.roll(image, 3, 2))) > 0.5
    assert float(structure_loss(image, torch.rand_like(image))) > 0.8


def test_structure_of_a_flat_image_is_finite_and_has_gradients() -> None:
    flat = torch.zeros(1, 1, 8, 8, 8)
    translation = torch.zeros(1, 1, 8, 8, 8, requires_grad=True)
    loss = structure_loss(flat, translation)
    loss.backward()
    assert torch.isfinite(loss)
    assert translation.grad is not None
    assert torch.isfinite(translation.grad).all()
