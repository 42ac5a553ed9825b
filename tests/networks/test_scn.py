"""RefineSCN: the product, its cells, how far it sees (SPEC F.8)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nnunet_ext.networks.scn import RefineSCN, cropped

SMALL: dict[str, Any] = {"features": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"factor": (4, 4, 4)},
    "payer": {"factor": (4, 4, 4), "kernel_size": (5, 5, 5), "hidden_convs": 3},
    "anisotropic": {"factor": (1, 4, 4)},
    "odd factor": {"factor": (3, 2, 1), "kernel_size": (3, 3, 3)},
    "coarse": {"factor": (4, 4, 4), "local_grid": (2, 2, 2), "kernel_size": (3, 3, 3)},
    "logits": {"factor": (2, 4, 4), "inputs": "logits"},
}


def network(**options: Any) -> RefineSCN:
    torch.manual_seed(0)
    return RefineSCN(3, **{**SMALL, **options}).double().eval()


def probabilities(*size: int, channels: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.softmax(2 * torch.randn(1, channels, *size, generator=rng, dtype=torch.float64), 1)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("size", [(8, 16, 12), (7, 13, 10), (1, 3, 2)], ids=str)
def test_logits_are_local_times_spatial_at_any_size(options: dict[str, Any], size: tuple[int, ...]) -> None:
    scn, x = network(**options), probabilities(*size)
    local = scn.local(x)
    spatial = scn.upsampled(scn.spatial(scn.cells(local)))
    assert torch.equal(scn(x), local * cropped(spatial, size))
    assert scn(x).shape == x.shape
    assert float(local.detach().abs().max()) <= 1


def test_without_a_spatial_configuration_all_classes_are_alike() -> None:
    scn = network()
    for parameter in scn.configuration[-1].parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(scn(probabilities(8, 8, 8)), torch.zeros(1, 3, 8, 8, 8, dtype=torch.float64))


@pytest.mark.parametrize(
    ("size", "cells"), [((8, 16, 12), (2, 4, 3)), ((9, 13, 4), (3, 4, 1)), ((1, 1, 5), (1, 1, 2))], ids=str
)
def test_cells_are_means_of_the_voxels_that_are_there(size: tuple[int, ...], cells: tuple[int, ...]) -> None:
    scn, local = network(), probabilities(*size)
    found = scn.cells(local)
    assert found.shape[2:] == cells
    last = local[..., 4 * cells[0] - 4 :, 4 * cells[1] - 4 :, 4 * cells[2] - 4 :]
    torch.testing.assert_close(found[0, :, -1, -1, -1], last.mean((2, 3, 4))[0])


def test_padding_to_a_multiple_changes_nothing_but_what_it_adds() -> None:
    """A volume of 4 n voxels and the same one cut short agree where the cut is out of reach."""
    scn = network(kernel_size=(1, 1, 1), hidden_convs=0)
    whole, cut = probabilities(8, 8, 24), probabilities(8, 8, 24)[..., :22]
    torch.testing.assert_close(scn(cut)[..., :12], scn(whole)[..., :12])


def positive(scn: RefineSCN) -> RefineSCN:
    """Weights with which every voxel in reach has a say: nothing cancels, no ReLU is shut."""
    for parameter in scn.parameters():
        torch.nn.init.constant_(parameter, 0.05 if parameter.ndim > 1 else 0.01)
    return scn


def seen_from(scn: RefineSCN, size: int, voxel: int, axis: int) -> tuple[int, int]:
    """First and last position along an axis that the logits of a voxel depend on."""
    shape = [5, 5, 5]
    shape[axis] = size
    x = probabilities(*shape).requires_grad_()
    index = [2, 2, 2]
    index[axis] = voxel
    scn(x)[0, 0, index[0], index[1], index[2]].backward()
    assert x.grad is not None
    others = [a for a in range(5) if a != axis + 2]
    touched = x.grad.abs().sum(others).nonzero().flatten()
    return int(touched[0]), int(touched[-1])


@pytest.mark.parametrize(
    ("name", "axis"),
    [("paper", 0), ("paper", 2), ("payer", 1), ("anisotropic", 0), ("odd factor", 0), ("coarse", 2)],
)
def test_reach_is_what_gradients_say(name: str, axis: int) -> None:
    scn = positive(network(**VARIANTS[name], features=1))
    reach = scn.reach[axis]
    middle = (reach // scn.factor[axis] + 1) * scn.factor[axis]
    size = 2 * middle + 2 * scn.factor[axis]
    farthest = 0
    for voxel in range(middle, middle + scn.factor[axis]):
        low, high = seen_from(scn, size, voxel, axis)
        farthest = max(farthest, voxel - low, high - voxel)
        assert low > 0, "the volume must be larger than the reach"
        assert high < size - 1, "the volume must be larger than the reach"
    assert farthest == reach


def test_an_impulse_reaches_as_far_as_the_spatial_kernels() -> None:
    """9 cells of 4 voxels in the plane; a stack of 3x3x3 convolutions alone sees 3 voxels."""
    scn = network()
    x = torch.full((1, 3, 8, 8, 81), 1 / 3, dtype=torch.float64)
    impulse = x.clone()
    impulse[..., 4, 4, 40] = torch.tensor([0.1, 0.8, 0.1], dtype=torch.float64)
    for what, least, most in ((scn, 18, 40), (scn.local, 1, 3)):
        changed = (what(impulse) - what(x)).abs().amax((0, 1, 2, 3)).nonzero().flatten()
        away = int((changed - 40).abs().max())
        assert least <= away <= most


def test_it_commutes_with_translations_by_whole_cells() -> None:
    scn = network(kernel_size=(3, 3, 3))
    large = probabilities(4, 4, 120)
    here, there = scn(large[..., :100]), scn(large[..., 8:108])
    reach = scn.reach[2]
    inner = slice(reach, 100 - reach)
    torch.testing.assert_close(
        here[..., slice(inner.start + 8, inner.stop)], there[..., slice(inner.start, inner.stop - 8)]
    )


def test_borders_stay_sharp_on_a_coarser_local_grid() -> None:
    """The 1x1x1 convolution of the input: two neighbors in one cell of the local grid differ."""
    scn = network(**VARIANTS["coarse"])
    x = torch.zeros(1, 3, 4, 4, 4, dtype=torch.float64)
    x[:, 0, ..., :1] = 1
    x[:, 1, ..., 1:] = 1
    local = scn.local(x)
    assert not torch.allclose(local[..., 0], local[..., 1])


@pytest.mark.parametrize("has_regions", [False, True])
def test_logits_as_input_are_finite_for_sure_probabilities(has_regions: bool) -> None:
    scn = network(inputs="logits", has_regions=has_regions)
    sure = torch.zeros(1, 3, 4, 4, 4, dtype=torch.float64)
    sure[:, 1] = 1
    assert bool(torch.isfinite(scn(sure)).all())
    assert not torch.equal(scn(sure), network(has_regions=has_regions)(sure))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_all_weights_learn_and_the_arguments_build_the_same_network(options: dict[str, Any]) -> None:
    scn = network(**options)
    scn(probabilities(8, 12, 12)).square().mean().backward()
    for name, parameter in scn.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name
    again = RefineSCN(**scn.arguments()).double()
    again.load_state_dict(scn.state_dict())
    assert torch.equal(again(probabilities(5, 6, 7)), scn(probabilities(5, 6, 7)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": (4, 4)}, "2d configurations cannot be refined"),
        ({"kernel_size": (4, 9, 9)}, "expected an odd kernel size"),
        ({"factor": (2, 2, 2), "local_grid": (1, 4, 4)}, r"a factor that \(1, 4, 4\) divides"),
    ],
)
def test_wrong_sizes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 2, 8, 8, 8)])
def test_other_inputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 3, z, y, x\)"):
        network()(torch.zeros(shape, dtype=torch.float64))
