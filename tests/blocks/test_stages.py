"""Stages of plain, squeezed, residual and V-Net blocks."""

from __future__ import annotations

import pickle
from math import prod

import pytest
import torch
from layer_settings import SETTINGS
from torch import nn

from nnunet_ext.blocks import PlainStage, ResidualStage, SqueezeExcitationStage, VNetStage
from nnunet_ext.networks.unet import UNet


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_plain_stage_has_the_plan_s_order_or_paper_000_s() -> None:
    for activation_first, expected in (
        (False, [nn.Conv2d, nn.InstanceNorm2d, nn.LeakyReLU]),
        (True, [nn.Conv2d, nn.LeakyReLU, nn.InstanceNorm2d]),
    ):
        stage = PlainStage(
            1,
            4,
            convolutions=3,
            kernel_size=(3, 3),
            settings=SETTINGS[2],
            activation_first=activation_first,
        )
        assert [[type(layer) for layer in block.all_modules] for block in stage.convs] == [expected] * 3


def test_squeeze_excitation_follows_the_convolutions() -> None:
    stage = SqueezeExcitationStage(1, 4, convolutions=2, kernel_size=(3, 3), settings=SETTINGS[2])
    x = torch.randn(2, 1, 6, 6)
    torch.testing.assert_close(stage(x), stage.gate(stage.plain(x)))


STAGES = [(1, (1, 1, 1)), (4, (1, 1, 1)), (1, (1, 2, 2)), (4, (2, 2, 2))]


@pytest.mark.parametrize(("channels", "stride"), STAGES)
@pytest.mark.parametrize("kind", [ResidualStage, VNetStage])
def test_residual_stages_count_pickle_and_name_their_readers(
    kind: type[nn.Module], channels: int, stride: tuple[int, ...]
) -> None:
    depth = {"blocks": 2} if kind is ResidualStage else {"convolutions": 2}
    stage = kind(channels, 4, stride=stride, kernel_size=(3, 3, 3), settings=SETTINGS[3], **depth)
    x = torch.randn(2, channels, 4, 6, 8)
    produced = []
    readers = set()
    for module in stage.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(lambda _m, _i, o: produced.append(prod(o.shape[1:])))
            module.register_forward_pre_hook(lambda m, i: readers.add(m) if i[0] is x else None)
    y = stage(x)
    assert y.shape == (2, 4, *(n // s for n, s in zip((4, 6, 8), stride, strict=True)))
    assert stage.compute_conv_feature_map_size((4, 6, 8)) == sum(produced)
    names = {name for name, m in stage.named_modules(remove_duplicate=False) if m in readers}
    assert names == set(stage.input_projections)
    for module in stage.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    torch.testing.assert_close(pickle.loads(pickle.dumps(stage))(x), y)


def test_residual_stage_drops_whole_channels_between_the_convolutions() -> None:
    stage = ResidualStage(
        64, 64, blocks=2, stride=(1, 1), kernel_size=(3, 3), settings=SETTINGS[2], dropout=0.3
    )
    seen: list[torch.Tensor] = []
    for block in stage.stack.blocks:
        block.conv2.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    image = torch.randn(1, 64, 8, 8)
    stage(image)
    for inside in seen:
        silent = (inside == 0).flatten(2)
        assert (silent.all(dim=2) == silent.any(dim=2)).all()
        assert 5 <= int(silent.all(dim=2).sum()) <= 35
    stage.eval()(image)
    assert len(seen) == 4
    assert not any((inside == 0).flatten(2).all(dim=2).any() for inside in seen[2:])


def test_what_is_dropped_passes_by_the_shortcut() -> None:
    """With everything dropped inside the blocks, the first block's input reaches the stage's output."""
    stage = ResidualStage(
        4, 4, blocks=2, stride=(1, 1, 1), kernel_size=(3, 3, 3), settings=SETTINGS[3], dropout=0.999999
    )
    for block in stage.stack.blocks:
        nn.init.zeros_(block.conv2.conv.bias)
    image = torch.rand(2, 4, 4, 4, 4)
    torch.testing.assert_close(stage(image), image)


@pytest.mark.parametrize("begins_as_shortcut", [True, False])
def test_whether_the_convolutions_take_part_from_the_beginning(begins_as_shortcut: bool) -> None:
    stage = ResidualStage(
        4,
        4,
        blocks=2,
        stride=(1, 1, 1),
        kernel_size=(3, 3, 3),
        settings=SETTINGS[3],
        begins_as_shortcut=begins_as_shortcut,
    )
    stage.apply(UNet.initialize)
    image = torch.rand(1, 4, 4, 4, 4)
    assert torch.equal(stage(image), image) == begins_as_shortcut


def test_v_net_stage_learns_a_residual() -> None:
    """With a silent last normalization the stage is the nonlinearity of its input."""
    stage = VNetStage(4, 4, convolutions=3, stride=(1, 1, 1), kernel_size=(5, 5, 5), settings=SETTINGS[3])
    nn.init.zeros_(stage.convolutions[-1].weight)
    nn.init.zeros_(stage.convolutions[-1].bias)
    x = torch.randn(1, 4, 4, 4, 4)
    torch.testing.assert_close(stage(x), nn.functional.leaky_relu(x))
    assert [m.kernel_size for m in stage.modules() if isinstance(m, nn.Conv3d)] == [(5, 5, 5)] * 3
