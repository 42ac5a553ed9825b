"""PNGs belong to the slices they name, lie the right way up, and are refused where nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clinical_images import ct_slices, placed, saved_and_read
from PIL import Image

from nnunet_ext.clinical_io.dicom_series import DicomVolume
from nnunet_ext.clinical_io.findings import CaseError
from nnunet_ext.clinical_io.png_masks import Flip, natural_key, read_png_masks

SIZE = (12, 30, 40)


def bones() -> np.ndarray:
    """A thick and a thin bone, which look alike neither upside down nor mirrored nor from behind."""
    z, y, x = np.indices(SIZE)
    thick = np.hypot(y - 8 - 0.4 * z, x - 10) < 5
    thin = np.hypot(y - 20, x - 26 + 0.3 * z) < 3
    return thick | thin


@pytest.fixture
def volume(tmp_path: Path) -> DicomVolume:
    """Instance numbers run against the slices, as where the scanner moved upwards."""
    hu = np.where(bones(), 400, 40).astype(np.int16)
    hu[:, :, 36:] = -1000
    slices = ct_slices(placed(hu, spacing=(0.8, 0.8, 2)))
    for z, item in enumerate(slices):
        item.InstanceNumber = len(slices) - z
    return saved_and_read(slices, tmp_path / "series")


def write(
    folder: Path,
    volume: DicomVolume,
    mask: np.ndarray,
    name: Callable[[DicomVolume, int], str],
    *,
    mode: str = "L",
    value: int = 1,
) -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = []
    for z, plane in enumerate(mask):
        if mode == "RGBA":
            pixels = np.zeros((*plane.shape, 4), np.uint8)
            pixels[..., 3] = 255  # opaque black is outside
            pixels[plane, 0] = value
            image = Image.fromarray(pixels)
        else:
            image = Image.fromarray((plane * value).astype(np.uint8))
            image = image.point(lambda v: 255 * (v > 0), "1") if mode == "1" else image
            if mode == "P":
                image.putpalette([0, 0, 0, 0, 0, 0] * 128)  # both indices look black
        files.append(folder / f"{name(volume, z)}.png")
        image.save(files[-1])
    return files


def by_instance(volume: DicomVolume, z: int) -> str:
    return volume.slices[z].instance


def by_file(volume: DicomVolume, z: int) -> str:
    return volume.slices[z].file.stem


def by_number(volume: DicomVolume, z: int) -> str:
    return f"femur_2_{volume.slices[z].number}"


def by_order(volume: DicomVolume, z: int) -> str:
    """Numbers from 100 on, which are no instance numbers; natural order, 99 would sort behind."""
    return f"mask{98 + (volume.slices[z].number or 0)}"


@pytest.mark.parametrize("name", [by_instance, by_file, by_number, by_order])
@pytest.mark.parametrize(("mode", "value"), [("L", 1), ("L", 255), ("1", 1), ("P", 1), ("RGBA", 255)])
def test_masks_find_their_slices(
    volume: DicomVolume, tmp_path: Path, name: Callable[[DicomVolume, int], str], mode: str, value: int
) -> None:
    files = write(tmp_path / "png", volume, bones(), name, mode=mode, value=value)
    mask = read_png_masks(files[::-1], volume)
    np.testing.assert_array_equal(mask.voxels, bones())
    assert [note.code for note in mask.notes] == (["png-order"] if name is by_order else [])


def test_natural_order_is_that_of_people() -> None:
    names = ["a2.png", "a10.png", "A1.png", "b.png", "7.png"]
    assert sorted(names, key=natural_key) == ["A1.png", "a2.png", "a10.png", "b.png", "7.png"]


@pytest.mark.parametrize(("flip", "axes"), [("vertical", (1,)), ("horizontal", (2,)), ("both", (1, 2))])
def test_turned_masks_are_refused_and_read_when_the_user_says_how(
    volume: DicomVolume, tmp_path: Path, flip: Flip, axes: tuple[int, ...]
) -> None:
    files = write(tmp_path / "png", volume, np.flip(bones(), axes), by_number)
    with pytest.raises(CaseError, match=rf"flipped-png: .*\({flip}\)"):
        read_png_masks(files, volume)
    mask = read_png_masks(files, volume, flip=flip)
    np.testing.assert_array_equal(mask.voxels, bones())
    assert [note.code for note in mask.notes] == ["flipped-png"]


def test_masks_in_reverse_order_are_refused_where_only_the_order_tells(
    volume: DicomVolume, tmp_path: Path
) -> None:
    files = write(tmp_path / "png", volume, bones()[::-1], by_order)
    with pytest.raises(CaseError, match=r"flipped-png: .*order reversed"):
        read_png_masks(files, volume)


def _symmetric(mask: np.ndarray) -> np.ndarray:
    return mask | np.flip(mask, 2) | np.flip(mask, 1) | np.flip(mask, (1, 2))


def _in_soft_tissue() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[:, :2, 14:22] = True
    return mask


@pytest.mark.parametrize("mask", [_symmetric(bones()), _in_soft_tissue()])
def test_masks_of_which_nobody_can_tell_the_way_up_are_refused(
    volume: DicomVolume, tmp_path: Path, mask: np.ndarray
) -> None:
    with pytest.raises(CaseError, match="ambiguous-flip"):
        read_png_masks(write(tmp_path / "png", volume, mask, by_number), volume)


@pytest.mark.parametrize("name", [by_number, by_order])
def test_a_missing_mask_is_not_an_empty_one(
    volume: DicomVolume, tmp_path: Path, name: Callable[[DicomVolume, int], str]
) -> None:
    files = write(tmp_path / "png", volume, bones(), name)[:-1]
    with pytest.raises(CaseError, match="missing-png"):
        read_png_masks(files, volume)
    if name is by_number:
        mask = read_png_masks(files, volume, missing_is_empty=True)
        assert not mask.voxels[-1].any()
        assert [note.code for note in mask.notes] == ["missing-png"]


def test_too_many_and_twice_named_masks_are_refused(volume: DicomVolume, tmp_path: Path) -> None:
    files = write(tmp_path / "png", volume, bones(), by_number)
    twin = tmp_path / "png" / "another_3.png"
    twin.write_bytes(files[0].read_bytes())
    with pytest.raises(CaseError, match="unmatched-png"):
        read_png_masks([*files, twin], volume)
    with pytest.raises(CaseError, match="unmatched-png"):
        read_png_masks([*write(tmp_path / "order", volume, bones(), by_order), twin], volume)


def test_what_is_no_mask_is_refused(volume: DicomVolume, tmp_path: Path) -> None:
    files = write(tmp_path / "png", volume, bones(), by_number)
    whole = files[0].read_bytes()
    gray = np.tile(np.arange(40, dtype=np.uint8), (30, 1))
    for content, code in (
        (whole[: len(whole) // 2], "unreadable"),
        (b"no picture", "unreadable"),
        (gray, "label-value"),
        (np.stack([gray] * 3, axis=-1), "label-value"),
        (np.stack([0 * gray, gray // 14, 255 * (gray > 20)], axis=-1).astype(np.uint8), "label-value"),
        (gray[:, :20], "label-grid"),
    ):
        if isinstance(content, bytes):
            files[0].write_bytes(content)
        else:
            Image.fromarray(content).save(files[0])
        with pytest.raises(CaseError) as refused:
            read_png_masks(files, volume)
        assert refused.value.code == code
    empty = write(tmp_path / "empty", volume, np.zeros(SIZE, bool), by_number)
    with pytest.raises(CaseError, match="empty-label"):
        read_png_masks(empty, volume)


def by_number_from_the_other_end(volume: DicomVolume, z: int) -> str:
    return f"mask_{len(volume.slices) + 1 - (volume.slices[z].number or 0)}"


def test_numbers_that_count_from_the_other_end_are_refused(volume: DicomVolume, tmp_path: Path) -> None:
    files = write(tmp_path / "png", volume, bones(), by_number_from_the_other_end)
    with pytest.raises(CaseError, match=r"flipped-png: .*order reversed.*named after their slices"):
        read_png_masks(files, volume)


def by_number_from_0(volume: DicomVolume, z: int) -> str:
    return f"mask_{(volume.slices[z].number or 0) - 1:04d}"


def test_numbers_from_0_are_refused_where_they_name_other_slices(tmp_path: Path) -> None:
    """Without the first mask all others have numbers that are there, and one less than they should."""
    slanting = np.stack([np.roll(plane, 3 * z, axis=1) for z, plane in enumerate(bones())])
    hu = np.where(slanting, 400, 40).astype(np.int16)
    volume = saved_and_read(ct_slices(placed(hu, spacing=(0.8, 0.8, 5))), tmp_path / "slanting")
    files = write(tmp_path / "png", volume, slanting, by_number_from_0)
    for file in files:
        if file.stem == "mask_0000":
            file.unlink()
    there = [file for file in files if file.exists()]
    with pytest.raises(CaseError, match=r"flipped-png: .*\(one slice up\)"):
        read_png_masks(there, volume, missing_is_empty=True)
    right = write(tmp_path / "right", volume, slanting, by_number)
    np.testing.assert_array_equal(read_png_masks(right, volume).voxels, slanting)
