from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nnunet_ext.phantoms import dataset as dataset_module
from nnunet_ext.phantoms.ct import Tissue
from nnunet_ext.phantoms.liver_target import make_liver_target, write_liver_target_dataset
from nnunet_ext.phantoms.phantom import Phantom

SIZE = (24, 96, 96)
SPACING = (8.0, 4.0, 4.0)  # 192 x 384 x 384 mm, a whole trunk
SMALL = (12, 24, 24)
SMALL_SPACING = (16.0, 16.0, 16.0)
SEEDS = range(12)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [make_liver_target(seed=seed, size_vox=SIZE, spacing_mm=SPACING) for seed in SEEDS]


def write(out: Path, *, seed: int = 3, cases: int = 2, test_cases: int = 1) -> Path:
    return write_liver_target_dataset(
        out=out,
        cases=cases,
        test_cases=test_cases,
        seed=seed,
        size_vox=SMALL,
        spacing_mm=SMALL_SPACING,
        progress=False,
    )


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def test_same_seed_gives_the_same_patient(phantoms: list[Phantom]) -> None:
    again = make_liver_target(seed=5, size_vox=SIZE, spacing_mm=SPACING)
    assert again.image.tobytes() == phantoms[5].image.tobytes()
    assert again.label.tobytes() == phantoms[5].label.tobytes()


def test_seeds_vary_place_size_shape_and_anatomy(phantoms: list[Phantom]) -> None:
    targets = [p.label > 0 for p in phantoms]
    centers = np.array([np.argwhere(t).mean(axis=0) / SIZE for t in targets])
    volumes = np.array([t.sum() for t in targets])
    livers = np.array([(p.tissue == Tissue.LIVER).sum() for p in phantoms])
    assert (centers.std(axis=0) > 0.03).all()
    assert volumes.max() > 2 * volumes.min()
    assert livers.max() > 1.15 * livers.min()
    overlaps = [dice(a, b) for i, a in enumerate(targets) for b in targets[:i]]
    assert np.mean(overlaps) < 0.3


def test_target_is_no_ellipsoid(phantoms: list[Phantom]) -> None:
    """A solid ellipsoid of the same second moments fills its voxels; a lobulated body leaves some out."""
    overlaps = []
    for phantom in phantoms:
        points = np.argwhere(phantom.label > 0)
        center, covariance = points.mean(axis=0), np.cov(points.T)
        offsets = np.argwhere(np.ones(SIZE, bool)) - center
        # A solid ellipsoid has second moments of radius^2 / 5.
        inside = np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(covariance), offsets) < 5
        overlaps.append(dice(inside.reshape(SIZE), phantom.label > 0))
    assert np.mean(overlaps) < 0.93


def test_every_tissue_appears(phantoms: list[Phantom]) -> None:
    present = set(np.unique(np.stack([p.tissue for p in phantoms])))
    assert present == {int(t) for t in Tissue}


def test_label_is_one_connected_target_surrounded_by_liver(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        target = phantom.label > 0
        assert set(np.unique(phantom.label)) == {0, 1}
        components, _ = ndimage.label(target, structure=np.ones((3, 3, 3)))
        assert np.bincount(components.ravel())[1:].max() > 0.9 * target.sum()
        rim = ndimage.binary_dilation(target) & ~target
        assert np.isin(phantom.tissue[rim], [Tissue.LIVER, Tissue.LIVER_VESSEL]).mean() > 0.4


def test_liver_lies_on_the_right_and_couch_behind(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        liver = np.argwhere(phantom.tissue == Tissue.LIVER).mean(axis=0)
        spleen = np.argwhere(phantom.tissue == Tissue.SPLEEN).mean(axis=0)
        bone = np.argwhere(phantom.tissue == Tissue.BONE).mean(axis=0)
        couch = np.argwhere(phantom.tissue == Tissue.COUCH).mean(axis=0)
        assert liver[2] < SIZE[2] / 2 < spleen[2]
        assert liver[1] < bone[1] < couch[1]


@pytest.mark.parametrize(
    ("tissue", "lowest", "highest"),
    [
        (Tissue.AIR, -1005, -950),
        (Tissue.FAT, -115, -50),
        (Tissue.MUSCLE, 40, 90),
        (Tissue.LUNG, -880, -700),
        (Tissue.LIVER, 90, 116),
        (Tissue.SPLEEN, 95, 125),
        (Tissue.KIDNEY, 100, 185),
        (Tissue.BONE, 180, 700),
        (Tissue.TARGET, 40, 85),
    ],
)
def test_mean_attenuation(phantoms: list[Phantom], tissue: Tissue, lowest: float, highest: float) -> None:
    for phantom in phantoms:
        if (phantom.tissue == tissue).sum() > 100:
            assert lowest < phantom.image[phantom.tissue == tissue].mean() < highest


def test_noise_is_that_of_a_ct() -> None:
    phantom = make_liver_target(seed=0, size_vox=(20, 192, 192), spacing_mm=(3, 1, 1))
    spleen = ndimage.binary_erosion(phantom.tissue == Tissue.SPLEEN, iterations=3)
    values = np.where(spleen, phantom.image, 0).astype(float)
    assert 8 < phantom.image[spleen].std() < 18
    # Neighbors in plane are a little alike.
    pairs = spleen[..., 1:] & spleen[..., :-1]
    assert 0.1 < np.corrcoef(values[..., 1:][pairs], values[..., :-1][pairs])[0, 1] < 0.8
    assert phantom.image.min() >= -1024


def test_lesion_is_visible_on_average_but_low_in_contrast(phantoms: list[Phantom]) -> None:
    paper_grid = make_liver_target(seed=1, size_vox=(32, 128, 128), spacing_mm=(3, 1, 1))
    for phantom in [*phantoms, paper_grid]:
        liver = phantom.image[phantom.tissue == Tissue.LIVER].mean()
        assert 25 <= liver - phantom.image[phantom.label > 0].mean() <= 50


def test_no_threshold_finds_the_target(phantoms: list[Phantom]) -> None:
    """The best window of all, chosen with the answer in hand and after smoothing, misses the target."""
    best = []
    for phantom in phantoms:
        smooth = ndimage.gaussian_filter(phantom.image.astype(np.float32), (0.5, 1, 1))
        target = phantom.label > 0
        windows = [(low, high) for low in range(20, 100, 8) for high in range(low + 8, 130, 8)]
        best.append(max(dice((smooth > low) & (smooth < high), target) for low, high in windows))
    assert np.mean(best) < 0.3
    assert max(best) < 0.5


def test_one_seed_is_one_patient_at_every_grid() -> None:
    coarse = make_liver_target(seed=2, size_vox=(16, 48, 48), spacing_mm=(12, 8, 8))
    fine = make_liver_target(seed=2, size_vox=(48, 144, 144), spacing_mm=(4, 8 / 3, 8 / 3))
    seen = fine.label[1::3, 1::3, 1::3] > 0
    assert dice(seen, coarse.label > 0) > 0.85


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(12, 33), st.integers(12, 41), st.integers(12, 41)),
)
def test_small_and_odd_sizes_hold_a_target(seed: int, size: tuple[int, int, int]) -> None:
    phantom = make_liver_target(seed=seed, size_vox=size, spacing_mm=SMALL_SPACING)
    assert phantom.image.shape == phantom.label.shape == phantom.tissue.shape == size
    assert phantom.image.dtype == np.int16
    assert phantom.label.dtype == np.uint8
    assert 0 < phantom.label.sum() < 0.1 * phantom.label.size


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be a whole number >= 0, got -1"),
        ({"seed": 0.5}, TypeError, "float"),
        ({"size_vox": (11, 32, 32)}, ValueError, r"each >= 12, got \(11, 32, 32\)"),
        ({"size_vox": (32, 32)}, ValueError, "three whole numbers"),
        ({"size_vox": (32, 32, 32.5)}, TypeError, "float"),
        ({"spacing_mm": (3, 1)}, ValueError, "three numbers"),
        ({"spacing_mm": (3, 1, 0)}, ValueError, r"> 0, got \(3, 1, 0\)"),
        ({"spacing_mm": (3, 1, float("nan"))}, ValueError, "nan"),
    ],
)
def test_bad_geometry_is_refused(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    good: dict[str, object] = {"seed": 0, "size_vox": SMALL, "spacing_mm": SMALL_SPACING}
    with pytest.raises(error, match=message):
        make_liver_target(**{**good, **arguments})  # type: ignore[arg-type]


def test_dataset_is_what_nnunet_reads(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert folder == tmp_path / "Dataset004_LiverTargetPhantom"
    assert sorted(digests(folder)) == [
        "dataset.json",
        "imagesTr/liver_000_0000.nii.gz",
        "imagesTr/liver_001_0000.nii.gz",
        "imagesTs/liver_unseen_000_0000.nii.gz",
        "labelsTr/liver_000.nii.gz",
        "labelsTr/liver_001.nii.gz",
        "labelsTs/liver_unseen_000.nii.gz",
    ]
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT"}
    assert description["labels"] == {"background": 0, "target": 1}
    assert description["numTraining"] == 2
    assert description["file_ending"] == ".nii.gz"
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_geometry_in_the_files(tmp_path: Path) -> None:
    folder = write_liver_target_dataset(
        out=tmp_path, cases=1, seed=0, size_vox=(12, 16, 20), spacing_mm=(3, 1.5, 1), progress=False
    )
    for path in (folder / "imagesTr/liver_000_0000.nii.gz", folder / "labelsTr/liver_000.nii.gz"):
        image = SimpleITK.ReadImage(str(path))
        assert image.GetSize() == (20, 16, 12)
        assert image.GetSpacing() == (1.0, 1.5, 3.0)
        assert image.GetOrigin() == (0, 0, 0)
        assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_file_holds_the_phantom(tmp_path: Path) -> None:
    folder = write(tmp_path)
    case_seed = int(np.random.SeedSequence((3, 0, 1)).generate_state(1)[0])
    expected = make_liver_target(seed=case_seed, size_vox=SMALL, spacing_mm=SMALL_SPACING)
    image = SimpleITK.ReadImage(str(folder / "imagesTr/liver_001_0000.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), expected.image)


def test_writing_again_leaves_equal_bytes(tmp_path: Path) -> None:
    folder = write(tmp_path)
    before = digests(folder)
    write(tmp_path)
    assert digests(folder) == before


def test_more_training_cases_keep_the_others(tmp_path: Path) -> None:
    few, many = digests(write(tmp_path / "a", cases=1)), digests(write(tmp_path / "b", cases=3))
    assert all(many[name] == few[name] for name in few if name != "dataset.json")
    assert len(set(many.values())) == len(many)


@pytest.mark.parametrize("change", [{"seed": 4}, {"cases": 3}, {"test_cases": 0}])
def test_another_dataset_in_the_folder_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    folder = write(tmp_path)
    before = digests(folder)
    with pytest.raises(ValueError, match="holds another dataset"):
        write(tmp_path, **change)
    assert digests(folder) == before


def test_strange_files_in_the_folder_are_refused(tmp_path: Path) -> None:
    stranger = tmp_path / "Dataset004_LiverTargetPhantom" / "imagesTr" / "patient_0000.nii.gz"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"real data")
    with pytest.raises(ValueError, match=r"1 files .* such as imagesTr/patient_0000.nii.gz"):
        write(tmp_path)
    assert stranger.read_bytes() == b"real data"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cases": 0}, "cases must be"),
        ({"test_cases": -1}, "test_cases must be"),
        ({"seed": -3}, "seed must be"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_interrupted_write_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer dies in the middle of the third file."""
    original, written = SimpleITK.WriteImage, []

    def dying(image: SimpleITK.Image, name: str, **keywords: object) -> None:
        written.append(name)
        if len(written) == 3:
            Path(name).write_bytes(b"half")
            raise KeyboardInterrupt
        original(image, name, **keywords)

    monkeypatch.setattr(SimpleITK, "WriteImage", dying)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path)
    folder = tmp_path / "Dataset004_LiverTargetPhantom"
    assert sorted(digests(folder)) == ["imagesTr/liver_000_0000.nii.gz", "labelsTr/liver_000.nii.gz"]
    monkeypatch.undo()
    assert digests(write(tmp_path)) == digests(write(tmp_path / "undisturbed"))


def test_failed_write_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr(SimpleITK, "WriteImage", full)
    with pytest.raises(OSError, match=r"could not write .*a\.nii\.gz: no space left"):
        dataset_module.write_volume(
            np.zeros((2, 2, 2), np.uint8), path=tmp_path / "images" / "a.nii.gz", spacing_mm=(1.0, 1.0, 1.0)
        )
