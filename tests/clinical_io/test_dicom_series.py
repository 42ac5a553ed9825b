"""A series is what its geometry says, however its files are named, numbered and damaged."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from clinical_images import ct_slices, oblique_direction, placed, saved_and_read
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage, generate_uid

from nnunet_ext.clinical_io.dicom_folder import find_dicom
from nnunet_ext.clinical_io.dicom_series import read_series
from nnunet_ext.clinical_io.dicom_writer import save_slices
from nnunet_ext.clinical_io.findings import CaseError
from nnunet_ext.clinical_io.grids import corner_distance_mm


def volume(slices: int = 6) -> SimpleITK.Image:
    values = np.random.default_rng(0).integers(-1000, 2000, (slices, 7, 9)).astype(np.int16)
    return placed(values, spacing=(0.8, 0.9, 2.5), origin=(-12.5, 30.25, -600))


@settings(deadline=None, max_examples=25)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    order=st.permutations(range(5)),
    numbers=st.permutations(range(5)),
)
def test_any_orientation_and_order_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    order: list[int],
    numbers: list[int],
) -> None:
    voxels = np.random.default_rng(1).integers(-1000, 2000, (5, 4, 6)).astype(np.int16)
    image = placed(voxels, spacing=spacing, origin=(1, 2, 3), direction=oblique_direction(*angles))
    slices = ct_slices(image)
    for item, number in zip(slices, numbers, strict=True):
        item.InstanceNumber = number
    back = saved_and_read([slices[i] for i in order], tmp_path_factory.mktemp("series"))
    assert corner_distance_mm(back.image, image) < 1e-3
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(back.image), voxels)
    assert back.image.GetPixelID() == SimpleITK.sitkInt16


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path) -> None:
    image = volume()
    slices = ct_slices(image)
    slices[2].RescaleSlope = 3
    slices[4].RescaleIntercept = 0
    expected = SimpleITK.GetArrayFromImage(image).astype(int)
    expected[2] = (expected[2] + 1024) * 3 - 1024
    expected[4] += 1024
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(saved_and_read(slices, tmp_path).image), expected
    )


def test_fractions_stay_fractions(tmp_path: Path) -> None:
    slices = ct_slices(volume())
    slices[0].RescaleSlope = "0.5"
    assert saved_and_read(slices, tmp_path).image.GetPixelID() == SimpleITK.sitkFloat32


def test_an_equal_image_at_one_place_is_dropped_and_told(tmp_path: Path) -> None:
    slices = ct_slices(volume())
    twin = copy.deepcopy(slices[3])
    twin.SOPInstanceUID = generate_uid()
    back = saved_and_read([*slices, twin], tmp_path)
    assert back.image.GetSize() == (9, 7, 6)
    assert [note.code for note in back.notes] == ["duplicate-slice"]


def _another_image_at_one_place(slices: list[Dataset]) -> list[Dataset]:
    twin = copy.deepcopy(slices[3])
    twin.SOPInstanceUID = generate_uid()
    twin.PixelData = slices[2].PixelData
    return [*slices, twin]


def _move(slices: list[Dataset], z: int, shift: tuple[float, float, float]) -> None:
    place = [float(mm) + by for mm, by in zip(slices[z].ImagePositionPatient, shift, strict=True)]
    slices[z].ImagePositionPatient = place


def _uneven(slices: list[Dataset]) -> list[Dataset]:
    _move(slices, 5, (0, 0, 0.9))
    return slices


def _tilted(slices: list[Dataset]) -> list[Dataset]:
    for z in range(len(slices)):
        _move(slices, z, (0, 0.4 * z, 0))
    return slices


def _tilt_in_the_header_only(slices: list[Dataset]) -> list[Dataset]:
    for item in slices:
        item.GantryDetectorTilt = "12.5"
    return slices


def _one_of_another_size(slices: list[Dataset]) -> list[Dataset]:
    slices[1].Rows, slices[1].Columns = 9, 7
    return slices


def _one_of_another_orientation(slices: list[Dataset]) -> list[Dataset]:
    slices[1].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return slices


def _one_of_another_patient(slices: list[Dataset]) -> list[Dataset]:
    slices[1].PatientID = "somebody else"
    return slices


def _half_of_the_pixels(slices: list[Dataset]) -> list[Dataset]:
    slices[1].PixelData = slices[1].PixelData[:60]
    return slices


def _color(slices: list[Dataset]) -> list[Dataset]:
    slices[0].SamplesPerPixel = 3
    return slices


def _no_position(slices: list[Dataset]) -> list[Dataset]:
    del slices[0].ImagePositionPatient
    return slices


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda slices: slices[:3] + slices[4:], "missing-slice"),
        (lambda slices: slices[:1], "single-slice"),
        (_another_image_at_one_place, "duplicate-slice"),
        (_uneven, "uneven-spacing"),
        (_tilted, "tilt"),
        (_tilt_in_the_header_only, "tilt"),
        (_one_of_another_size, "mixed-series"),
        (_one_of_another_orientation, "mixed-series"),
        (_one_of_another_patient, "mixed-patients"),
        (_half_of_the_pixels, "truncated-file"),
        (_color, "unreadable"),
        (_no_position, "unreadable"),
    ],
)
def test_what_is_no_regular_stack_is_refused_by_name(
    tmp_path: Path, damage: Callable[[list[Dataset]], list[Dataset]], code: str
) -> None:
    with pytest.raises(CaseError) as refused:
        saved_and_read(damage(ct_slices(volume())), tmp_path)
    assert refused.value.code == code
    for hidden in ("Doe", "patient-1", str(tmp_path)):
        assert hidden not in str(refused.value)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, keep: float) -> None:
    files = save_slices(ct_slices(volume()), tmp_path)
    whole = files[2].read_bytes()
    files[2].write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(CaseError) as refused:
        read_series(find_dicom(tmp_path).series[0])
    assert refused.value.code in {"truncated-file", "missing-slice"}


def test_run_lengths_are_read(tmp_path: Path) -> None:
    slices = ct_slices(volume())
    for item in slices:
        item.compress(RLELossless)
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(saved_and_read(slices, tmp_path).image),
        SimpleITK.GetArrayFromImage(volume()),
    )


def test_jpeg_2000_is_read(tmp_path: Path) -> None:
    voxels = np.tile(np.arange(64, dtype=np.int16), (3, 64, 1)) * 30 - 900
    slices = ct_slices(placed(voxels))
    for z, item in enumerate(slices):
        stored = SimpleITK.GetImageFromArray(voxels[z : z + 1] + 1024)
        SimpleITK.WriteImage(stored, str(tmp_path / "plain.dcm"), useCompression=True)
        compressed = pydicom.dcmread(tmp_path / "plain.dcm")
        assert compressed.file_meta.TransferSyntaxUID.is_encapsulated
        item.PixelData = compressed.PixelData
        item["PixelData"].is_undefined_length = True
        item.file_meta.TransferSyntaxUID = compressed.file_meta.TransferSyntaxUID
    back = saved_and_read(slices, tmp_path / "series")
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(back.image), voxels)


def test_enhanced_frames_have_their_own_place_and_slope(tmp_path: Path) -> None:
    image = volume()
    slices = ct_slices(image)
    enhanced = _enhanced(slices, order=[3, 0, 5, 1, 4, 2])
    back = saved_and_read([enhanced], tmp_path)
    assert corner_distance_mm(back.image, image) < 1e-3
    expected = SimpleITK.GetArrayFromImage(image).astype(int)
    expected[3] = (expected[3] + 1024) * 2 - 1024  # its frame has a slope of its own
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(back.image), expected)


def _enhanced(slices: list[Dataset], *, order: list[int]) -> Dataset:
    """One file with all frames, as enhanced CT has them: what they share, and what each has of its own."""
    item = copy.deepcopy(slices[0])
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(item, keyword)
    measures, orientation, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = slices[0].PixelSpacing, slices[0].SliceThickness
    orientation.ImageOrientationPatient = slices[0].ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    item.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in order:
        place, values, own = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = slices[z].ImagePositionPatient
        values.RescaleSlope, values.RescaleIntercept = (2 if z == 3 else 1), -1024
        own.PlanePositionSequence, own.PixelValueTransformationSequence = [place], [values]
        frames.append(own)
    item.PerFrameFunctionalGroupsSequence = frames
    item.NumberOfFrames = len(order)
    item.PixelData = b"".join(slices[z].PixelData for z in order)
    return item


def test_scouts_doses_and_other_files_are_passed_over(tmp_path: Path) -> None:
    slices = ct_slices(volume())
    scout = ct_slices(volume(2), description="scout")
    for item in scout:
        item.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save_slices(slices, tmp_path / "ct")
    save_slices(scout, tmp_path / "scout")
    dose = copy.deepcopy(slices[0])
    dose.Modality = "RTDOSE"
    save_slices([dose], tmp_path / "dose")
    voxels = copy.deepcopy(slices[0])
    voxels.Modality = "SEG"
    save_slices([voxels], tmp_path / "seg")
    # A table of doses, as scanners send it along: CT by its modality, and without a place.
    for number, samples in enumerate((1, 3), start=1):
        screen = copy.deepcopy(slices[0])
        screen.SOPClassUID = screen.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        screen.SeriesInstanceUID, screen.SamplesPerPixel = generate_uid(), samples
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(screen, keyword)
        save_slices([screen], tmp_path / f"screen{number}")
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / "._0001.dcm").write_bytes(b"what macOS leaves")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 132 + b"DICM")
    found = find_dicom(tmp_path)
    assert [len(s.slices) for s in found.series] == [6]
    assert found.others == 5
    assert found.segmentations == 1
