"""Whatever the grid of a scan and the names of its files: the label comes out in its place."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK
from clinical_images import oblique_direction
from hypothesis import given, settings
from hypothesis import strategies as st
from phantom_clinics import ONE_SEED, anatomy, convert

from nnunet_ext.clinical_io.grids import corner_distance_mm, in_one_orientation
from nnunet_ext.clinical_io.volumes import write_image
from nnunet_ext.phantoms.clinic.case import ClinicCase
from nnunet_ext.phantoms.clinic.clinics import LAYOUTS
from nnunet_ext.phantoms.clinic.write import CLINIC, WrittenCase

AXES = [
    np.diag(signs)[list(order)] for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]
RIGHT_HANDED = [axes for axes in AXES if np.linalg.det(axes) > 0]
LENGTHS_MM = st.floats(0.3, 6).map(lambda mm: round(mm, 4))
ANGLES = st.floats(-20, 20)
SHIFTS_MM = st.floats(-400, 400)


@st.composite
def grids(draw: st.DrawFn, axes: list[np.ndarray]) -> dict[str, list[float]]:
    """Spacing, origin and direction as SimpleITK takes them."""
    turned = np.reshape(oblique_direction(*(draw(ANGLES) for _ in range(3))), (3, 3))
    return {
        "spacing": [draw(LENGTHS_MM) for _ in range(3)],
        "origin": [draw(SHIFTS_MM) for _ in range(3)],
        "direction": (turned @ draw(st.sampled_from(axes))).ravel().tolist(),
    }


def moved(case: ClinicCase, grid: dict[str, list[float]]) -> ClinicCase:
    """The same voxels on another grid of the world."""

    def on_grid(image: SimpleITK.Image) -> SimpleITK.Image:
        copy = SimpleITK.Image(image)
        copy.SetSpacing(grid["spacing"])
        copy.SetOrigin(grid["origin"])
        copy.SetDirection(grid["direction"])
        return copy

    return replace(
        case,
        images={name: on_grid(image) for name, image in case.images.items()},
        label=on_grid(case.label),
        further={name: on_grid(image) for name, image in case.further.items()},
    )


def require_same_place(case: ClinicCase, out: Path, *, shuffled: int | None = None) -> None:
    """Write, convert and compare voxels and corners."""
    layout = LAYOUTS[case.clinic]
    name, folder = layout.name_of(case.number), out / CLINIC / layout.folder_of(case.number)
    layout.write(case, folder)
    if shuffled is not None:
        files = sorted((folder / "CT").glob("*.dcm"))
        names = [f"IM{n}" for n in range(len(files))]
        random.Random(shuffled).shuffle(names)
        for file, new in zip(files, names, strict=True):
            file.rename(file.with_name(new))
    write_image(case.label, out / "truth.nii.gz")
    written = WrittenCase(name, folder, case.seed, "", out / "truth.nii.gz")
    converted = convert(case.clinic, out, [written])
    assert converted.about(written)["status"] == "written", converted.about(written)
    pairs = [(converted.image(written), case.reference), (converted.label(written), case.label)]
    for found, original in pairs:
        expected = in_one_orientation(original)
        assert corner_distance_mm(found, expected) < 1e-3
        np.testing.assert_array_equal(
            SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(expected)
        )


@pytest.fixture(scope="module")
def patients() -> dict[str, ClinicCase]:
    """One patient of each kind of layout."""
    return {name: anatomy(name, number=1, seed=ONE_SEED) for name in ("liver-target", "whole-heart-mr")}


@settings(max_examples=12, derandomize=True)
@given(grid=grids(RIGHT_HANDED), shuffled=st.integers(0, 99))
def test_dicom_with_contours(
    patients: dict[str, ClinicCase], grid: dict[str, list[float]], shuffled: int
) -> None:
    with TemporaryDirectory() as out:
        require_same_place(moved(patients["liver-target"], grid), Path(out), shuffled=shuffled)


@settings(max_examples=12, derandomize=True)
@given(grid=grids(AXES))
def test_volumes_in_nifti(patients: dict[str, ClinicCase], grid: dict[str, list[float]]) -> None:
    with TemporaryDirectory() as out:
        require_same_place(moved(patients["whole-heart-mr"], grid), Path(out))
