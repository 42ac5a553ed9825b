"""SPEC F.10: the separable convolution, its attention and the RAS block, against closed forms."""

from __future__ import annotations

import pytest
import torch
from layer_settings import SETTINGS
from torch import nn

from nnunet_ext.blocks import RASBlock, SeparableConv, SpatialAttention

KERNELS = [(3, 3, 3), (1, 3, 3), (3, 5, 3), (3, 1, 1), (3, 3)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def image(dim: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, *(5, 6, 7)[:dim], dtype=torch.float64)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 5, 3)])
def test_equals_one_convolution_with_the_composed_kernel(kernel: tuple[int, ...], bias: bool) -> None:
    layer = SeparableConv(3, 4, kernel_size=kernel, settings=SETTINGS[3], bias=bias).double()
    in_plane, through_plane = layer.in_plane.weight[:, :, 0], layer.through_plane.weight[..., 0, 0]
    composed = torch.einsum("omz,miyx->oizyx", through_plane, in_plane)
    x = image(3)
    expected = nn.functional.conv3d(
        x, composed, layer.through_plane.bias, padding=tuple(k // 2 for k in kernel)
    )
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)


def test_parameters_are_9_cin_cout_plus_3_cout_squared() -> None:
    layer = SeparableConv(5, 8, kernel_size=(3, 3, 3), settings=SETTINGS[3], bias=False)
    assert sum(p.numel() for p in layer.parameters()) == 9 * 5 * 8 + 3 * 8**2


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ((3, 3, 3), [(1, 3, 3), (3, 1, 1)]),
        ((1, 3, 3), [(1, 3, 3)]),
        ((3, 5, 3), [(1, 5, 3), (3, 1, 1)]),
        ((3, 3), [(3, 3)]),
    ],
)
def test_kernels_follow_the_plan(kernel: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    layer = SeparableConv(1, 2, kernel_size=kernel, settings=SETTINGS[len(kernel)])
    convolutions = [m for m in layer.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
    assert [m.kernel_size for m in convolutions] == expected
    # Only the last may have a bias: else the pair is no convolution at the border.
    assert [m.bias is not None for m in convolutions] == [False] * (len(expected) - 1) + [True]


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3, 3), (0, 3, 3)])
def test_refuses_a_kernel_that_does_not_fit(kernel: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"kernel_size must be 3 odd numbers for Conv3d, got"):
        SeparableConv(1, 1, kernel_size=kernel, settings=SETTINGS[3])


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_pair_keeps_he_s_variance(kernel: tuple[int, ...]) -> None:
    """A convolution before a ReLU doubles the mean square of its input; a pair must not quadruple it."""
    settings = SETTINGS[len(kernel)]
    layer = SeparableConv(64, 64, kernel_size=kernel, settings=settings)
    for module in layer.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, a=1e-2)
    layer.initialize_after_he()
    size = (16,) * settings.dim
    response = layer(torch.randn(4, 64, *size))[(..., *(slice(4, -4),) * settings.dim)]
    assert float(response.detach().square().mean()) == pytest.approx(2, rel=0.25)


@pytest.mark.parametrize("kernel", KERNELS)
def test_attention_is_per_voxel_in_0_1_and_saturates_to_the_identity(kernel: tuple[int, ...]) -> None:
    dim = len(kernel)
    attention = SpatialAttention(8, kernel_size=kernel, settings=SETTINGS[dim], reduction=4).double()
    features = image(dim, 8)
    gate = attention.weights(features)
    assert gate.shape == features.shape
    assert ((gate > 0) & (gate < 1)).all()
    assert (gate.flatten(2).std(dim=2) > 0).all()
    torch.testing.assert_close(attention(features), features * gate)
    last = attention.excite.through_plane or attention.excite.in_plane
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 30.0)
    torch.testing.assert_close(attention(features), features, rtol=0, atol=1e-9)


def test_attention_formula_of_the_paper() -> None:
    attention = SpatialAttention(8, kernel_size=(3, 3, 3), settings=SETTINGS[3], reduction=2).double()
    features = image(3, 8)
    expected = features * torch.sigmoid(attention.excite(torch.relu(attention.squeeze(features))))
    torch.testing.assert_close(attention(features), expected)
    assert attention.squeeze.output_channels == 4


@pytest.mark.parametrize("channels", [(3, 6), (6, 6)])
@pytest.mark.parametrize("kernel", KERNELS)
def test_block_with_a_silent_second_norm_is_its_shortcut(
    kernel: tuple[int, ...], channels: tuple[int, int]
) -> None:
    block = RASBlock(*channels, kernel_size=kernel, settings=SETTINGS[len(kernel)]).double()
    norm = block.act2[0]
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)
    x = image(len(kernel), channels[0])
    assert torch.equal(block(x), block.shortcut(x))
    if channels[0] == channels[1]:
        assert torch.equal(block(x), x)


def test_nothing_follows_the_sum() -> None:
    """An activation after the sum, as in He's block, would leave no or few negative values."""
    block = RASBlock(4, 4, kernel_size=(3, 3, 3), settings=SETTINGS[3]).double()
    assert float((block(image(3, 4)) < 0).double().mean()) > 0.2


def test_gradcheck() -> None:
    block = RASBlock(2, 3, kernel_size=(3, 3, 3), settings=SETTINGS[3]).double()
    x = torch.randn(1, 2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,), fast_mode=True)
