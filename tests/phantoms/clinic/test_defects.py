"""Every defect in every clinic that can have it, through ``nnunet_ext convert``."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import SimpleITK
from phantom_clinics import Converted, convert, write_alike
from scipy import ndimage

from nnunet_ext.clinical_io.grids import corner_distance_mm
from nnunet_ext.phantoms.clinic.catalog import CLINICS, DEFECTS, clinic_of, defects_of, require_defects
from nnunet_ext.phantoms.clinic.clinics import DAMAGE, LAYOUTS

# Every defect of these is one of another clinic, too; they take as long as all others together.
LEFT_TO_TEST_ALL = ("brain-oar", "coronary-cta")


def of(clinic: str, *more: str) -> Any:
    return pytest.param(clinic, *more, marks=pytest.mark.long if clinic in LEFT_TO_TEST_ALL else ())


PAIRS = [of(clinic, defect) for clinic in CLINICS for defect in defects_of(clinic)]
# So many that five splits can be made of what is not refused.
WHOLE_CASES = {"lower-limb": 3, "coronary-cta": 3}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Converted]:
    """A clinic with each of its defects in a case of its own, converted once."""

    @cache
    def make(clinic: str) -> Converted:
        out, defects = tmp_path_factory.mktemp(clinic), defects_of(clinic)
        cases = write_alike(clinic, out, cases=len(defects) + WHOLE_CASES.get(clinic, 1), defects=defects)
        return convert(clinic, out, cases)

    return make


def require_right(converted: Converted, number: int) -> None:
    """The label has the truth's voxels, at their place in the world."""
    case = converted.cases[number]
    found, truth = converted.label(case), SimpleITK.ReadImage(str(case.truth))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(truth))
    assert corner_distance_mm(found, truth) < 1e-3


@pytest.mark.parametrize(("clinic", "defect"), PAIRS)
def test_a_defect_has_its_outcome(clinic: str, defect: str, damaged: Callable[[str], Converted]) -> None:
    converted, expected = damaged(clinic), DEFECTS[defect]
    number = defects_of(clinic).index(defect)
    about = converted.about(converted.cases[number])
    assert converted.cases[number].defect == defect
    assert about.get("code", "") == expected.expected, about
    if not expected.expected:
        require_right(converted, number)
        notes = [note.partition(":")[0] for note in about["notes"]]
        assert not expected.note or expected.note in notes


@pytest.mark.parametrize("clinic", map(of, CLINICS))
def test_whole_cases_stand_beside_damaged_ones(clinic: str, damaged: Callable[[str], Converted]) -> None:
    converted = damaged(clinic)
    assert converted.code == 1
    for number, case in enumerate(converted.cases):
        if not case.defect:
            assert converted.about(case)["status"] == "written"
            require_right(converted, number)


@pytest.mark.parametrize("clinic", map(of, DEFECTS["shared-patient"].clinics))
def test_two_cases_of_one_patient_stand_on_one_side_of_every_split(
    clinic: str, damaged: Callable[[str], Converted]
) -> None:
    converted = damaged(clinic)
    (shared,) = (case for case in converted.cases if case.defect == "shared-patient")
    first_whole = next(case for case in converted.cases if not case.defect)
    pair = {converted.names[case.name] for case in (shared, first_whole)}
    splits = json.loads((converted.dataset / "splits_final.json").read_text())
    assert [len(pair & set(split["val"])) for split in splits].count(2) == 1
    assert all(len(pair & set(split["val"])) in (0, 2) for split in splits)
    keyed = json.loads((converted.dataset.parent.parent / "key.json").read_text())["cases"]
    assert len({keyed[case]["patient"] for case in pair}) == 1


@pytest.mark.parametrize("clinic", map(of, DEFECTS["hole"].clinics))
def test_the_hole_is_a_contour_within_a_contour(clinic: str, damaged: Callable[[str], Converted]) -> None:
    converted = damaged(clinic)
    (case,) = (case for case in converted.cases if case.defect == "hole")
    truth, whole = (
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
        for file in (case.truth, converted.cases[-1].truth)
    )
    (z,) = np.unique(np.nonzero(truth != whole)[0])
    inside = truth[z] == 1
    assert ndimage.binary_fill_holes(inside).sum() > inside.sum()


def test_the_registry_is_whole() -> None:
    assert len(DEFECTS) == 25
    assert set(CLINICS) == set(LAYOUTS) == set(DAMAGE)
    for clinic in CLINICS:
        possible = set(DAMAGE[clinic])
        assert set(defects_of(clinic)) <= possible
        # What is left out: an MR has no intercept, and only one challenge has the stray value.
        assert possible - set(defects_of(clinic)) <= {"hu-offset", "stray-421"}
    assert all(set(defect.clinics) - set(LEFT_TO_TEST_ALL) for defect in DEFECTS.values())


def test_a_defect_that_makes_no_sense_is_refused_with_those_that_do() -> None:
    with pytest.raises(
        ValueError, match=r"coronary cannot have the defect 'flipped-png'.*truncated-file, nan"
    ):
        require_defects(["nan", "flipped-png"], clinic="coronary")
    with pytest.raises(ValueError, match=r"whole-heart-mr cannot have the defect 'hu-offset'"):
        require_defects(["hu-offset"], clinic=clinic_of("whole-heart", modality="MR"))
