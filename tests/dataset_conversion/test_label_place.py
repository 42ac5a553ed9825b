"""Labels that lie where the image has borders, and those that do only once they are flipped or transposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from clinical_images import placed
from nnunet_ext.dataset_conversion.checks import checked
from nnunet_ext.dataset_conversion.declaration import Conversion, Converter, Label, ReadCase, SourceCase
from nnunet_ext.dataset_conversion.label_borders import Placement, faces_of, fit_of, placements
from nnunet_ext.dataset_conversion.label_place import is_clear, require_label_in_place
from nnunet_ext.dataset_conversion.one_case import convert_case
from numpy.typing import NDArray
from real_data import real_data

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.preparation import Preparation, Resample

SIZE = (28, 40, 40)
# Far from where any other placement takes it.
CENTER, RADII = (11, 23, 11), (4, 6, 8)
AS_IT_CAME = Placement()
CONVERTER = Converter("test", "Test", "", ("CT",), (Label("GTV"),), lambda *_: (), lambda *_: None)  # type: ignore[arg-type, return-value]

Array = NDArray[Any]


def ellipsoid(
    size: Sequence[int] = SIZE, center: Sequence[float] = CENTER, radii: Sequence[float] = RADII
) -> NDArray[np.uint8]:
    """1 inside."""
    away = sum(((i - c) / r) ** 2 for i, c, r in zip(np.indices(tuple(size)), center, radii, strict=True))
    return (away < 1).astype(np.uint8)


def shown(numbers: Array, *, contrast: float = 60) -> Array:
    """A CT of soft tissue with noise of 15 HU, in which structures are brighter."""
    noise = np.random.default_rng(1).normal(40, 15, numbers.shape)
    return (noise + contrast * (numbers > 0)).round().astype(np.int16)


def laid(numbers: Array, placement: Placement) -> Array:
    """An array as a placement says."""
    flipped = tuple(slice(None, None, -1 if flip else 1) for flip in placement.flips)
    return np.ascontiguousarray(numbers.transpose(placement.axes)[flipped])


def is_refused(numbers: Array, *images: Array, **place: Any) -> bool:
    try:
        require_label_in_place(placed(numbers, **place), [placed(image, **place) for image in images])
    except CaseError as error:
        return error.code == "misplaced-label"
    return False


def wrong(shape: Sequence[int]) -> list[Placement]:
    return [placement for placement in placements(shape) if placement != AS_IT_CAME]


@pytest.mark.parametrize(
    ("size", "spacing"),
    [(SIZE, (1, 1, 1)), (SIZE, (0.6, 0.6, 5)), ((40, 40, 40), (1, 1, 1)), ((28, 40, 44), (1, 1, 1))],
)
def test_every_flip_and_exchange_is_refused_and_the_right_one_is_not(
    size: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    numbers = ellipsoid(size)
    image = shown(numbers)
    assert not is_refused(numbers, image, spacing=spacing)
    assert [str(p) for p in wrong(size) if not is_refused(laid(numbers, p), image, spacing=spacing)] == []


@pytest.mark.parametrize("placement", list(placements((28, 28, 28))))
def test_a_placement_is_what_it_says(placement: Placement) -> None:
    numbers = ellipsoid((28, 28, 28), (11, 12, 15), (5, 7, 6))
    faces = faces_of(numbers)
    turned = fit_of(faces, shown(laid(numbers, placement), contrast=500), placement)
    assert turned.peak > 4.8
    assert is_clear(turned)


def test_the_refusal_says_how_the_label_lies() -> None:
    numbers = ellipsoid()
    for done, how in (
        (numbers[::-1], r"flipped along z \(peak"),
        (numbers[:, ::-1, ::-1], r"flipped along y, x \(peak"),
        (numbers.transpose(0, 2, 1), r"its axes y, x are exchanged \(peak"),
    ):
        with pytest.raises(CaseError, match=f"misplaced-label.* once .*{how}"):
            require_label_in_place(placed(done), [placed(shown(numbers))])


@pytest.mark.parametrize("contrast", [0, 3])
def test_without_contrast_nothing_is_refused(contrast: float) -> None:
    numbers = ellipsoid()
    image = shown(numbers, contrast=contrast)
    assert not any(is_refused(laid(numbers, p), image) for p in placements(SIZE))


def test_flat_images_empty_and_full_labels_tell_nothing() -> None:
    numbers = ellipsoid()
    for flat in (np.full(SIZE, -1000, np.int16), np.zeros(SIZE, np.float32)):
        assert not is_refused(numbers, flat)
    for label in (np.zeros(SIZE, np.uint8), np.ones(SIZE, np.uint8)):
        assert not is_refused(label, shown(numbers))


@pytest.mark.parametrize("radii", [(1.1, 1.1, 1.1), (2, 2, 2)])
def test_a_tiny_label_is_never_refused(radii: tuple[float, ...]) -> None:
    numbers = ellipsoid(radii=radii)
    assert numbers.any()
    assert not any(is_refused(laid(numbers, p), shown(numbers, contrast=500)) for p in placements(SIZE))


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_few_slices_are_told_by_their_planes(slices: int) -> None:
    """Up to 8 slices have no faces with room along z: they are told by four sides."""
    flat = np.repeat(ellipsoid((1, 160, 160), (0, 60, 90), (1, 40, 60)), slices, axis=0)
    image = shown(flat, contrast=300)
    assert not is_refused(flat, image)
    assert is_refused(flat.transpose(0, 2, 1), image)
    assert is_refused(flat[:, ::-1], image)


def test_metal_and_air_do_not_decide() -> None:
    numbers = ellipsoid()
    image = shown(numbers)
    image[:, :5], image[:, 34:] = -1000, -1000
    image[14:17, 20:24, 5:9] = 30000
    assert not is_refused(numbers, image)
    assert is_refused(numbers[:, :, ::-1], image)


def test_a_box_without_borders_beside_a_structure_does_no_harm() -> None:
    """As what is ignored has, or a margin around a target."""
    numbers = ellipsoid()
    image = shown(numbers)
    numbers[4:24, 26:36, 4:20] = 2
    assert not is_refused(numbers, image)


def test_one_channel_that_shows_it_is_enough() -> None:
    numbers = ellipsoid()
    shows, shows_not, otherwise = shown(numbers), shown(numbers, contrast=0), shown(numbers[::-1])
    assert not is_refused(numbers, shows_not, shows)
    assert not is_refused(numbers, otherwise, shows)
    assert is_refused(numbers[::-1], shows_not, shows)
    assert not is_refused(numbers, shows_not)


def test_a_case_is_refused_by_what_every_case_passes() -> None:
    numbers = ellipsoid()
    place = {"spacing": (1, 1, 3), "direction": (0, 1, 0, 1, 0, 0, 0, 0, -1)}
    image = placed(shown(numbers), **place)
    assert checked(ReadCase((image,), placed(numbers, **place)), CONVERTER).label is not None
    with pytest.raises(CaseError, match="misplaced-label"):
        checked(ReadCase((image,), placed(numbers.transpose(0, 2, 1), **place)), CONVERTER)


def test_what_somebody_has_looked_at_is_noted() -> None:
    numbers = ellipsoid()
    place = {"spacing": (1, 1, 3)}
    image, label = placed(shown(numbers), **place), placed(numbers.transpose(0, 2, 1), **place)
    done = checked(ReadCase((image,), label), CONVERTER, accept_misplaced=True)
    (note,) = done.notes
    assert note.code == "misplaced-label"
    assert note.text.endswith("; accepted")
    assert checked(ReadCase((image,), placed(numbers, **place)), CONVERTER, accept_misplaced=True).notes == ()


def test_a_case_that_is_resampled_is_refused_by_the_label_as_it_came(tmp_path: Path) -> None:
    """After that there are other numbers of voxels along the axes that were exchanged."""
    numbers = ellipsoid((40, 40, 40))
    image = placed(shown(numbers), spacing=(1, 1, 2))
    resample = Preparation(channels=("CT",), label_channel="CT", steps=(Resample(spacing_mm=(1, 1, 1)),))
    for label, code in ((numbers.transpose(2, 1, 0), "misplaced-label"), (numbers, "")):
        read = ReadCase((image,), placed(label, spacing=(1, 1, 2)))
        converter = replace(CONVERTER, read=lambda *_, read=read: read)
        conversion = Conversion(converter, tmp_path, tmp_path / "dataset", preparation=resample)
        done = convert_case(conversion, "case", SourceCase("case", tmp_path, ()), salt="")
        assert (done.error[0] if done.error else "") == code
        accepting = replace(conversion, accept_misplaced=True)
        done = convert_case(accepting, "case", SourceCase("case", tmp_path, ()), salt="")
        assert done.error is None
        assert ("misplaced-label" in {note.code for note in done.notes}) == bool(code)


def test_nothing_depends_on_a_state() -> None:
    numbers = ellipsoid((20, 300, 300), (10, 120, 160), (8, 90, 110))
    first, second = faces_of(numbers), faces_of(numbers.copy())
    np.testing.assert_array_equal(first.voxels, second.voxels)
    low = first.voxels
    high = low + np.eye(3, dtype=int)[first.axes]
    assert (numbers[tuple(low.T)] != numbers[tuple(high.T)]).all()
    assert (first.sides % 2 == numbers[tuple(high.T)]).all()


def _read(file: Any) -> SimpleITK.Image:
    return SimpleITK.ReadImage(str(file))


def test_no_real_hippocampus_is_refused_and_many_that_are_flipped_are() -> None:
    folder = real_data("Task04_Hippocampus")
    files = sorted((folder / "labelsTr").glob("*.nii.gz"))[::8]
    flipped = 0
    for file in files:
        label, image = _read(file), _read(folder / "imagesTr" / file.name)
        require_label_in_place(label, [image])
        flipped += is_refused(*(SimpleITK.GetArrayFromImage(i) for i in (label[:, ::-1], image)))
    assert len(files) == 26
    assert flipped >= len(files) // 3


@pytest.mark.parametrize("modality", ["CT", "MR_T1"])
def test_no_real_target_is_refused(modality: str) -> None:
    """Most have little contrast: nothing tells where they lie, and nothing must be made of it."""
    for patient in sorted(real_data("sts_sarcoma").glob("STS_*"))[::2]:
        require_label_in_place(
            _read(patient / f"{modality}_mask.nii.gz"), [_read(patient / f"{modality}_image.nii.gz")]
        )


def test_a_real_tumor_in_the_head_is_refused_wherever_else_it_lies() -> None:
    folder = real_data("brain_mr_pyradiomics")
    image, label = (
        SimpleITK.GetArrayFromImage(_read(folder / f"brain1_{name}.nrrd")) for name in ("image", "label")
    )
    assert not is_refused(label, image)
    assert all(is_refused(laid(label, placement), image) for placement in wrong(label.shape))
