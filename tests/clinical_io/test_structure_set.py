"""RTSTRUCT files: what was written is read, what belongs to other images is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from clinical_images import ct_slices, oblique_direction, placed, saved_and_read
from pydicom.dataset import Dataset
from real_data import real_data

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import DicomVolume, read_series
from nnunet_ext.clinical_io.findings import CaseError
from nnunet_ext.clinical_io.rasterize import rasterize
from nnunet_ext.clinical_io.structure_set import read_structure_set, require_frame_of_reference
from nnunet_ext.clinical_io.structure_set_writer import NamedMask, write_structure_set
from nnunet_ext.clinical_io.volumes import read_volume

RED, BLUE = (255, 0, 0), (0, 0, 255)


def masks(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A ring with an island, two parts a slice, one voxel, and nothing."""
    z, y, x = np.indices(shape)
    radius = np.hypot(y - shape[1] / 2, x - shape[2] / 2)
    ring = ((radius < 9) & (radius > 5)) | (radius < 2)
    parts = (np.abs(x - 5) < 2) | (np.abs(x - 20) < 3)
    one = (z == 1) & (y == 3) & (x == 4)
    return {"ring": ring & (z > 0), "parts": parts & (z < 3), "one": one, "empty": np.zeros(shape, bool)}


@pytest.fixture
def series(tmp_path: Path) -> DicomVolume:
    """An oblique series."""
    voxels = np.zeros((5, 24, 30), np.int16)
    image = placed(
        voxels, spacing=(0.7, 0.9, 3), origin=(-80, 12, 400), direction=oblique_direction(10, -20, 35)
    )
    return saved_and_read(ct_slices(image), tmp_path / "series")


def written(series: DicomVolume, file: Path) -> Path:
    named = [
        NamedMask(name, mask, RED if name == "ring" else BLUE)
        for name, mask in masks(series.image.GetSize()[::-1]).items()
    ]
    write_structure_set(named, series, path=file, label="automatic")
    return file


def test_masks_come_back_from_the_file_on_an_oblique_series(series: DicomVolume, tmp_path: Path) -> None:
    content = read_structure_set(written(series, tmp_path / "rs.dcm"))
    expected = masks(series.image.GetSize()[::-1])
    assert [s.name for s in content.structures] == list(expected)
    assert [s.color for s in content.structures] == [RED, BLUE, BLUE, BLUE]
    assert [s.is_empty for s in content.structures] == [False, False, False, True]
    for structure in content.structures:
        mask = rasterize(structure.contours, series.image)
        np.testing.assert_array_equal(mask.voxels, expected[structure.name])


def test_the_file_names_series_images_study_and_patient(series: DicomVolume, tmp_path: Path) -> None:
    file = written(series, tmp_path / "rs.dcm")
    content, plain = read_structure_set(file), pydicom.dcmread(file)
    image = pydicom.dcmread(series.slices[0].file)
    assert content.patient == series.headers.patient
    assert content.series == {series.headers.uid}
    assert content.instances == series.instances
    assert plain.StudyInstanceUID == image.StudyInstanceUID
    assert (
        require_frame_of_reference(
            content,
            content.structures,
            frame=series.headers.frame_of_reference,
            instances=series.instances,
        )
        == ()
    )
    for curve in plain.ROIContourSequence[0].ContourSequence:
        assert curve.NumberOfContourPoints * 3 == len(curve.ContourData)
        assert all(len(str(number)) <= 16 for number in curve.ContourData)
        named = curve.ContourImageSequence[0].ReferencedSOPInstanceUID
        (place,) = [s.position_mm for s in series.slices if s.instance == named]
        offset = np.asarray(curve.ContourData[:3], float) - place
        assert abs(offset @ series.slices[0].normal) < 1e-3


def test_other_images_of_the_same_frame_are_told_and_another_frame_is_refused(
    series: DicomVolume, tmp_path: Path
) -> None:
    content = read_structure_set(written(series, tmp_path / "rs.dcm"))
    frame = series.headers.frame_of_reference
    notes = require_frame_of_reference(content, content.structures, frame=frame, instances=["1.2.3"])
    assert [note.code for note in notes] == ["broken-reference"]
    for wrong in ("1.2.3", ""):
        with pytest.raises(CaseError, match="broken-reference"):
            require_frame_of_reference(content, content.structures, frame=wrong, instances=series.instances)


def _no_frame(content: Dataset) -> None:
    del content.ReferencedFrameOfReferenceSequence
    for item in content.StructureSetROISequence:
        del item.ReferencedFrameOfReferenceUID


def _one_structure_of_another_frame(content: Dataset) -> None:
    content.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.2.3"


@pytest.mark.parametrize("damage", [_no_frame, _one_structure_of_another_frame])
def test_a_structure_without_the_frame_of_the_images_is_refused(
    series: DicomVolume, tmp_path: Path, damage: Callable[[Dataset], None]
) -> None:
    file = written(series, tmp_path / "rs.dcm")
    plain = pydicom.dcmread(file)
    damage(plain)
    plain.save_as(file)
    content = read_structure_set(file)
    with pytest.raises(CaseError, match="broken-reference"):
        require_frame_of_reference(
            content,
            content.structures,
            frame=series.headers.frame_of_reference,
            instances=series.instances,
        )


def test_broken_files_are_refused(series: DicomVolume, tmp_path: Path) -> None:
    file = written(series, tmp_path / "rs.dcm")
    whole = file.read_bytes()
    for content in (whole[: len(whole) // 2], b"no DICOM at all"):
        file.write_bytes(content)
        with pytest.raises(CaseError, match="unreadable"):
            read_structure_set(file)
    with pytest.raises(CaseError, match="RTSTRUCT"):
        read_structure_set(series.slices[0].file)


def test_a_label_that_dicom_has_no_room_for_is_refused(series: DicomVolume, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 16"):
        write_structure_set([], series, path=tmp_path / "a.dcm", label="x" * 17)


@pytest.mark.parametrize("patient", ["ibsi_STS_002_CT", "ibsi_STS_002_MR"])
def test_real_contours_give_the_expected_mask(patient: str) -> None:
    folder = real_data("dicom_rt") / patient
    found = find_dicom(folder)
    volume = read_series(found.series[0])
    content = read_structure_set(found.structure_sets[0])
    # The RTSTRUCT names the images of the original study, these are a part of it under new UIDs.
    notes = require_frame_of_reference(
        content,
        content.structures,
        frame=volume.headers.frame_of_reference,
        instances=volume.instances,
    )
    assert [note.code for note in notes] == ["broken-reference"]
    expected = SimpleITK.GetArrayFromImage(read_volume(folder / "expected_mask.nii.gz").image) > 0
    (structure,) = content.structures
    np.testing.assert_array_equal(rasterize(structure.contours, volume.image).voxels, expected)


def test_a_real_oblique_series_that_lacks_slices_keeps_what_lies_in_it(tmp_path: Path) -> None:
    found = find_dicom(real_data("dicom_rt") / "STS_001_raw_MR_T2_oblique")
    volume = read_series(found.series[0])
    for structure in read_structure_set(found.structure_sets[0]).structures:
        mask = rasterize(structure.contours, volume.image)
        assert [note.code for note in mask.notes] == ["contour-outside"]
        named = [NamedMask(structure.name, mask.voxels, RED)]
        write_structure_set(named, volume, path=tmp_path / "rs.dcm", label="again")
        (again,) = read_structure_set(tmp_path / "rs.dcm").structures
        np.testing.assert_array_equal(rasterize(again.contours, volume.image).voxels, mask.voxels)


def test_a_real_plan_lists_what_was_never_drawn() -> None:
    content = read_structure_set(real_data("dicom_rt") / "dicompyler_core" / "rtss.dcm")
    assert [s.name for s in content.structures if s.is_empty] == ["Areola"]
    assert len(content.structures) == 10


@pytest.mark.parametrize(
    ("file", "code"),
    [("rt.dcm", "broken-reference"), ("invalid_reference_rt.dcm", ""), ("non_existent_reference_rt.dcm", "")],
)
def test_real_structure_sets_with_broken_references(file: str, code: str) -> None:
    """The first was drawn in another frame; the others name no image, or images that are not there."""
    folder = real_data("dicom_rt") / "rt_utils" / "mock_data"
    volume = read_series(find_dicom(folder).series[0])
    content = read_structure_set(folder / file)
    arguments = {"frame": volume.headers.frame_of_reference, "instances": volume.instances}
    if code:
        with pytest.raises(CaseError, match=code):
            require_frame_of_reference(content, content.structures, **arguments)
        return
    notes = require_frame_of_reference(content, content.structures, **arguments)
    assert [note.code for note in notes] == ["broken-reference"]


def test_a_real_series_of_one_slice_is_refused() -> None:
    (series,) = find_dicom(real_data("dicom_rt") / "rt_utils" / "one_slice_data").series
    with pytest.raises(CaseError, match="single-slice"):
        read_series(series)


@pytest.mark.parametrize(
    ("letters", "patient", "kept"),
    [
        ("ISO_IR 100", "M\u00fcller^J\u00f6rg", False),
        ("GB18030", "\u5f20^\u4e09", True),
        ("ISO 2022 IR 87", "Doe^Jane", False),
        ("", "Doe^Jane", False),
    ],
)
def test_names_of_any_script_come_back(
    series: DicomVolume, tmp_path: Path, letters: str, patient: str, kept: bool
) -> None:
    """Question marks would stand there where the images' character set lacks a letter."""
    for slice_ in series.slices:
        item = pydicom.dcmread(slice_.file)
        item.PatientName = patient
        if letters:
            item.SpecificCharacterSet = letters
        item.save_as(slice_.file)
    mask = masks(series.image.GetSize()[::-1])["ring"]
    for name in ("GTV", "\u809d\u810f \u80bf\u7624"):
        write_structure_set([NamedMask(name, mask, RED)], series, path=tmp_path / "rs.dcm", label="again")
        content = pydicom.dcmread(tmp_path / "rs.dcm")
        assert content.StructureSetROISequence[0].ROIName == name
        assert str(content.PatientName) == patient
        is_the_same = content.get("SpecificCharacterSet", "") == letters
        assert is_the_same == (kept or name.isascii())
