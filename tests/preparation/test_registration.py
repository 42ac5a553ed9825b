"""MR onto CT: known transforms are found, and what got worse is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from real_data import real_data

from nnunet_ext.preparation import (
    Grid,
    PreparationError,
    Registration,
    jacobian_determinants,
    register,
    registration,
    remove_couch,
    resample_image,
    write_transform,
)
from nnunet_ext.preparation.similarity import Pair, mutual_information

CT_GRID = Grid((44, 40, 24), (3.0, 3.0, 4.0), (-66.0, -60.0, 100.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
_C, _S = np.cos(0.2), np.sin(0.2)
MR_GRID = Grid((40, 38, 26), (3.2, 3.1, 3.6), (-60.0, -66.0, 104.0), (1, 0, 0, 0, _C, -_S, 0, _S, _C))
MIDDLE = np.array([0.0, 0.0, 146.0])
AIR, FAT, MUSCLE, BONE, TUMOR = range(5)
HU = np.array([-1000.0, -100.0, 50.0, 600.0, 30.0])
T1 = np.array([5.0, 900.0, 300.0, 20.0, 420.0])


def tissue(points: NDArray[np.float64]) -> NDArray[np.int_]:
    """What lies at world points: fat, muscle, a bone off the axis and a tumor."""
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    found = np.full(x.shape, AIR)
    bent = y + 0.15 * z
    found[(x / 50) ** 2 + (bent / 42) ** 2 + (z / 46) ** 2 < 1] = FAT
    found[(x / 40) ** 2 + (bent / 33) ** 2 + (z / 37) ** 2 < 1] = MUSCLE
    found[((x - 10) / 12) ** 2 + ((bent + 9) / 10) ** 2 + ((z + 6) / 25) ** 2 < 1] = BONE
    found[((x + 18) / 11) ** 2 + ((y - 9) / 9) ** 2 + ((z - 8) / 14) ** 2 < 1] = TUMOR
    return found


def points_of(grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.size_vox[::-1]), indexing="ij"), axis=-1)
    return grid.world_mm(index[..., ::-1].astype(float))


def scan(grid: Grid, values: NDArray[np.float64], truth: sitk.Transform | None = None) -> sitk.Image:
    """An image whose point ``truth(p)`` shows what lies at ``p``."""
    points = points_of(grid)
    if truth is not None:
        back = truth.GetInverse()
        points = np.array([back.TransformPoint(p) for p in points.reshape(-1, 3).tolist()]).reshape(
            points.shape
        )
    noise = np.random.default_rng(5).normal(0, 10, points.shape[:-1])
    image = sitk.GetImageFromArray((values[tissue(points)] + noise).astype(np.float32))
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def rigid(
    *, angles: tuple[float, float, float], shift_mm: tuple[float, float, float]
) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(MIDDLE.tolist())
    transform.SetRotation(*angles)
    transform.SetTranslation(shift_mm)
    return transform


TRUTH = rigid(angles=(0.08, -0.06, 0.12), shift_mm=(9.0, -7.0, 8.0))
CT = scan(CT_GRID, HU)
MR = scan(MR_GRID, T1, TRUTH)
OPTIONS = {"working_spacing_mm": 3.0, "samples": 10_000}


def errors_mm(found: sitk.Transform, truth: sitk.Transform) -> NDArray[np.float64]:
    """Distances in the body between where points go and where they belong."""
    points = points_of(CT_GRID)
    inside = points[tissue(points) != AIR][::50].tolist()
    return (
        np.array([np.subtract(found.TransformPoint(p), truth.TransformPoint(p)) for p in inside])
        .__pow__(2)
        .sum(axis=1)
        ** 0.5
    )


@pytest.fixture(scope="module")
def found() -> Registration:
    return register(CT, MR, **OPTIONS)  # type: ignore[arg-type]


def test_a_known_rigid_transform_is_found(found: Registration) -> None:
    assert errors_mm(sitk.Transform(3, sitk.sitkIdentity), TRUTH).mean() > 13
    assert errors_mm(found.transform, TRUTH).max() < 1.5
    assert found.information_after > 1.2 * found.information_before
    assert found.displacement_mm == pytest.approx(15, abs=4)
    assert found.jacobian_range is None
    assert found.moved


def test_the_moved_image_lies_on_the_fixed_grid(found: Registration) -> None:
    assert Grid.of(found.image) == CT_GRID
    assert found.image.GetPixelID() == MR.GetPixelID()
    expected = T1[tissue(points_of(CT_GRID))]
    moved, covered = sitk.GetArrayFromImage(found.image), sitk.GetArrayFromImage(found.image) != 0
    assert covered.mean() > 0.5
    assert np.corrcoef(moved[covered], expected[covered])[0, 1] > 0.9
    unmoved = sitk.GetArrayFromImage(sitk.Resample(MR, CT))
    assert np.corrcoef(unmoved[covered], expected[covered])[0, 1] < 0.8


def test_two_runs_are_equal_whatever_the_threads(found: Registration) -> None:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    try:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1 if before > 1 else 2)
        again = register(CT, MR, **OPTIONS)  # type: ignore[arg-type]
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert again.transform.GetParameters() == found.transform.GetParameters()
    assert sitk.GetArrayFromImage(again.image).tobytes() == sitk.GetArrayFromImage(found.image).tobytes()
    same = replace(again, image=found.image, transform=found.transform)
    assert same == found


def test_frames_without_overlap_start_from_centers() -> None:
    far = sitk.Image(MR)
    far.SetOrigin((900.0, -700.0, 3000.0))
    result = register(CT, far, **OPTIONS)  # type: ignore[arg-type]
    assert result.start != "frames"
    shift = sitk.TranslationTransform(3, np.subtract(far.GetOrigin(), MR.GetOrigin()).tolist())
    assert errors_mm(result.transform, sitk.CompositeTransform([shift, TRUTH])).max() < 1.5


def test_a_worse_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    aligned = scan(MR_GRID, T1)
    worse = rigid(angles=(0, 0, 0), shift_mm=(6, 0, 0))
    monkeypatch.setattr(registration, "rigid_stage", lambda *_, **__: worse)
    with pytest.raises(PreparationError) as error:
        register(CT, aligned)
    assert error.value.code == "registration-worse"
    assert "scanners' frames" in error.value.reason
    kept = register(CT, aligned, keep_frames=True)
    assert not kept.moved
    assert kept.information_after == kept.information_before
    assert kept.transform.TransformPoint((1.0, 2.0, 3.0)) == (1.0, 2.0, 3.0)
    unmoved = resample_image(aligned, grid=CT_GRID, background=0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(kept.image), sitk.GetArrayFromImage(unmoved))


def test_no_better_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "rigid_stage", lambda *_, **__: sitk.Euler3DTransform())
    with pytest.raises(PreparationError, match="registration-worse"):
        register(CT, scan(MR_GRID, T1))


def test_an_image_that_was_carried_away_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    away = rigid(angles=(0, 0, 0), shift_mm=(100, 0, 0))
    monkeypatch.setattr(registration, "rigid_stage", lambda *_, **__: away)
    with pytest.raises(PreparationError, match=r"no-overlap: .* at least 25%.* got \d+\.\d%"):
        register(CT, MR)


def test_errors_of_itk_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise RuntimeError("/tmp/itkMattes.hxx: All samples map outside moving image buffer")

    monkeypatch.setattr(registration, "rigid_stage", lost)
    with pytest.raises(PreparationError, match="registration-failed") as error:
        register(CT, MR)
    assert "/tmp" not in str(error.value)


def folding_spline() -> sitk.Transform:
    spline = sitk.BSplineTransformInitializer(CT, [4, 4, 4], order=3)
    spline.SetParameters(np.random.default_rng(0).normal(0, 40, len(spline.GetParameters())).tolist())
    return spline


def test_folding_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "rigid_stage", lambda *_, **__: TRUTH)
    monkeypatch.setattr(registration, "elastic_stage", lambda *_, **__: folding_spline())
    with pytest.raises(PreparationError, match=r"folding: .* determinants > 0 .* got -\d"):
        register(CT, MR, elastic=True)


def test_an_elastic_stage_that_makes_it_worse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Better than the frames, but worse than the rigid transform that it started from."""
    worse = rigid(angles=(0.08, -0.06, 0.12), shift_mm=(5.0, -7.0, 8.0))
    monkeypatch.setattr(registration, "rigid_stage", lambda *_, **__: TRUTH)
    monkeypatch.setattr(registration, "elastic_stage", lambda *_, **__: worse)
    with pytest.raises(PreparationError, match=r"registration-worse: .* the rigid transform"):
        register(CT, MR, elastic=True)


def test_a_bent_limb_is_followed(tmp_path: Path) -> None:
    bend = sitk.BSplineTransformInitializer(CT, [2, 2, 2], order=3)
    bend.SetParameters(np.random.default_rng(4).normal(0, 8, len(bend.GetParameters())).tolist())
    # The MR shows at p what the CT shows at bend(p): the transform sought is the inverse of bend.
    points = points_of(MR_GRID)
    bent = np.array([bend.TransformPoint(p) for p in points.reshape(-1, 3).tolist()]).reshape(points.shape)
    mr = sitk.GetImageFromArray(T1[tissue(bent)].astype(np.float32))
    mr.SetSpacing(MR_GRID.spacing_mm)
    mr.SetOrigin(MR_GRID.origin_mm)
    mr.SetDirection(MR_GRID.direction)
    straight = register(CT, mr, **OPTIONS)  # type: ignore[arg-type]
    elastic = register(CT, mr, elastic=True, **OPTIONS)  # type: ignore[arg-type]
    assert elastic.information_after > straight.information_after
    low, high = elastic.jacobian_range or (0, 0)
    assert 0 < low < 1 < high

    def there_and_back(transform: sitk.Transform) -> float:
        inside = points_of(CT_GRID)[4:-4, 8:-8, 8:-8].reshape(-1, 3)
        inside = inside[tissue(inside) != AIR][::40]
        back = [bend.TransformPoint(transform.TransformPoint(p)) for p in inside.tolist()]
        return float(np.linalg.norm(np.array(back) - inside, axis=1).mean())

    assert there_and_back(elastic.transform) < 0.85 * there_and_back(straight.transform)
    write_transform(elastic.transform, tmp_path / "T1w.tfm")
    again = sitk.ReadTransform(str(tmp_path / "T1w.tfm"))
    for point in ((0.0, 0.0, 140.0), (20.0, -10.0, 160.0)):
        np.testing.assert_allclose(
            again.TransformPoint(point), elastic.transform.TransformPoint(point), atol=1e-6
        )


def test_transform_files_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"ends in \.tfm"):
        write_transform(TRUTH, tmp_path / "T1w.txt")

    def full(_: object, name: str) -> None:
        Path(name).write_text("half")
        raise RuntimeError("no space left")

    monkeypatch.setattr(sitk, "WriteTransform", full)
    with pytest.raises(OSError, match="no space left"):
        write_transform(TRUTH, tmp_path / "T1w.tfm")
    assert not list(tmp_path.iterdir())


def test_masks_have_to_lie_on_their_image() -> None:
    with pytest.raises(PreparationError, match="grids-differ: expected the fixed mask"):
        register(CT, MR, fixed_mask=sitk.Image(4, 4, 4, sitk.sitkUInt8))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"seed": 0}, "seed must be"), ({"min_overlap": 0}, "min_overlap"), ({"samples": 10}, "samples")],
)
def test_parameters_outside_their_range(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register(CT, MR, **wrong)  # type: ignore[arg-type]


def test_mutual_information_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 4, 100_000)
    assert mutual_information(a, a, bins=4) == pytest.approx(np.log(4), abs=1e-3)
    assert mutual_information(a, 3 - a, bins=4) == pytest.approx(np.log(4), abs=1e-3)
    assert mutual_information(a, rng.integers(0, 4, 100_000), bins=4) == pytest.approx(0, abs=1e-3)
    assert mutual_information(a, a // 2, bins=4) == pytest.approx(np.log(2), abs=1e-3)
    assert mutual_information(a[:0], a[:0]) == 0


def test_overlap_in_closed_form() -> None:
    fixed = sitk.Image(20, 10, 10, sitk.sitkFloat32)
    moving = sitk.Image(10, 10, 10, sitk.sitkFloat32)
    pair = Pair(fixed, moving, fixed_mask=None, moving_mask=None)
    for shift, overlap in ((0, 1), (-5, 0.5), (-10, 0), (15, 0.5)):
        # A transform maps points of the fixed image: moving voxels appear shifted by the opposite.
        placed = pair.placed(sitk.TranslationTransform(3, (-float(shift), 0.0, 0.0)))
        assert pair.overlap(placed) == pytest.approx(overlap)


@pytest.mark.parametrize("direction", [CT_GRID.direction, MR_GRID.direction, (0, 1, 0, 0, 0, 1, 1, 0, 0)])
def test_jacobians_in_closed_form(direction: tuple[float, ...]) -> None:
    """Also at the edges, and whatever the direction of the grid."""
    grid = Grid((5, 4, 3), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0), direction)
    matrix = [1.5, 0.2, 0, -0.1, 0.8, 0.3, 0.4, 0, 1.1]
    affine = sitk.AffineTransform(matrix, (3.0, 2.0, 1.0))
    expected = np.linalg.det(np.reshape(matrix, (3, 3)))
    np.testing.assert_allclose(jacobian_determinants(affine, grid), expected, rtol=1e-5)
    mirrored = sitk.ScaleTransform(3, (-1.0, 1.0, 1.0))
    np.testing.assert_allclose(jacobian_determinants(mirrored, grid), -1, rtol=1e-5)


@pytest.mark.parametrize("patient", ["STS_008", "STS_025"])
def test_real_patients_end_up_better_aligned(patient: str) -> None:
    """One poorly aligned, and one whose cropped MR ITK's default gradients carry off by centimeters."""
    folder = real_data("sts_sarcoma") / patient
    ct, mr = (sitk.ReadImage(str(folder / name)) for name in ("CT_image.nii.gz", "MR_T1_image.nii.gz"))
    result = register(ct, mr, fixed_mask=remove_couch(ct).mask, samples=10_000)
    assert result.information_after > 1.1 * result.information_before
    assert result.overlap > 0.85
    assert result.displacement_mm < 12
