"""CycleGAN's networks: sizes, ranges, and what a judgement sees (SPEC F.9)."""

from __future__ import annotations

import pytest
import torch

from nnunet_ext.networks.cyclegan import (
    PatchDiscriminator,
    ResNetGenerator,
    ThinConv3d,
    check_discriminator_size,
    check_generator_size,
    receptive_field_vox,
)


@pytest.mark.parametrize("size", [(8, 8, 8), (8, 12, 20), (16, 8, 28)])
def test_a_translation_has_the_size_of_the_image_and_values_from_minus_1_to_1(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    generator = ResNetGenerator(features=3, blocks=2)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(100)  # far beyond what tanh lets through
    image = torch.rand(2, 1, *size) * 2 - 1
    translation = generator(image)
    assert translation.shape == image.shape
    assert translation.abs().max() <= 1
    assert translation.abs().max() > 0.9


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    torch.manual_seed(0)
    generator, discriminator = ResNetGenerator(features=2, blocks=1), PatchDiscriminator(features=2, layers=1)
    images = torch.rand(2, 1, 16, 16, 16)
    for network in (generator, discriminator):
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
        torch.testing.assert_close(together, apart)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_judgement_sees_as_much_as_stated(layers: int, field: int) -> None:
    """By the gradient of one judgement; the normalization, which sees everything, is taken out."""
    discriminator = PatchDiscriminator(features=1, layers=layers)
    for name, module in list(discriminator.layers.named_children()):
        if isinstance(module, torch.nn.InstanceNorm3d):
            discriminator.layers[int(name)] = torch.nn.Identity()
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.fill_(0.1)
    image = torch.ones(1, 1, field + 10, 8 * 2**layers, 8 * 2**layers, requires_grad=True)
    judgement = discriminator(image)
    middle = judgement[0, 0, judgement.shape[2] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, image)
    seen = gradient[0, 0].abs().sum((1, 2)).nonzero()
    assert int(seen.max() - seen.min()) + 1 == field == receptive_field_vox(layers)


@pytest.mark.parametrize(("layers", "size", "expected"), [(2, 64, 14), (3, 64, 6), (1, 16, 6)])
def test_maps_of_judgements(layers: int, size: int, expected: int) -> None:
    discriminator = PatchDiscriminator(features=1, layers=layers)
    assert discriminator(torch.zeros(1, 1, size, size, size)).shape == (1, 1, *3 * [expected])


@pytest.mark.parametrize(("channels_in", "channels_out"), [(1, 3), (3, 1), (1, 1), (2, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_thin_convolution_is_a_convolution(channels_in: int, channels_out: int, bias: bool) -> None:
    torch.manual_seed(0)
    thin = ThinConv3d(channels_in, channels_out, 5, bias=bias).double()
    image = torch.rand(2, channels_in, 9, 8, 7, dtype=torch.float64, requires_grad=True)
    found, expected = thin(image), torch.nn.functional.conv3d(image, thin.weight, thin.bias)
    torch.testing.assert_close(found, expected)
    weight = torch.rand_like(found)
    sources = [image, *thin.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((found * weight).sum(), sources),
        torch.autograd.grad((expected * weight).sum(), sources),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    for network in (ResNetGenerator(features=2, blocks=2), PatchDiscriminator(features=2, layers=2)):
        network(torch.rand(1, 1, 24, 24, 24)).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_weights_begin_small_and_centered() -> None:
    torch.manual_seed(0)
    weights = torch.cat([p.detach().flatten() for p in ResNetGenerator().parameters() if p.ndim > 1])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.01)
    assert abs(float(weights.mean())) < 1e-4


@pytest.mark.parametrize("size", [(4, 8, 8), (8, 8, 10), (8, 8)])
def test_sizes_that_cannot_come_back_are_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 4"):
        check_generator_size(size)


def test_a_patch_smaller_than_a_judgement_is_refused() -> None:
    check_discriminator_size((34, 40, 64), layers=2)
    with pytest.raises(ValueError, match="at least 34 voxels"):
        check_discriminator_size((33, 40, 64), layers=2)


def test_widths_below_1_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 6"):
        ResNetGenerator(features=0)
    with pytest.raises(ValueError, match="got 64 and 0"):
        PatchDiscriminator(layers=0)
