"""What no case may be, whatever it came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from nnunet_ext.dataset_conversion.checks import check_as_scanned, checked
from nnunet_ext.dataset_conversion.declaration import Converter, Label, ReadCase

from nnunet_ext.clinical_io import CaseError, Note

LABELS = (Label("Liver"), Label("GTV", "may_be_absent"))
SIZE = (6, 20, 20)
SPACING = (1, 1, 2)


def converter(*labels: Label, channels: tuple[str, ...] = ("CT",)) -> Converter:
    return Converter("test", "Test", "", channels, labels or LABELS, lambda *_: (), lambda *_: None)  # type: ignore[arg-type, return-value]


def ct(*, air: float = -1000, tissue: float = 50, kind: Any = np.int16) -> np.ndarray:
    values = np.full(SIZE, air, kind)
    values[:, 4:16, 4:16] = tissue
    values[2, 8, 8] = tissue + 900
    return values


def label(*numbers: int) -> np.ndarray:
    values = np.zeros(SIZE, np.uint8)
    for i, number in enumerate(numbers):
        values[1:4, 6 + 3 * i : 8 + 3 * i, 6:9] = number
    return values


def case(image: np.ndarray, numbers: np.ndarray | None = None, **more: Any) -> ReadCase:
    mask = None if numbers is None else placed(numbers, spacing=SPACING)
    return ReadCase(channels=(placed(image, spacing=SPACING),), label=mask, **more)


def test_a_good_case_passes_with_its_notes() -> None:
    notes = (Note("a", "b"),)
    done = checked(case(ct(kind=np.float64), label(1, 2), notes=notes), converter())
    assert done.notes == notes
    assert done.channels[0].GetPixelID() == SimpleITK.sitkInt16


def test_a_tumor_may_be_absent_and_stays_background() -> None:
    done = checked(case(ct(), label(1)), converter())
    assert done.label is not None
    assert set(np.unique(SimpleITK.GetArrayFromImage(done.label))) == {0, 1}


def test_fractions_become_single_precision_and_large_numbers_survive() -> None:
    mr = converter(Label("x", "may_be_absent"), channels=("MR",))
    for values, kind in ((0.5, np.float64), (70000, np.int32)):
        done = checked(case(np.full(SIZE, values, kind)), mr)
        assert done.channels[0].GetPixelID() == SimpleITK.sitkFloat32
        assert (SimpleITK.GetArrayFromImage(done.channels[0]) == values).all()


def _nan(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    image[0, 0, 0] = np.nan
    return image


@pytest.mark.parametrize(
    ("image", "numbers", "code"),
    [
        (_nan(ct()), label(1), "nan"),
        (ct(air=0, tissue=1080), label(1), "hu-offset"),
        (ct(air=-2024, tissue=-974), label(1), "hu-offset"),
        (ct(air=-5000), label(1), "hu-offset"),
        (ct(), label(1, 3), "label-value"),
        (ct(), label(1).astype(np.float32) * 0.5, "label-value"),
        (ct(), label(2), "empty-label"),
        (ct(), label(1)[:, :, 1:], "label-grid"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(image: np.ndarray, numbers: np.ndarray, code: str) -> None:
    with pytest.raises(CaseError) as refused:
        checked(case(image, numbers), converter())
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (ct(air=0, tissue=1, kind=np.float32) / 901, "0 to 1"),
        (np.linspace(-1, 1, 2400, dtype=np.float32).reshape(SIZE), "-1 to 1"),
        (np.random.default_rng(0).normal(0, 1, SIZE).clip(-3, 3), "-3 to 3|-2[.]|to 2[.]"),
        (np.linspace(0, 255, 2400).astype(np.uint8).reshape(SIZE), "0 to 255"),
    ],
)
def test_a_ct_that_was_windowed_or_normalized_is_none_as_it_comes(image: np.ndarray, shown: str) -> None:
    with pytest.raises(CaseError, match=rf"hu-offset: .*({shown})"):
        check_as_scanned(placed(image), "CT")
    check_as_scanned(placed(image), "MR")


@pytest.mark.parametrize("image", [ct(), ct(air=-100, tissue=60), ct(air=0, tissue=40), ct(air=-3000)])
def test_scans_pass_a_head_without_its_skull_too(image: np.ndarray) -> None:
    check_as_scanned(placed(image), "CT")


@pytest.mark.parametrize(
    "image",
    [
        ct(air=-3000),  # padding beyond the scanner's circle
        ct(air=-1024, tissue=1100),  # a bone between plates
        ct(air=-100, tissue=60),  # a box cut from inside the body
        ct(tissue=3000),
    ],
)
def test_what_is_only_unusual_passes(image: np.ndarray) -> None:
    checked(case(image, label(1)), converter())


def test_a_geometry_that_nobody_set_is_refused() -> None:
    for direction in ((1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1)):
        unset = ReadCase((placed(ct(), direction=direction),), placed(label(1), direction=direction))
        with pytest.raises(CaseError, match="identity-affine"):
            checked(unset, converter())
        checked(unset, replace(converter(), may_lack_geometry=True))
    for place in ({"origin": (0, 0, 1)}, {"spacing": SPACING}):
        checked(ReadCase((placed(ct(), **place),), placed(label(1), **place)), converter())


def test_channels_must_be_there_and_on_one_grid() -> None:
    both = converter(channels=("CT", "T1w"))
    with pytest.raises(CaseError, match="missing-channel"):
        checked(case(ct(), label(1)), both)
    places = [placed(ct(), spacing=SPACING, origin=(0, 0, z)) for z in (0, 3)]
    moved = ReadCase(tuple(places), placed(label(1), spacing=SPACING))
    with pytest.raises(CaseError, match="channel-grid"):
        checked(moved, both)


def test_noise_of_directions_is_no_difference_and_is_gone_afterwards() -> None:
    tilted = placed(label(1), spacing=SPACING, direction=(1, 1e-6, 0, -1e-6, 1, 0, 0, 0, 1))
    done = checked(ReadCase((placed(ct(), spacing=SPACING),), tilted), converter())
    assert done.label is not None
    assert done.label.GetDirection() == done.channels[0].GetDirection()


def undrawn() -> Converter:
    return converter(Label("Brainstem"), Label("Chiasm", "may_be_undrawn"))


@pytest.mark.parametrize("how", [{}, {"undrawn": frozenset({"Chiasm"})}])
def test_what_was_not_drawn_is_told(how: dict[str, Any]) -> None:
    assert checked(case(ct(), label(1), **how), undrawn()).undrawn == ("Chiasm",)
    assert checked(case(ct(), label(1, 2)), undrawn()).undrawn == ()


def test_errors_travel_between_processes() -> None:
    import pickle

    error = CaseError("a", reason="b", remedy="c", private="d")
    back = pickle.loads(pickle.dumps(error))
    assert (back.code, back.reason, back.remedy, back.private) == ("a", "b", "c", "d")
