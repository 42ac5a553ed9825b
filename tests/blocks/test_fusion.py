"""SPEC F.6: attention fusion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from layer_settings import SETTINGS
from torch import nn

from nnunet_ext.blocks import AttentionFusion


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def fusion(deep: int = 8, skip: int = 5, dim: int = 3) -> AttentionFusion:
    return AttentionFusion(deep, skip, kernel_size=(3,) * dim, settings=SETTINGS[dim]).double()


def maps(deep: int = 8, skip: int = 5, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    small, large = (2, 3, 4)[:dim], (4, 6, 8)[:dim]
    return (
        torch.randn(2, deep, *small, dtype=torch.float64),
        torch.randn(2, skip, *large, dtype=torch.float64),
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(("deep", "skip"), [(8, 5), (2, 1), (7, 7), (320, 320)])
def test_output_has_the_shape_of_the_skip(deep: int, skip: int, dim: int) -> None:
    low = maps(deep, skip, dim)
    block = fusion(deep, skip, dim)
    assert block(*low).shape == low[1].shape
    assert block.output_channels == skip
    assert block.channel_gate.inner_channels == max(1, deep // 16)


@pytest.mark.parametrize("deep", [8, 7])
def test_the_halves_partition_the_deep_channels(deep: int) -> None:
    block = fusion(deep)
    first, second = (set(half.tolist()) for half in block.permutation.split(block.halves))
    assert not first & second
    assert first | second == set(range(deep))
    assert len(first) - len(second) in (0, 1)


def test_the_permutation_is_random_kept_in_checkpoints_and_never_redrawn(tmp_path: Path) -> None:
    block = fusion(32)
    assert "permutation" in block.state_dict()
    assert block.permutation.tolist() != list(range(32))
    before = block.permutation.clone()
    deep, skip = maps(32)
    block.train()
    block(deep, skip)
    block(deep, skip)
    assert torch.equal(block.permutation, before)
    block.permutation.copy_(torch.arange(32))  # as another version of ours might have drawn it
    expected = block.eval()(deep, skip)
    torch.save(block.state_dict(), tmp_path / "weights.pth")
    other = fusion(32).eval()
    assert not torch.equal(other(deep, skip), expected)
    other.load_state_dict(torch.load(tmp_path / "weights.pth"))
    assert torch.equal(other(deep, skip), expected)
    assert torch.equal(other(deep, skip), expected)


def test_steps_of_the_paper() -> None:
    """Written out from SPEC A3.2, with the deep features upsampled before they are permuted."""
    block = fusion()
    deep, skip = maps()
    upsampled = nn.functional.interpolate(deep, size=skip.shape[2:], mode="trilinear", align_corners=False)
    first, second = upsampled[:, block.permutation[:4]], upsampled[:, block.permutation[4:]]
    lateral = block.lateral(skip)
    both = torch.cat((first, lateral), dim=1)
    channel = block.channel_gate
    by_channel = torch.sigmoid(
        channel.excite(torch.relu(channel.squeeze(both.mean((2, 3, 4), keepdim=True))))
    )
    summed = second + lateral
    pooled = torch.cat((summed.mean(1, keepdim=True), summed.max(1, keepdim=True).values), dim=1)
    by_voxel = torch.sigmoid(block.spatial_gate(pooled))
    mixed = (block.spatial_mix(by_voxel * summed), block.channel_mix(by_channel * both))
    expected = block.mix(torch.cat(mixed, dim=1))
    torch.testing.assert_close(block(deep, skip), expected)


def test_open_attention_is_plain_fusion() -> None:
    block = fusion()
    deep, skip = maps()
    for layer in (block.channel_gate.excite, block.spatial_gate):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, 30.0)
    upsampled = block.settings.resize(deep, skip.shape[2:])[:, block.permutation]
    lateral = block.lateral(skip)
    channels = block.channel_mix(torch.cat((upsampled[:, :4], lateral), dim=1))
    voxels = block.spatial_mix(upsampled[:, 4:] + lateral)
    expected = block.mix(torch.cat((voxels, channels), dim=1))
    torch.testing.assert_close(block(deep, skip), expected, rtol=0, atol=1e-9)


def test_gradients_reach_every_deep_channel() -> None:
    block = fusion()
    deep, skip = (m.requires_grad_() for m in maps())
    block(deep, skip).square().sum().backward()
    assert (deep.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    assert (skip.grad.abs().amax((0, 2, 3, 4)) > 0).all()


def test_spatial_kernel_follows_the_plan() -> None:
    thick = AttentionFusion(4, 2, kernel_size=(1, 3, 3), settings=SETTINGS[3])
    assert thick.spatial_gate.kernel_size == (3, 7, 7)
    assert fusion().spatial_gate.kernel_size == (7, 7, 7)


def test_one_deep_channel_cannot_be_halved() -> None:
    with pytest.raises(ValueError, match="needs at least 2, got 1: plan with more features"):
        fusion(1)
