"""From coarse label maps to windows: settings, policies, cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coarse_cases import Cases
from hypothesis import given
from hypothesis import strategies as st
from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

from nnunet_ext.cascade.body import body_box
from nnunet_ext.cascade.cache import cache_file, cached_proposals
from nnunet_ext.cascade.proposals import NothingFoundError, propose, scan_windows, tiled
from nnunet_ext.cascade.settings import (
    OnEmpty,
    ProposalSettingsError,
    RoiGroup,
    RoiProposals,
    SkeletonProposals,
    settings_of,
)
from nnunet_ext.cascade.windows import Windows
from nnunet_ext.evaluation.boxes import box_of

SIZE = (8, 8, 8)
PLAIN = SkeletonProposals()
LABELS = {"labels": {"background": 0, "left": 1, "right": 2, "ignore": 3}}
Array = np.ndarray


def no_image() -> Array:
    raise AssertionError("the image is for fallback positions alone")


def two_organs() -> Array:
    coarse = np.zeros((20, 40, 40), np.uint8)
    coarse[8:12, 18:22, 4:8], coarse[8:12, 18:22, 30:34] = 1, 2
    return coarse


def test_each_group_gets_a_box_and_a_large_box_several_windows() -> None:
    settings = RoiProposals((RoiGroup("l", (1,)), RoiGroup("r", (2,), size=(8, 8, 16))))
    found = propose(two_organs(), settings, size=SIZE, image=no_image)
    assert found.windows.origins.tolist() == [[6, 16, 2], [6, 16, 24], [6, 16, 28], [6, 16, 32]]
    assert found.empty == ()


def test_a_group_without_labels_is_all_foreground() -> None:
    found = propose(two_organs(), RoiProposals(), size=(8, 8, 40), image=no_image)
    assert found.windows.origins.tolist() == [[6, 16, 0]]


def test_boxes_that_meet_are_looked_at_once() -> None:
    settings = RoiProposals((RoiGroup("a", (1,)), RoiGroup("b", (1,))))
    assert len(propose(two_organs(), settings, size=SIZE, image=no_image).windows) == 1


@pytest.mark.parametrize("per_class", [False, True])
def test_skeletons_cover_the_coarse_foreground(per_class: bool) -> None:
    coarse = np.zeros((16, 48, 48), np.uint8)
    coarse[7:9, 4:40, 20:22], coarse[7:9, 20:22, 22:44] = 1, 2
    found = propose(coarse, SkeletonProposals(per_class=per_class), size=SIZE, image=no_image)
    assert found.windows.covered()[coarse > 0].all()
    assert len(np.unique(found.windows.origins, axis=0)) == len(found.windows)


def test_policies_for_nothing() -> None:
    nothing = np.zeros((20, 40, 40), np.uint8)
    body = np.zeros((1, 20, 40, 40))
    body[0, 2:13, 5:26, 10:31] = 1
    group = RoiProposals((RoiGroup("lens", (1,), fallback=(0.5, 0.0, 1.0)),))

    def ask(settings: Any, policy: OnEmpty | None = None) -> Any:
        return propose(nothing, settings, size=SIZE, image=lambda: body, on_empty=policy)

    found = ask(group)
    assert found.windows.origins.tolist() == [[3, 1, 26]]
    assert found.empty == ("lens",)
    full = ask(SkeletonProposals())
    assert full.windows.covered().all()
    assert full.empty == ("foreground",)
    assert len(ask(group, OnEmpty.FULLSCAN).windows) == len(full.windows)
    assert len(ask(SkeletonProposals(), OnEmpty.EMPTY).windows) == 0
    with pytest.raises(NothingFoundError, match="nothing of lens"):
        ask(group, OnEmpty.FAIL)
    half = two_organs() * (two_organs() == 1)
    both = RoiProposals((RoiGroup("l", (1,)), RoiGroup("r", (2,), fallback=(0.0, 0.0, 0.0))))
    found = propose(half, both, size=SIZE, image=lambda: body)
    assert (len(found.windows), found.empty) == (2, ("r",))


@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.integers(2, 16)] * 3))
def test_a_full_scan_is_nnunet_s(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    windows = scan_windows(shape, size=size)
    padded = [max(n, k) for n, k in zip(shape, size, strict=True)]
    steps = compute_steps_for_sliding_window(tuple(padded), size, 0.5)
    assert len(windows) == np.prod([len(s) for s in steps])
    assert windows.covered().all()


@given(st.tuples(*[st.integers(-6, 30)] * 3), st.tuples(*[st.integers(1, 30)] * 3))
def test_tiles_cover_their_box(origin: tuple[int, ...], size: tuple[int, ...]) -> None:
    from nnunet_ext.cascade.windows import clamped

    shape = (24, 24, 24)
    box = Windows(clamped([origin], size=size, shape=shape), size, shape)
    assert tiled(box, size=SIZE).covered()[box.covered()].all()


def test_the_body_of_an_image_and_of_its_normalized_form() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(-1000, 10, (30, 60, 200))
    image[5:25, 10:50, 40:160] = rng.normal(40, 20, (20, 40, 120))
    image[2, 55, 5] = 3000  # a wire beside the patient
    expected = (slice(5, 25), slice(10, 50), slice(40, 160))
    assert box_of(body_box(np.clip(image, -200, 300))) == expected
    assert box_of(body_box((np.clip(image, -200, 300) - 50) / 70)) == expected
    assert body_box(np.zeros((3, 3, 3))).all()


@pytest.mark.parametrize(
    ("field", "kind", "message"),
    [
        ({"kind": "roi"}, "skeleton", "by 'roi' and this trainer by 'skeleton'"),
        ({"step": 2}, "skeleton", r"\['step'\] is unknown"),
        ({"dilation": -1}, "skeleton", "dilation: expected steps of 0 or more"),
        ({"order": "random"}, "skeleton", "order: expected one of"),
        ({"margin": [1, 2]}, "skeleton", "margin: expected three whole numbers"),
        ({"groups": []}, "roi", "at least one group"),
        ({"groups": [{"name": "a", "labels": [3]}]}, "roi", "no foreground label 3"),
        ({"groups": [{"name": "a", "labels": ["lens"]}]}, "roi", "no foreground label 'lens'"),
        ({"groups": [{"name": "a", "size": [8, 0, 8]}]}, "roi", "size: expected three whole numbers of 1"),
        ({"groups": [{"name": "a", "fallback": [0, 2, 0]}]}, "roi", "three numbers from 0 to 1"),
        ({"groups": [{"name": "a"}, {"name": "a"}]}, "roi", "names of their own"),
        ({"groups": [{"name": "a", "box": 3}]}, "roi", r"\['box'\] is unknown"),
        ({"margin": ["a", "b", "c"]}, "skeleton", "margin: expected three whole numbers"),
        ({"margin": [1.5, 2, 3]}, "skeleton", "margin: expected three whole numbers"),
        ({"dilation": True}, "skeleton", "dilation: expected steps of 0 or more"),
        ({"complete": "no"}, "skeleton", "complete: expected true or false, got 'no'"),
        ({"per_class": "false"}, "skeleton", "per_class: expected true or false"),
        ({"groups": [None]}, "roi", "groups: expected settings by name, got None"),
        ({"groups": ["eyes"]}, "roi", "groups: expected settings by name, got 'eyes'"),
        ({"groups": [{"name": "a", "size": [8.7, 8, 8]}]}, "roi", "size: expected three whole numbers of 1"),
        ({"groups": [{"name": "a", "size": "888"}]}, "roi", "size: expected three whole numbers of 1"),
        ({"groups": [{"name": "a", "fallback": 0.5}]}, "roi", "three numbers from 0 to 1"),
        ({"groups": [{"name": "a", "fallback": ["x", 0, 0]}]}, "roi", "three numbers from 0 to 1"),
        ({"groups": [{"name": "a", "labels": [True]}]}, "roi", "no foreground label True"),
        ({"groups": [{"name": "a", "labels": [[1]]}]}, "roi", r"no foreground label \[1\]"),
    ],
)
def test_settings_without_sense_are_refused_by_name(field: Any, kind: Any, message: str) -> None:
    with pytest.raises(ProposalSettingsError, match=message):
        settings_of({"nnunet_ext": {"proposals": field}}, kind=kind, dataset_json=LABELS)


@pytest.mark.parametrize("field", [[1], "skeleton", None])
def test_what_is_no_field_of_ours_is_refused(field: Any) -> None:
    with pytest.raises(ProposalSettingsError, match="expected settings by name"):
        settings_of({"nnunet_ext": field}, kind="skeleton", dataset_json=LABELS)


@pytest.mark.parametrize("groups", [{}, ["left"], {"eyes": []}, {"eyes": None}, {"eyes": ["iris"]}])
def test_groups_of_a_dataset_without_sense_are_refused(groups: Any) -> None:
    with pytest.raises(ProposalSettingsError, match="roi_groups"):
        settings_of({}, kind="roi", dataset_json={**LABELS, "roi_groups": groups})


def test_the_cache_is_of_one_prediction_and_one_set_of_settings(tmp_path: Path) -> None:
    cases = Cases({"a": two_organs(), "b": two_organs() * 0})
    for name in "ab":
        (tmp_path / f"{name}.b2nd").write_text(name)

    def ask(settings: Any = PLAIN, size: tuple[int, ...] = SIZE) -> Any:
        return cached_proposals(
            cases, "ab", folder=tmp_path, ending=".b2nd", settings=settings, size=size, progress=False
        )

    first = ask()
    assert cases.loaded == ["a", "b"]
    again = ask()
    assert cases.loaded == ["a", "b"]
    for name in "ab":
        assert again[name].empty == first[name].empty
        np.testing.assert_array_equal(again[name].windows.origins, first[name].windows.origins)
        assert again[name].windows.shape == first[name].windows.shape
    ask(SkeletonProposals(dilation=1))
    assert len(cases.loaded) == 4
    ask(SkeletonProposals(dilation=1), size=(4, 8, 8))
    assert len(cases.loaded) == 6
    (tmp_path / "a.b2nd").write_text("predicted again")
    ask(SkeletonProposals(dilation=1), size=(4, 8, 8))
    assert cases.loaded[6:] == ["a"]
    cache_file(tmp_path, "b").write_text(json.dumps({"origins": 3}))
    ask(SkeletonProposals(dilation=1), size=(4, 8, 8))
    assert cases.loaded[7:] == ["b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a.b2nd",
        "a.proposals.json",
        "b.b2nd",
        "b.proposals.json",
    ]


def test_a_case_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="case a could not be computed"):
        cached_proposals(
            Cases({}), "a", folder=tmp_path, ending=".b2nd", settings=SkeletonProposals(), size=SIZE
        )


def test_processes_compute_the_same(tmp_path: Path) -> None:
    names = [f"c{number:02}" for number in range(16)]
    for name in names:
        (tmp_path / f"{name}.b2nd").write_text(name)
    found = cached_proposals(
        Cases(dict.fromkeys(names, two_organs())),
        names,
        folder=tmp_path,
        ending=".b2nd",
        settings=SkeletonProposals(),
        size=SIZE,
        processes=2,
        progress=False,
    )
    alone = propose(two_organs(), SkeletonProposals(), size=SIZE, image=no_image)
    assert set(found) == set(names)
    for proposed in found.values():
        np.testing.assert_array_equal(proposed.windows.origins, alone.windows.origins)
