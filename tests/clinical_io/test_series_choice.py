"""Which of several series is meant, by what was drawn on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from clinical_images import ct_slices, oblique_direction, placed

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.clinical_io.dicom_folder import SeriesHeaders, find_dicom
from nnunet_ext.clinical_io.dicom_series import grid_of, read_series
from nnunet_ext.clinical_io.dicom_writer import save_slices
from nnunet_ext.clinical_io.grids import corner_distance_mm
from nnunet_ext.clinical_io.series_choice import choose_series, choose_series_below

Save = Callable[[str, SimpleITK.Image], SeriesHeaders]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a series and find it again, beside those before."""

    def write(description: str, image: SimpleITK.Image) -> SeriesHeaders:
        save_slices(ct_slices(image, description=description), tmp_path / description)
        (found,) = find_dicom(tmp_path / description).series
        return found

    return write


def volume(*, x_mm: float = 0.0, slices: int = 5, about_z: float = 30.0) -> SimpleITK.Image:
    return placed(
        np.zeros((slices, 6, 7), np.int16),
        spacing=(0.7, 0.8, 1.25),
        origin=(x_mm, -20.0, 5.0),
        direction=oblique_direction(10, -20, about_z),
    )


def test_the_grid_of_a_series_is_told_by_its_headers(save: Save) -> None:
    series = save("a", volume())
    grid, image = grid_of(series), read_series(series).image
    assert grid.GetSize() == image.GetSize()
    assert corner_distance_mm(grid, image) == 0


def test_of_several_series_the_one_is_taken_that_structures_name(save: Save) -> None:
    series = [save(name, volume()) for name in ("soft", "lung")]
    with pytest.raises(CaseError, match=r"mixed-series.*; ask the physician"):
        choose_series(series, modality="CT", remedy="ask the physician")
    for wanted in series:
        chosen, notes = choose_series(series, modality="CT", referenced=wanted.uid)
        assert chosen is wanted
        assert [note.code for note in notes] == ["mixed-series"]
    with pytest.raises(CaseError, match="missing-channel"):
        choose_series(series, modality="MR")


@pytest.mark.parametrize("axes", ["LPS", "RAS", "PIR"])
def test_of_several_series_the_one_is_taken_on_whose_grid_the_label_lies(save: Save, axes: str) -> None:
    series = [
        save("shifted", volume(x_mm=0.02)),
        save("short", volume(slices=4)),
        save("turned", volume(about_z=31)),
        save("right", volume()),
    ]
    label = SimpleITK.DICOMOrient(volume(x_mm=0.001), axes)
    chosen, notes = choose_series_below(label, series, modality="CT")
    assert chosen.description == "right"
    assert [note.code for note in notes] == ["mixed-series"]
    with pytest.raises(CaseError, match="label-grid: the label lies on the grid of none of the 3 CT series"):
        choose_series_below(label, series[:3], modality="CT")
    with pytest.raises(CaseError, match="missing-channel"):
        choose_series_below(label, series, modality="MR")


def test_phases_of_one_scan_are_not_told_apart_by_a_label(save: Save) -> None:
    series = [save("40 percent", volume()), save("75 percent", volume()), save("other", volume(slices=3))]
    with pytest.raises(CaseError, match=r"of 3 CT series 2 have the label's grid.*; ask the physician"):
        choose_series_below(volume(), series, modality="CT", remedy="ask the physician")


def test_nobody_draws_on_a_series_that_is_no_volume_and_the_only_one_tells_what_is_wrong(
    save: Save, tmp_path: Path
) -> None:
    whole, broken = save("whole", volume()), save("broken", volume())
    (tmp_path / "broken" / "0003.dcm").unlink()
    (broken,) = find_dicom(tmp_path / "broken").series
    assert choose_series_below(volume(), [broken, whole], modality="CT")[0] is whole
    assert choose_series_below(volume(), [broken], modality="CT") == (broken, ())
    with pytest.raises(CaseError, match="missing-slice"):
        read_series(broken)
