"""Where patches of the fine stage's training come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nnunet_ext.trainers.case_data import CaseLocations, DatasetWithCaseData
from nnunet_ext.trainers.proposal_loader import SAMPLING, ProposalLoader, Sampling, with_annotation
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_ext.cascade.windows import Windows

SHAPE = (60, 60, 60)


class OneCase:
    """A dataset of one case."""

    identifiers = ("case",)

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        return np.zeros((1, *SHAPE)), np.zeros((1, *SHAPE)), None, {"class_locations": {1: []}}


def loader(patch: tuple[int, ...], *, final: tuple[int, ...] | None = None, batch: int = 10) -> Any:
    data: Any = OneCase()
    return ProposalLoader(
        data,
        batch,
        patch,
        final or patch,
        LabelManager({"background": 0, "vessel": 1}, None),
        oversample_foreground_percent=SAMPLING.foreground,
    )


def far_corner(size: tuple[int, int, int], shape: tuple[int, int, int] = SHAPE) -> Windows:
    return Windows(np.array([[n - k for n, k in zip(shape, size, strict=True)]]), size, shape)


def test_shares_add_up_and_are_kept() -> None:
    assert SAMPLING.proposals + SAMPLING.foreground + SAMPLING.random == pytest.approx(1)
    draws, batch = loader((8, 8, 8)), 10
    assert [draws.get_do_oversample(i) for i in range(batch)] == [False] * 7 + [True] * 3
    locations = CaseLocations({1: np.array([[0, 4, 4, 4]])}, windows=far_corner((8, 8, 8)))
    np.random.seed(0)
    drawn = [draws.get_bbox(SHAPE, draws.get_do_oversample(i % 10), locations)[0] for i in range(4000)]
    reach = int(8 * SAMPLING.reach)
    proposed = np.mean([all(n >= 52 - reach for n in first) for first in drawn])
    foreground = np.mean([first == [0, 0, 0] for first in drawn])
    assert proposed == pytest.approx(SAMPLING.proposals, abs=0.03)
    assert foreground == pytest.approx(SAMPLING.foreground, abs=0.005)


@pytest.mark.parametrize("bad", [{"proposals": 0.5}, {"random": -0.1, "proposals": 0.8}, {"reach": 0.7}])
def test_shares_without_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares that add up to 1"):
        Sampling(**bad)


def test_proposals_are_moved_and_stay_in_the_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProposalLoader, "sampling", Sampling(1.0, 0.0, 0.0))
    size = (8, 16, 16)
    draws = loader(size)
    windows = Windows(np.array([[20, 20, 20], [0, 44, 0]]), size, SHAPE)
    locations = CaseLocations({}, windows=windows)
    np.random.seed(1)
    firsts = np.array([draws.get_bbox(SHAPE, False, locations)[0] for _ in range(300)])
    near = [np.abs(firsts - origin).max(axis=0) for origin in windows.origins]
    assert (firsts >= 0).all()
    assert (firsts + size <= SHAPE).all()
    inner = firsts[(np.abs(firsts - [20, 20, 20]) <= [2, 4, 4]).all(axis=1)]
    assert 100 < len(inner) < 200
    assert (inner.min(axis=0) == [18, 16, 16]).all()
    assert (inner.max(axis=0) == [22, 24, 24]).all()
    outer = firsts[firsts[:, 1] > 30]
    assert len(inner) + len(outer) == 300
    assert len(near) == 2


def test_the_patch_is_the_middle_of_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """nnU-Net loads more where it turns patches."""
    monkeypatch.setattr(ProposalLoader, "sampling", Sampling(1.0, 0.0, 0.0, reach=0.0))
    draws = loader((13, 20, 20), final=(8, 16, 16))
    windows = Windows(np.array([[20, 20, 20]]), (8, 16, 16), SHAPE)
    first, last = draws.get_bbox(SHAPE, False, CaseLocations({}, windows=windows))
    assert (first, last) == ([18, 18, 18], [31, 38, 38])


def test_a_volume_smaller_than_a_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProposalLoader, "sampling", Sampling(1.0, 0.0, 0.0))
    draws, shape = loader((16, 16, 16)), (6, 40, 12)
    windows = Windows(np.array([[-5, 10, -2]]), (16, 16, 16), shape)
    np.random.seed(2)
    for _ in range(20):
        first, last = draws.get_bbox(shape, False, CaseLocations({}, windows=windows))
        assert (first[0], first[2]) == (-5, -2)
        assert 6 <= first[1] <= 14
        assert [b - a for a, b in zip(first, last, strict=True)] == [16, 16, 16]


@pytest.mark.parametrize("force_foreground", [True, False])
def test_without_windows_it_is_nnunet_s(force_foreground: bool) -> None:
    draws, found = loader((8, 8, 8)), {1: np.array([[0, 40, 40, 40]])}
    none = Windows(np.zeros((0, 3), np.int64), (8, 8, 8), SHAPE)
    for locations in (found, CaseLocations(found), CaseLocations(found, windows=none)):
        np.random.seed(3)
        box = draws.get_bbox(SHAPE, force_foreground, locations)
        np.random.seed(3)
        assert box == nnUNetDataLoader.get_bbox(draws, SHAPE, force_foreground, locations)


def test_cases_bring_their_windows() -> None:
    windows = far_corner((8, 8, 8))
    data: Any = OneCase()
    with_data = DatasetWithCaseData(data, {"case": windows})
    assert with_data.load_case("case")[3]["class_locations"].windows is windows
    assert DatasetWithCaseData(data).load_case("case")[3]["class_locations"].windows is None


def test_windows_in_what_is_ignored_are_left_out() -> None:
    windows = Windows(np.array([[0, 0, 0], [0, 0, 8], [0, 0, 16]]), (8, 8, 8), (8, 8, 24))
    key = (-1, 0, 1)
    kept = with_annotation(windows, {key: np.array([[0, 1, 1, 9], [0, 7, 7, 15]])}, annotated=key)
    assert kept.origins.tolist() == [[0, 0, 8]]
    assert len(with_annotation(windows, {key: []}, annotated=key)) == 0
    assert with_annotation(windows, {}, annotated=key) is windows
