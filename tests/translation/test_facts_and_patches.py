"""What is seen of each case, and the patches that training gets."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from translation_home import CT, MR, PATCH, TranslationHome, overwrite

from nnunet_ext.translation.domains import Domain
from nnunet_ext.translation.facts import CaseFacts, facts_of, gather
from nnunet_ext.translation.intensities import Range, percentile_range, to_hu
from nnunet_ext.translation.labels import label_means
from nnunet_ext.translation.patches import PatchPairs, UnitImage, seeded
from nnunet_ext.translation.target import TargetStatistics

PERCENTILES = (0.5, 99.5)


def test_ct_has_its_window_and_mr_its_percentiles(home: TranslationHome) -> None:
    mr, ct = home.domains()
    of_ct = facts_of(ct, "ct_0", percentiles=PERCENTILES)
    assert of_ct.range == Range(-1.0, 1.0)
    means = {name: float(to_hu(np.array(mean), ct.window)) for name, mean in of_ct.label_means.items()}
    assert means["shell"] == pytest.approx(150, abs=25)
    assert means["core"] == pytest.approx(700, abs=60)  # its rim is blurred by resampling
    of_mr = facts_of(mr, "mr_0", percentiles=PERCENTILES)
    data, *_ = mr.dataset().load_case("mr_0")
    unit = of_mr.range.to_unit(data[:])
    assert (unit == -1).mean() == pytest.approx(0.005, abs=0.003)
    assert (unit == 1).mean() == pytest.approx(0.005, abs=0.003)


def test_a_range_does_not_depend_on_a_linear_normalization() -> None:
    values = np.random.default_rng(0).normal(300, 90, (9, 9, 9))
    ours = percentile_range(values, PERCENTILES).to_unit(values)
    normalized = (values - 17) / 3.5
    again = percentile_range(normalized, PERCENTILES).to_unit(normalized)
    np.testing.assert_allclose(ours, again, atol=1e-5)


def test_the_body_is_found(home: TranslationHome) -> None:
    for domain, case in zip(home.domains(), ("mr_1", "ct_1"), strict=True):
        facts = facts_of(domain, case, percentiles=PERCENTILES)
        middle = np.array(facts.shape) / 2
        outside = (((facts.places + 0.5 - middle) / (middle * 0.85)) ** 2).sum(1) > 1.3
        assert len(facts.places) > 1000
        assert outside.mean() < 0.02


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "finite values"), (np.inf, "finite values")])
def test_a_case_with_values_that_are_no_numbers_is_left_out(
    own_home: TranslationHome, value: float, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    overwrite(own_home, MR, "mr_1", value, (0, 3, 3, 3))
    gathered = gather(own_home.domain(MR), percentiles=PERCENTILES, progress=False)
    assert [f.case for f in gathered.facts] == ["mr_0", "mr_2"]
    assert reason in gathered.refused["mr_1"]
    assert "mr_1 of Dataset041_MR is left out" in caplog.text


def test_nothing_is_left_of_a_dataset_of_constants(own_home: TranslationHome) -> None:
    for n in range(3):
        overwrite(own_home, CT, f"ct_{n}", 0.25, ...)
    with pytest.raises(ValueError, match="none of the 3 cases of Dataset042_CT"):
        gather(own_home.domain(CT), percentiles=PERCENTILES, progress=False)


def facts(domain: Domain) -> tuple[CaseFacts, ...]:
    return gather(domain, percentiles=PERCENTILES, progress=False).facts


def pairs(home: TranslationHome, **options: object) -> PatchPairs:
    mr, ct = home.domains()
    chosen: dict[str, object] = {"patch_size": PATCH, "mirroring_axes": (), "seed": 3, "count": 8, **options}
    return PatchPairs((mr, ct), (facts(mr), facts(ct)), **chosen)  # type: ignore[arg-type]


def test_a_pair_is_a_function_of_seed_and_number(home: TranslationHome) -> None:
    first = [pairs(home)[n] for n in range(4)]
    torch.manual_seed(99)
    np.random.seed(99)
    again = pairs(home)
    for number in (2, 0, 3, 1):  # in another order, after other draws
        for one, other in zip(first[number], again[number], strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(first[0][0], first[1][0])
    assert not torch.equal(pairs(home, seed=4)[0][0], first[0][0])


def test_patches_are_from_minus_1_to_1_and_of_their_size(home: TranslationHome) -> None:
    drawn = pairs(home)
    for number in range(len(drawn)):
        for patch in drawn[number]:
            assert patch.shape == (1, *PATCH)
            assert patch.dtype == torch.float32
            assert float(patch.min()) >= -1
            assert float(patch.max()) <= 1


def test_patches_hold_body_and_what_lies_outside_is_air(home: TranslationHome) -> None:
    """A patch larger than the image: all around it is air, not the middle of the window."""
    drawn = pairs(home, patch_size=(32, 40, 40))
    for number in range(8):
        for patch in drawn[number]:
            assert (patch[:, 0] == -1).all()
            assert (patch > -0.5).float().mean() > 0.05


def test_mirrored_axes_are_mirrored_and_no_others(home: TranslationHome) -> None:
    plain, mirrored = pairs(home), pairs(home, mirroring_axes=(1,))
    flips = 0
    for number in range(8):
        for one, other in zip(plain[number], mirrored[number], strict=True):
            same, flipped = torch.equal(one, other), torch.equal(one.flip(2), other)
            assert same or flipped
            flips += flipped
    assert 2 < flips < 14


def test_an_image_is_read_as_it_is_cut() -> None:
    asked = []

    class Stored:
        shape = (2, 4, 4, 4)

        def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
            asked.append(part)
            return np.full((1, 2, 4, 4), 50.0)

    nothing = np.zeros((1, 3), np.int32)
    facts = CaseFacts(
        "a", Range(0, 100), nothing, nothing[0].astype(np.int64), nothing[0], {}, (4, 4, 4), (1, 1, 1)
    )
    image = UnitImage(Stored(), facts, 1)
    cut = image[(slice(None), slice(0, 2), slice(None), slice(None))]
    assert image.shape == (1, 4, 4, 4)
    assert asked == [(slice(1, 2), slice(0, 2), slice(None), slice(None))]
    assert (cut == 1).all()


def test_random_states_go_on_after_a_patch() -> None:
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with seeded(5, 6):
        random.random(), np.random.rand(), torch.rand(1)
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == expected


def test_target_statistics_measure_distances_in_hu(home: TranslationHome) -> None:
    ct = home.domain(CT)
    target = TargetStatistics.of(ct, gather(ct, percentiles=PERCENTILES, progress=False))
    assert sum(target.share) == pytest.approx(1)
    share = np.asarray(target.share)
    width = target.edges_hu[1] - target.edges_hu[0]
    assert target.distance_hu(share * 1000) == pytest.approx(0, abs=1e-6)
    assert target.distance_hu(np.roll(share, 3)) == pytest.approx(3 * width, rel=1e-6)
    assert target.is_possible("shell", 150) is True
    assert target.is_possible("shell", 400) is False
    assert target.is_possible("nothing", 0) is None
    assert TargetStatistics.from_json(target.to_json()) == target


def test_labels_below_0_are_background() -> None:
    assert label_means(np.array([1.0, 5.0]), np.array([-1, 2]), {2: "b"}) == {"b": 5.0}
