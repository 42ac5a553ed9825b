"""Volumes come back with their numbers and their place, or are refused by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from clinical_images import oblique_direction, placed
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from nnunet_ext.clinical_io import CaseError, read_volume
from nnunet_ext.clinical_io.grids import corner_distance_mm
from nnunet_ext.clinical_io.volumes import write_image

ENDINGS = [".nii", ".nii.gz", ".nrrd", ".mha"]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=10)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    kind=st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32]),
)
def test_what_simpleitk_wrote_is_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    kind: DTypeLike,
) -> None:
    voxels = (np.arange(2 * 3 * 5).reshape(2, 3, 5) * 7).astype(kind)
    image = placed(voxels, spacing=spacing, origin=(-120, 33, 5), direction=oblique_direction(*angles))
    file = tmp_path_factory.mktemp("volume") / f"a{ending}"
    SimpleITK.WriteImage(image, str(file))
    back = read_volume(file)
    assert back.notes == ()
    assert corner_distance_mm(back.image, image) < 1e-3
    array = SimpleITK.GetArrayFromImage(back.image)
    assert array.dtype == voxels.dtype
    np.testing.assert_array_equal(array, voxels)


@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_of_a_header_go_no_further(tmp_path: Path, ending: str) -> None:
    image = placed(np.zeros((2, 3, 4), np.int16), spacing=(1, 2, 3))
    for key in ("ITK_FileNotes", "aux_file", "PatientName", "0010|0010"):
        image.SetMetaData(key, "Doe^Jane")
    SimpleITK.WriteImage(image, str(tmp_path / f"a{ending}"), useCompression=False)
    assert b"Doe^Jane" in (tmp_path / f"a{ending}").read_bytes() or ending == ".nii.gz"
    write_image(read_volume(tmp_path / f"a{ending}").image, tmp_path / "b.nii.gz")
    assert b"Doe" not in gzip.decompress((tmp_path / "b.nii.gz").read_bytes())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("keep", [0.4, 0.97])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, ending: str, keep: float) -> None:
    file = tmp_path / f"a{ending}"
    voxels = np.random.default_rng(0).integers(-1000, 1000, (10, 30, 30)).astype(np.int16)
    SimpleITK.WriteImage(placed(voxels), str(file), useCompression=True)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(CaseError) as refused:
        read_volume(file)
    assert refused.value.code == "truncated-file"
    assert str(tmp_path) not in str(refused.value)


def test_a_flipped_bit_behind_the_header_is_found_by_the_checksum(tmp_path: Path) -> None:
    file = tmp_path / "a.nii.gz"
    voxels = np.random.default_rng(0).integers(-1000, 1000, (10, 30, 30)).astype(np.int16)
    SimpleITK.WriteImage(placed(voxels), str(file))
    damaged = bytearray(file.read_bytes())
    damaged[-6] ^= 1
    file.write_bytes(bytes(damaged))
    with pytest.raises(CaseError, match="truncated-file"):
        read_volume(file)


def test_a_missing_file_is_no_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_volume(tmp_path / "a.nrrd")


def test_a_last_axis_of_one_is_no_axis_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    for name, frames in (("a.nii.gz", 1), ("b.nii.gz", 2)):
        nibabel.Nifti1Image(np.zeros((4, 3, 2, frames), np.int16), np.eye(4)).to_filename(tmp_path / name)
    assert read_volume(tmp_path / "a.nii.gz").image.GetSize() == (4, 3, 2)
    with pytest.raises(CaseError, match="not-3d"):
        read_volume(tmp_path / "b.nii.gz")


def _with_forms(file: Path, *, sform: np.ndarray | None, qform: np.ndarray | None) -> Path:
    image = nibabel.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.eye(4))
    image.set_sform(np.eye(4) if sform is None else sform, code=int(sform is not None))
    image.set_qform(np.eye(4) if qform is None else qform, code=int(qform is not None))
    image.to_filename(file)
    return file


def test_two_orientations_in_one_header_are_refused(tmp_path: Path) -> None:
    flipped = np.diag([-1.0, 1, 1, 1])
    with pytest.raises(CaseError, match="ambiguous-geometry"):
        read_volume(_with_forms(tmp_path / "a.nii", sform=flipped, qform=np.eye(4)))


def test_two_origins_in_one_header_are_told(tmp_path: Path) -> None:
    moved = np.eye(4)
    moved[0, 3] = 3
    volume = read_volume(_with_forms(tmp_path / "a.nii", sform=moved, qform=np.eye(4)))
    assert [note.code for note in volume.notes] == ["two-geometries"]
    assert volume.image.GetOrigin() == (-3.0, 0.0, 0.0)  # the sform, in DICOM's frame


def test_a_header_without_a_frame_is_told(tmp_path: Path) -> None:
    volume = read_volume(_with_forms(tmp_path / "a.nii", sform=None, qform=None))
    assert [note.code for note in volume.notes] == ["no-geometry"]


def test_axes_a_little_off_are_straightened_and_sheared_ones_refused(tmp_path: Path) -> None:
    off, sheared = np.eye(4), np.eye(4)
    off[0, 1], sheared[0, 1] = 5e-4, 0.1
    volume = read_volume(_with_forms(tmp_path / "a.nii", sform=off, qform=None))
    direction = np.reshape(volume.image.GetDirection(), (3, 3))
    np.testing.assert_allclose(direction @ direction.T, np.eye(3), atol=1e-12)
    assert [note.code for note in volume.notes] == ["drift"]
    with pytest.raises(CaseError, match="sheared"):
        read_volume(_with_forms(tmp_path / "b.nii", sform=sheared, qform=None))
