"""Networks of CycleGAN in three dimensions: a residual generator and a discriminator of patches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of weights, N(0, 0.02) as in CycleGAN.
_WEIGHT_STD = 0.02
# Two halvings in the generator, and a reflection of 3 voxels at its ends.
_GENERATOR_STEP_VOX = 4
_SMALLEST_GENERATOR_VOX = 8
_KERNEL = 4  # of the discriminator


class ResNetGenerator(nn.Module):
    """From one image to another of the same size, with values between -1 and 1.

    Convolution 7^3, two of stride 2, residual blocks, two transposed convolutions, convolution 7^3, tanh;
    instance normalization without parameters, borders reflected.

    Reference:
        Paper 001 (CM-TranCaF), MR to CT translation network; Zhu et al., Unpaired image-to-image translation
        using cycle-consistent adversarial networks, 2017, arXiv 1703.10593 (appendix: generator). SPEC A2.1.

    Differences from the paper:
        - three dimensions; it does not say depth and width: 6 blocks and 32 features here.

    Args:
        in_channels: of the image.
        out_channels: of the result.
        features: of the first convolution, at least 1; doubled twice.
        blocks: residual blocks at a quarter of the resolution, at least 1.

    Raises:
        ValueError: fewer features or blocks than 1.

    Example:
        >>> generator = ResNetGenerator(features=2, blocks=1)
        >>> generator(torch.zeros(1, 1, 8, 12, 16)).shape
        torch.Size([1, 1, 8, 12, 16])
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, *, features: int = 32, blocks: int = 6
    ) -> None:
        super().__init__()
        if features < 1 or blocks < 1:
            raise ValueError(f"expected features and blocks of at least 1, got {features} and {blocks}")
        deepest = 4 * features
        self.layers = nn.Sequential(
            *_reflected(in_channels, features, kernel_size=7),
            *_halved(features, 2 * features),
            *_halved(2 * features, deepest),
            *(ResidualBlock(deepest) for _ in range(blocks)),
            *_doubled(deepest, 2 * features),
            *_doubled(2 * features, features),
            nn.ReflectionPad3d(3),
            ThinConv3d(features, out_channels, 7),
        )
        self.apply(initialize)

    def begin_at_zero(self) -> None:
        """Set the last convolution to 0, so that :meth:`logits` is 0 for any image."""
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def logits(self, image: Tensor) -> Tensor:
        """What :meth:`forward` gives, before tanh."""
        result: Tensor = self.layers(image)
        return result

    def forward(self, image: Tensor) -> Tensor:
        """Translate images.

        Args:
            image: (B, in_channels, Z, Y, X), between -1 and 1; sizes as :func:`check_generator_size` says.

        Returns:
            (B, out_channels, Z, Y, X), between -1 and 1.
        """
        return self.logits(image).tanh()


class ThinConv3d(nn.Conv3d):
    """A convolution from or to a single channel, four to five times faster on a CPU.

    The CPU's kernels leave most of their width unused where one side has one channel: two convolutions of 7^3
    took two thirds of a generator's time. The taps along the first axis become channels instead, and the same
    weights a convolution within slices. The result is the same up to rounding. Without padding and strides.

    Example:
        >>> ThinConv3d(2, 1, 3)(torch.zeros(1, 2, 5, 6, 7)).shape
        torch.Size([1, 1, 3, 4, 5])
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - PyTorch's name
        """As ``torch.nn.Conv3d``."""
        taps, planes = self.kernel_size[0], input.shape[2] - self.kernel_size[0] + 1
        if input.device.type != "cpu" or (self.in_channels > 1 and self.out_channels > 1):
            return super().forward(input)
        if self.in_channels == 1:
            shifted = torch.cat([input[:, :, tap : tap + planes] for tap in range(taps)], 1)
            return functional.conv3d(shifted, self.weight[:, 0][:, :, None], self.bias)
        of_each_tap = functional.conv3d(input, self.weight[0].transpose(0, 1)[:, :, None])
        result = torch.stack([of_each_tap[:, tap, tap : tap + planes] for tap in range(taps)]).sum(0)[:, None]
        return result if self.bias is None else result + self.bias


class ResidualBlock(nn.Module):
    """Two convolutions of 3^3 whose result is added to what came in; no activation after the sum."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_reflected(features, features, kernel_size=3),
            nn.ReflectionPad3d(1),
            nn.Conv3d(features, features, 3, bias=False),
            nn.InstanceNorm3d(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``."""
        result: Tensor = x + self.layers(x)
        return result


class PatchDiscriminator(nn.Module):
    """Judges overlapping parts of an image: about 1 for real ones, about 0 for generated ones.

    Reference:
        As :class:`ResNetGenerator`; Isola et al., Image-to-image translation with conditional adversarial
        networks, 2017 (PatchGAN). A judgement sees 16, 34 or 70 voxels along each axis with 1, 2 or 3 layers.

    Differences from the paper:
        - three dimensions; 2 layers by default, since 70 voxels are more than a patch of 64.

    Args:
        in_channels: of the image.
        features: of the first convolution, at least 1; doubled with each layer, up to eightfold.
        layers: convolutions of stride 2, at least 1.

    Raises:
        ValueError: fewer features or layers than 1.

    Example:
        >>> PatchDiscriminator(features=2, layers=2)(torch.zeros(1, 1, 64, 64, 64)).shape
        torch.Size([1, 1, 14, 14, 14])
    """

    def __init__(self, in_channels: int = 1, *, features: int = 64, layers: int = 2) -> None:
        super().__init__()
        if features < 1 or layers < 1:
            raise ValueError(f"expected features and layers of at least 1, got {features} and {layers}")
        widths = [features * min(2**n, 8) for n in range(layers + 1)]
        parts: list[nn.Module] = [
            nn.Conv3d(in_channels, features, _KERNEL, stride=2, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for number, (narrow, wide) in enumerate(itertools.pairwise(widths), start=1):
            stride = 2 if number < layers else 1
            parts += [
                nn.Conv3d(narrow, wide, _KERNEL, stride=stride, padding=1, bias=False),
                nn.InstanceNorm3d(wide),
                nn.LeakyReLU(0.2),
            ]
        parts.append(nn.Conv3d(widths[-1], 1, _KERNEL, padding=1))
        self.layers = nn.Sequential(*parts)
        self.apply(initialize)

    def forward(self, image: Tensor) -> Tensor:
        """Judge images.

        Args:
            image: (B, in_channels, Z, Y, X), each size as :func:`check_discriminator_size` says.

        Returns:
            (B, 1, z, y, x), unbounded; each voxel sees :func:`receptive_field_vox` of the image.
        """
        result: Tensor = self.layers(image)
        return result


def receptive_field_vox(layers: int) -> int:
    """How much of the image one judgement of a :class:`PatchDiscriminator` sees, along each axis.

    Example:
        >>> [receptive_field_vox(n) for n in (1, 2, 3)]
        [16, 34, 70]
    """
    field = 1 + 2 * (_KERNEL - 1)  # the last two convolutions have stride 1
    for _ in range(layers):
        field = 2 * field + _KERNEL - 2
    return field


def check_generator_size(size_vox: Sequence[int]) -> None:
    """Raise ValueError for a patch that a :class:`ResNetGenerator` cannot give back in its own size.

    Example:
        >>> check_generator_size((8, 64, 63))
        Traceback (most recent call last):
        ValueError: expected a patch of at least 8 voxels in multiples of 4 along 3 axes, got (8, 64, 63)
    """
    ok = len(size_vox) == 3 and all(
        n >= _SMALLEST_GENERATOR_VOX and n % _GENERATOR_STEP_VOX == 0 for n in size_vox
    )
    if not ok:
        raise ValueError(
            f"expected a patch of at least {_SMALLEST_GENERATOR_VOX} voxels in multiples of "
            f"{_GENERATOR_STEP_VOX} along 3 axes, got {tuple(size_vox)}"
        )


def check_discriminator_size(size_vox: Sequence[int], *, layers: int) -> None:
    """Raise ValueError for a patch that is smaller than what one judgement is to see.

    Example:
        >>> check_discriminator_size((64, 64, 64), layers=2)
        >>> check_discriminator_size((64, 64, 64), layers=3)
        Traceback (most recent call last):
        ValueError: expected a patch of at least 70 voxels along each axis, ...
    """
    field = receptive_field_vox(layers)
    if min(size_vox) < field:
        raise ValueError(
            f"expected a patch of at least {field} voxels along each axis, which a discriminator of {layers} "
            f"layers sees at once, got {tuple(size_vox)}; take fewer layers"
        )


def initialize(module: nn.Module) -> None:
    """CycleGAN's start: weights of convolutions from N(0, 0.02), no bias."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.normal_(module.weight, 0.0, _WEIGHT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _reflected(narrow: int, wide: int, *, kernel_size: int) -> list[nn.Module]:
    """A convolution that keeps the size."""
    return [
        nn.ReflectionPad3d(kernel_size // 2),
        ThinConv3d(narrow, wide, kernel_size, bias=False),  # the normalization takes a bias out again
        nn.InstanceNorm3d(wide),
        nn.ReLU(),
    ]


def _halved(narrow: int, wide: int) -> list[nn.Module]:
    return [nn.Conv3d(narrow, wide, 3, stride=2, padding=1, bias=False), nn.InstanceNorm3d(wide), nn.ReLU()]


def _doubled(wide: int, narrow: int) -> list[nn.Module]:
    transposed = nn.ConvTranspose3d(wide, narrow, 3, stride=2, padding=1, output_padding=1, bias=False)
    return [transposed, nn.InstanceNorm3d(narrow), nn.ReLU()]
