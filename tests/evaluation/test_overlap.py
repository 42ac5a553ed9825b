"""Counts of voxels and what follows from them."""

from __future__ import annotations

import numpy as np
import pytest
from evaluated import ball

from nnunet_ext.evaluation import overlap as module
from nnunet_ext.evaluation.overlap import Overlap, confusion_matrix, overlap_of, pooled_overlap


def test_counts_of_a_label_and_of_a_region() -> None:
    rng = np.random.default_rng(0)
    prediction, reference = rng.integers(0, 4, (2, 5, 6, 7)).astype(np.uint8)
    confusion = confusion_matrix(prediction, reference, size=4)
    for members in ([1], [1, 3]):
        p, g = np.isin(prediction, members), np.isin(reference, members)
        expected = Overlap((p & g).sum(), (p & ~g).sum(), (~p & g).sum(), (~p & ~g).sum())
        assert overlap_of(confusion, members) == expected


def test_blocks_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, reference = np.random.default_rng(1).integers(0, 3, (2, 1000)).astype(np.uint16)
    whole = confusion_matrix(prediction, reference, size=3)
    monkeypatch.setattr(module, "_BLOCK_VOX", 7)
    assert (confusion_matrix(prediction, reference, size=3) == whole).all()


def test_relative_volume_error_of_balls() -> None:
    """Volumes are as the cubes of the radii: 100 (1.1^3 - 1) = 33.1."""
    spacing = (0.5, 0.4, 0.5)
    p, g = (int(ball(r, spacing_mm=spacing).sum()) for r in (16.5, 15.0))
    assert Overlap(tp=g, fp=p - g, fn=0, tn=0).rve_percent == pytest.approx(33.1, abs=0.3)
    assert Overlap(tp=g, fp=0, fn=p - g, tn=0).rve_percent == pytest.approx(100 / 1.331 - 100, abs=0.3)


def test_pooled_dice_weighs_by_volume() -> None:
    """A large label found well and a small one missed: 2 * 900 / (1000 + 900 + 10), not the mean (0.474)."""
    confusion = np.array([[5000, 0, 0], [100, 900, 0], [10, 0, 0]])
    pooled = pooled_overlap(confusion, [1, 2])
    assert pooled.dice == pytest.approx(2 * 900 / 1910)
    assert pooled.iou == pytest.approx(900 / 1010)
    single = [overlap_of(confusion, [n]).dice for n in (1, 2)]
    assert np.mean([d or 0.0 for d in single]) == pytest.approx(0.4737, abs=1e-4)


def test_a_confused_label_is_wrong_twice_when_pooled() -> None:
    confusion = np.array([[0, 0, 0], [0, 0, 8], [0, 0, 0]])  # 8 voxels of 1 were called 2
    assert pooled_overlap(confusion, [1, 2]) == Overlap(tp=0, fp=8, fn=8, tn=0)
    assert overlap_of(confusion, [1, 2]).dice == 1


@pytest.mark.parametrize(
    ("overlap", "nothing"),
    [
        (Overlap(0, 0, 0, 9), ("dice", "iou", "precision", "recall", "rve_percent")),
        (Overlap(0, 3, 0, 6), ("recall", "rve_percent")),
        (Overlap(0, 0, 3, 6), ("precision",)),
    ],
)
def test_what_divides_by_nothing_is_none(overlap: Overlap, nothing: tuple[str, ...]) -> None:
    names = ("dice", "iou", "precision", "recall", "rve_percent")
    assert tuple(name for name in names if getattr(overlap, name) is None) == nothing
