"""Merging of windows (SPEC F.4)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from nnunet_ext.cascade.merge import GaussianMerge, MaximumMerge, Merge

SHAPE, SIZE = (9, 10, 11), (5, 5, 5)
ORIGINS = [(0, 0, 0), (4, 5, 6), (2, 2, 2), (-2, 3, 8), (7, 8, 9)]


def windows(heads: int, seed: int = 0) -> list[tuple[Tensor, tuple[int, ...]]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(heads, *SIZE, generator=generator) * 3, origin) for origin in ORIGINS]


def merged(merge: Merge, parts: Sequence[tuple[Tensor, tuple[int, ...]]]) -> Tensor:
    for logits, origin in parts:
        merge.add(logits, origin)
    return merge.probabilities()


def covered() -> Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    for origin in ORIGINS:
        mask[tuple(slice(max(o, 0), o + n) for o, n in zip(origin, SIZE, strict=True))] = True
    return mask


@pytest.mark.parametrize("has_regions", [False, True])
@pytest.mark.parametrize("heads", [2, 4])
def test_the_maximum_does_not_know_order_or_number(heads: int, has_regions: bool) -> None:
    parts = windows(heads)
    kind = {"heads": heads, "has_regions": has_regions}
    once = merged(MaximumMerge(SHAPE, **kind), parts)  # type: ignore[arg-type]
    other = merged(MaximumMerge(SHAPE, **kind), [*reversed(parts), parts[2]])  # type: ignore[arg-type]
    assert torch.equal(once, other)
    assert ((once >= 0) & (once <= 1)).all()
    foreground = once if has_regions else once[1:]
    assert (foreground[:, ~covered()] == 0).all()
    assert (foreground[:, covered()] > 0).all()
    for logits, origin in parts:
        more = merged(MaximumMerge(SHAPE, **kind), [(logits, origin)])  # type: ignore[arg-type]
        assert (foreground >= (more if has_regions else more[1:])).all()


def test_where_windows_overlap_the_maximum_is_not_the_mean() -> None:
    sure, unsure = torch.tensor([0.0, 3.0]), torch.tensor([3.0, 0.0])
    parts = [(each.reshape(2, 1, 1, 1), (0, 0, 0)) for each in (sure, unsure)]
    largest = merged(MaximumMerge((1, 1, 1), heads=2), parts)[1].item()
    mean = merged(GaussianMerge((1, 1, 1), weights=torch.ones(1, 1, 1), heads=2), parts)[1].item()
    assert largest == pytest.approx(sure.softmax(0)[1].item())
    assert mean == pytest.approx(0.5)


def test_of_one_class_background_is_what_is_left() -> None:
    found = merged(MaximumMerge(SHAPE, heads=2), windows(2))
    assert torch.allclose(found[0], 1 - found[1], atol=1e-6)
    assert (found.argmax(0)[~covered()] == 0).all()


def test_of_several_classes_the_likeliest_wins() -> None:
    logits = torch.zeros(3, 1, 1, 2)
    logits[1, ..., 0], logits[2, ..., 1] = 5, 5
    found = merged(
        MaximumMerge((1, 1, 2), heads=3), [(logits, (0, 0, 0)), (torch.zeros(3, 1, 1, 2), (0, 0, 0))]
    )
    assert found.argmax(0).flatten().tolist() == [1, 2]


@pytest.mark.parametrize("has_regions", [False, True])
def test_the_weighted_mean_is_that_of_the_definition(has_regions: bool) -> None:
    weights = torch.rand(SIZE, generator=torch.Generator().manual_seed(1)) + 0.1
    parts = windows(3)
    found = merged(GaussianMerge(SHAPE, weights=weights, heads=3, has_regions=has_regions), parts)
    voxel = (4, 5, 6)
    total, weight = torch.zeros(3), 0.0
    for logits, origin in parts:
        place = tuple(v - o for v, o in zip(voxel, origin, strict=True))
        if all(0 <= p < n for p, n in zip(place, SIZE, strict=True)):
            here = logits[(slice(None), *place)]
            total += weights[place] * (here.sigmoid() if has_regions else here.softmax(0))
            weight += float(weights[place])
    assert torch.allclose(found[(slice(None), *voxel)], total / weight, atol=1e-6)
    outside = found[:, ~covered()]
    assert torch.equal(
        outside, torch.zeros_like(outside) if has_regions else torch.eye(3)[:, :1].expand_as(outside)
    )


def test_one_window_comes_back_as_it_was() -> None:
    logits = windows(3)[0][0]
    for merge in (MaximumMerge(SIZE, heads=3), GaussianMerge(SIZE, weights=torch.ones(SIZE), heads=3)):
        assert torch.equal(merged(merge, [(logits, (0, 0, 0))]).argmax(0), logits.argmax(0))
