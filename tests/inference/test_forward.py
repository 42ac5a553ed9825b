"""Means over folds and mirrored copies, and precision."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from nnunet_ext.inference import forward as room
from nnunet_ext.inference.forward import Forward


class Ramp(nn.Module):
    """Not symmetric along any axis."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        ramp = torch.arange(x[0, 0].numel(), dtype=x.dtype).reshape(x.shape[2:])
        return torch.cat([x * ramp * self.slope, x + ramp], 1)


def test_one_network_without_mirroring_is_the_network_itself() -> None:
    tile = torch.randn(1, 1, 3, 4, 5)
    assert torch.equal(Forward([Ramp(2)])(tile), Ramp(2)(tile))


@pytest.mark.parametrize("axes", [(0,), (2, 0), (0, 1, 2)])
def test_mean_over_every_combination_of_axes_and_folds(axes: tuple[int, ...]) -> None:
    tile = torch.randn(1, 1, 3, 4, 5)
    networks = [Ramp(1), Ramp(-3)]
    copies = [
        torch.flip(network(torch.flip(tile, flips)), flips)
        for network in networks
        for flips in subsets([axis + 2 for axis in axes])
    ]
    assert len(copies) == 2 * 2 ** len(axes)
    expected = torch.stack(copies).double().mean(0)
    forward = Forward(networks, mirroring_axes=axes)
    assert forward.passes == len(copies)
    torch.testing.assert_close(forward(tile).double(), expected, rtol=1e-5, atol=1e-5)


def subsets(items: list[int]) -> list[list[int]]:
    return [[]] if not items else [s + t for s in subsets(items[1:]) for t in ([], items[:1])]


def test_the_networks_answer_is_not_changed_in_place() -> None:
    class Remembers(nn.Module):
        answer = torch.ones(1, 1, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.answer

    network = Remembers()
    Forward([network])(torch.zeros(1, 1, 2, 2))
    assert torch.equal(network.answer, torch.ones(1, 1, 2, 2))


def test_bfloat16_computes_in_it_and_returns_float32(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(room, "cpu_computes_bfloat16", lambda: False)
    seen = []
    convolution = nn.Conv3d(1, 2, 3, padding=1)
    convolution.register_forward_hook(lambda module, x, y: seen.append(y.dtype))
    with caplog.at_level(logging.WARNING):
        forward = Forward([convolution], precision="bfloat16")
    assert "only emulates bfloat16" in caplog.text
    assert forward(torch.randn(1, 1, 8, 8, 8)).dtype is torch.float32
    assert seen == [torch.bfloat16]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"precision": "float16"}, "needs --device cuda"), ({"precision": "half"}, "got 'half'")],
)
def test_precision_is_never_another_one(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Forward([nn.Conv2d(1, 1, 1)], **options)  # type: ignore[arg-type]
