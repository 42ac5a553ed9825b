"""Blockwise equals whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_ext.networks.scn import RefineSCN
from nnunet_ext.refinement import blockwise
from nnunet_ext.refinement.blockwise import block_sizes, refined_probabilities

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"factor": (4, 4, 4)},
    "anisotropic": {"factor": (1, 4, 4)},
    "payer": {"factor": (2, 4, 4), "kernel_size": (5, 5, 5), "hidden_convs": 3},
    "coarse": {"factor": (4, 4, 4), "local_grid": (2, 2, 2)},
    "very coarse": {"factor": (4, 8, 8), "local_grid": (1, 4, 4)},
    "regions": {"factor": (2, 4, 4), "has_regions": True, "inputs": "logits"},
}


def given(size: tuple[int, ...]) -> np.ndarray:
    rng = torch.Generator().manual_seed(0)
    return torch.softmax(2 * torch.randn(3, *size, generator=rng), 0).numpy().astype(np.float16)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("size", [(13, 30, 41), (3, 9, 50)], ids=str)
def test_blockwise_equals_whole(
    options: dict[str, Any], size: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockwise, "CELL_BLOCK", 5)  # so that cells come in several blocks, too
    torch.manual_seed(0)
    network = RefineSCN(3, features=4, **options).eval()
    probabilities = given(size)
    with torch.inference_mode():
        logits = network(torch.from_numpy(probabilities.astype(np.float32))[None])
    whole = torch.sigmoid(logits) if network.has_regions else torch.softmax(logits, 1)
    found = refined_probabilities(network, probabilities, file=tmp_path / "a.npy", block=8)
    np.testing.assert_allclose(found, whole[0].numpy(), atol=2e-6)


@pytest.mark.parametrize("local_grid", [(1, 1, 1), (2, 2, 2), (1, 4, 4), (8, 8, 8)], ids=str)
@pytest.mark.parametrize("channels", [2, 8, 60])
def test_blocks_are_bounded_whatever_the_grid(local_grid: tuple[int, ...], channels: int) -> None:
    factor = tuple(max(4, g) for g in local_grid)
    network = RefineSCN(channels, features=4, factor=factor, local_grid=local_grid)
    edges = block_sizes(network)
    assert channels * np.prod(edges) <= blockwise.BLOCK_VALUES
    assert all(edge % f == 0 and edge >= 32 for edge, f in zip(edges, factor, strict=True))


def test_smaller_blocks_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = RefineSCN(3, features=4, factor=(4, 8, 8), local_grid=(1, 4, 4)).eval()
    probabilities = given((13, 30, 41))
    large = np.array(refined_probabilities(network, probabilities, file=tmp_path / "a.npy"))
    monkeypatch.setattr(blockwise, "BLOCK_VALUES", 3 * 8 * 16 * 16)
    assert max(block_sizes(network)) <= 40
    small = np.array(refined_probabilities(network, probabilities, file=tmp_path / "b.npy"))
    np.testing.assert_allclose(small, large, atol=2e-6)


def test_less_halo_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    torch.manual_seed(0)
    network = RefineSCN(3, features=4).eval()
    probabilities = given((13, 30, 41))
    whole = np.array(refined_probabilities(network, probabilities, file=tmp_path / "a.npy", block=64))
    monkeypatch.setattr(RefineSCN, "local_reach", (2, 2, 2))
    cut = np.array(refined_probabilities(network, probabilities, file=tmp_path / "b.npy", block=8))
    assert np.abs(whole - cut).max() > 1e-4
