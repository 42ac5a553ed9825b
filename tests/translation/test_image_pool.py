"""The pool of earlier translations (SPEC F.9)."""

from __future__ import annotations

import torch

from nnunet_ext.translation.image_pool import ImagePool


def shown(pool: ImagePool, steps: range) -> list[int]:
    return [int(pool.exchange(torch.tensor(n), step=n)) for n in steps]


def test_without_a_pool_the_latest_is_shown() -> None:
    pool = ImagePool(0, seed=1, slot=0)
    assert shown(pool, range(20)) == list(range(20))
    assert len(pool) == 0


def test_it_fills_first_and_never_exceeds_its_size() -> None:
    pool = ImagePool(50, seed=1, slot=0)
    assert shown(pool, range(50)) == list(range(50))
    later = shown(pool, range(50, 1050))
    assert len(pool) == 50
    latest = sum(value == n for n, value in enumerate(later, start=50))
    assert 420 < latest < 580  # half of the time; 5 standard deviations
    assert all(value <= n for n, value in enumerate(later, start=50))


def test_each_image_is_shown_once_from_the_pool() -> None:
    pool = ImagePool(5, seed=3, slot=0)
    later = shown(pool, range(205))[5:]
    assert len(set(later)) == len(later)


def test_it_goes_on_from_its_state() -> None:
    pool = ImagePool(4, seed=2, slot=1)
    shown(pool, range(30))
    resumed = ImagePool(4, seed=2, slot=1)
    resumed.load(pool.state())
    assert shown(resumed, range(30, 60)) == shown(pool, range(30, 60))


def test_slots_and_seeds_draw_apart() -> None:
    draws = {
        (seed, slot): tuple(shown(ImagePool(4, seed=seed, slot=slot), range(40)))
        for seed in (0, 1)
        for slot in (0, 1)
    }
    assert len(set(draws.values())) == 4


def test_what_it_keeps_is_a_copy() -> None:
    pool = ImagePool(1, seed=0, slot=0)
    image = torch.zeros(2)
    pool.exchange(image, step=0)
    image.fill_(9)
    assert pool.state().tolist() == [[0, 0]]
