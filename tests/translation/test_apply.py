"""Synthetic CT: geometry, labels, HU, and images that are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn
from translation_home import MR, TranslationHome, small, write_array, write_case, write_home
from translation_runs import train_small

from nnunet_ext.clinical_io import CaseError
from nnunet_ext.translation import dataset as dataset_module
from nnunet_ext.translation.apply import CaseTranslator
from nnunet_ext.translation.dataset import Method, translate_dataset
from nnunet_ext.translation.domains import Window
from nnunet_ext.translation.folder import WARNING, TranslationModel, load_model
from nnunet_ext.translation.intensities import percentile_range, to_hu
from nnunet_ext.translation.plausibility import plausibility
from nnunet_ext.translation.target import TargetStatistics


@pytest.fixture(scope="module")
def model_folder(home: TranslationHome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train_small(home, folder, small(steps=1))
    return folder


@pytest.fixture
def model(model_folder: Path) -> TranslationModel:
    """A generator that changes nothing: what comes out is the MR in HU."""
    return replace(load_model(model_folder), generator=nn.Identity())


def method_of(model: TranslationModel, **options: Any) -> Method:
    return Method(CaseTranslator(model, **options), {"model": "identity"}, model.target)


def files_of(raw: Path, case: str = "mr_0", ending: str = ".nii.gz") -> list[Path]:
    return [raw / "imagesTr" / f"{case}_0000{ending}"]


def expected_hu(array: np.ndarray, window: Window) -> np.ndarray:
    unit = percentile_range(array, (0.5, 99.5)).to_unit(array)
    return to_hu(unit, window)


def test_an_identity_gives_the_image_in_hu(home: TranslationHome, model: TranslationModel) -> None:
    """Nothing is resampled here, so the way there and back must be exact: no shift, no turn."""
    (file,) = files_of(home.raw / MR)
    original = sitk.ReadImage(str(file))
    done = CaseTranslator(model)([file])
    assert done.image.GetPixelID() == sitk.sitkInt16
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(done.image, get)() == getattr(original, get)()
    hu = sitk.GetArrayFromImage(done.image)
    wanted = expected_hu(sitk.GetArrayFromImage(original), model.window)
    assert np.abs(hu.astype(int) - wanted).max() <= 1
    assert done.tiles > 1


@pytest.mark.parametrize("transpose", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_transposed_plans_bring_the_image_back(
    tmp_path: Path, transpose: tuple[int, ...], ending: str
) -> None:
    home = write_home(tmp_path / "home", cases=1, size=(20, 24, 28), transpose=transpose, file_ending=ending)
    # The plans' spacing is (2, 1, 1) along their own axes: along others the image is resampled.
    train_small(home, tmp_path / "model", small(steps=1))
    model = replace(load_model(tmp_path / "model"), generator=nn.Identity())
    (file,) = files_of(home.raw / MR, ending=ending)
    hu = sitk.GetArrayFromImage(CaseTranslator(model)([file]).image).astype(float)
    image = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    assert hu.shape == image.shape
    assert np.corrcoef(hu.ravel(), image.ravel())[0, 1] > 0.93
    for axis in range(3):
        shifted = np.roll(image, 2, axis)
        assert np.corrcoef(hu.ravel(), shifted.ravel())[0, 1] < np.corrcoef(hu.ravel(), image.ravel())[0, 1]


def test_a_tilted_image_keeps_its_geometry(tmp_path: Path, model: TranslationModel) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(500, 90, (20, 24, 28)).astype(np.float32))
    image.SetSpacing((1, 1, 2))
    image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "a_0000.nii.gz"))
    done = CaseTranslator(model)([tmp_path / "a_0000.nii.gz"]).image
    assert done.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
    assert done.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-6)


def test_what_nnunet_crops_away_is_air(tmp_path: Path, model: TranslationModel) -> None:
    array = np.zeros((24, 30, 34), np.float32)
    array[3:20, 4:26, 5:30] = np.random.default_rng(1).normal(500, 90, (17, 22, 25))
    write_array(array, tmp_path / "a_0000.nii.gz", spacing_mm=(2, 1, 1))
    hu = sitk.GetArrayFromImage(CaseTranslator(model)([tmp_path / "a_0000.nii.gz"]).image)
    outside = array == 0
    assert (hu[outside] == -1000).all()
    assert hu[~outside].mean() > -300


def test_volumes_smaller_than_a_patch(tmp_path: Path, model: TranslationModel) -> None:
    array = np.random.default_rng(1).normal(500, 90, (3, 9, 30)).astype(np.float32)
    write_array(array, tmp_path / "a_0000.nii.gz", spacing_mm=(2, 1, 1))
    hu = sitk.GetArrayFromImage(CaseTranslator(model)([tmp_path / "a_0000.nii.gz"]).image)
    assert np.abs(hu.astype(int) - expected_hu(array, model.window)).max() <= 1


def test_padding_is_air_for_the_network(tmp_path: Path, model: TranslationModel) -> None:
    seen: list[torch.Tensor] = []

    class Spy(nn.Module):
        def forward(self, tile: torch.Tensor) -> torch.Tensor:
            seen.append(tile.clone())
            return tile

    array = np.random.default_rng(1).normal(500, 90, (4, 16, 20)).astype(np.float32)
    write_array(array, tmp_path / "a_0000.nii.gz", spacing_mm=(2, 1, 1))
    CaseTranslator(replace(model, generator=Spy()))([tmp_path / "a_0000.nii.gz"])
    (tile,) = seen
    assert tile.shape == (1, 1, 16, 16, 20)
    assert (tile[:, :, :6] == -1).all()
    assert (tile[:, :, 6:10] > -1).float().mean() > 0.9


@pytest.mark.parametrize(
    ("spacing_mm", "accepted"), [((2.9, 1.4, 0.7), True), ((3.1, 1, 1), False), ((2, 1, 0.6), False)]
)
def test_voxels_unlike_those_of_the_training_are_refused(
    tmp_path: Path, model: TranslationModel, spacing_mm: tuple[float, ...], accepted: bool
) -> None:
    write_case(tmp_path, "a", modality="MR", seed=5, spacing_mm=spacing_mm)
    files = files_of(tmp_path, "a")
    if accepted:
        CaseTranslator(model)(files)
        return
    with pytest.raises(CaseError, match=r"expected voxels from \[2.0, 1.0, 1.0\]"):
        CaseTranslator(model)(files)
    CaseTranslator(model, any_spacing=True)(files)


@pytest.mark.parametrize(
    ("value", "code"), [(np.nan, "not-finite"), (np.inf, "not-finite"), (None, "empty-image")]
)
def test_images_that_show_nothing_are_refused(
    tmp_path: Path, model: TranslationModel, value: float | None, code: str
) -> None:
    array = np.random.default_rng(1).normal(500, 90, (20, 24, 28)).astype(np.float32)
    array[4, 5, 6] = 0 if value is None else value
    array = np.full_like(array, 7) if value is None else array
    write_array(array, tmp_path / "a_0000.nii.gz", spacing_mm=(2, 1, 1))
    with pytest.raises(CaseError) as caught:
        CaseTranslator(model)([tmp_path / "a_0000.nii.gz"])
    assert caught.value.code == code


def test_labels_are_copied_byte_by_byte_and_synthetic_cases_recorded(
    home: TranslationHome, tmp_path: Path, model: TranslationModel
) -> None:
    outcome = translate_dataset(home.raw / MR, tmp_path / "Dataset043_S", method_of(model), progress=False)
    assert outcome.written == ("mr_0", "mr_1", "mr_2")
    assert not outcome.refused
    for case in outcome.written:
        ours = tmp_path / "Dataset043_S" / "labelsTr" / f"{case}.nii.gz"
        assert ours.read_bytes() == (home.raw / MR / "labelsTr" / f"{case}.nii.gz").read_bytes()
    description = json.loads((tmp_path / "Dataset043_S" / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT"}
    assert description["synthetic_cases"] == ["mr_0", "mr_1", "mr_2"]
    assert description["labels"] == json.loads((home.raw / MR / "dataset.json").read_text())["labels"]
    assert description["translation"]["warning"] == WARNING
    report = json.loads((tmp_path / "Dataset043_S" / "translation_report.json").read_text())
    assert report["warning"] == WARNING
    # An MR in HU: its shell is too bright, its core too dark.
    assert report["cases"]["mr_0"]["implausible"] == ["shell", "core"]
    assert outcome.implausible == outcome.written
    assert sorted(p.name for p in (tmp_path / "Dataset043_S").iterdir()) == [
        "dataset.json",
        "imagesTr",
        "labelsTr",
        "translation_report.json",
    ]


def test_one_bad_case_fails_alone(own_home: TranslationHome, tmp_path: Path, model: TranslationModel) -> None:
    raw = own_home.raw / MR
    (raw / "labelsTr" / "mr_0.nii.gz").unlink()
    (raw / "imagesTr" / "mr_1_0000.nii.gz").write_bytes(b"cut off")
    outcome = translate_dataset(raw, tmp_path / "Dataset043_S", method_of(model), progress=False)
    assert outcome.written == ("mr_2",)
    assert "a label, got 1" in outcome.refused["mr_0"]
    assert "mr_1" in outcome.refused
    shutil.copy(raw / "imagesTr" / "mr_2_0000.nii.gz", raw / "imagesTr" / "mr_1_0000.nii.gz")
    write_array(np.zeros((20, 24, 27), np.uint8), raw / "labelsTr" / "mr_1.nii.gz", spacing_mm=(2, 1, 1))
    outcome = translate_dataset(raw, tmp_path / "Dataset043_S", method_of(model), progress=False)
    assert "the label" in outcome.refused["mr_1"]
    assert not (tmp_path / "Dataset043_S" / "imagesTr" / "mr_1_0000.nii.gz").exists()


def test_an_interrupted_run_goes_on(
    own_home: TranslationHome, tmp_path: Path, model: TranslationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, target = own_home.raw / MR, tmp_path / "Dataset043_S"
    written = dataset_module._write_case
    asked: list[str] = []

    def spied(dataset: Path, name: str, *rest: Any) -> Any:
        asked.append(name)
        if name == "mr_1" and len(asked) == 2:
            raise KeyboardInterrupt
        return written(dataset, name, *rest)

    monkeypatch.setattr(dataset_module, "_write_case", spied)
    with pytest.raises(KeyboardInterrupt):
        translate_dataset(raw, target, method_of(model), progress=False)
    assert not (target / "dataset.json").exists()
    translate_dataset(raw, target, method_of(model), progress=False)
    assert asked == ["mr_0", "mr_1", "mr_1", "mr_2"]
    write_case(raw, "mr_2", modality="MR", seed=77)  # another image
    (target / "labelsTr" / "mr_0.nii.gz").write_bytes(b"changed")
    translate_dataset(raw, target, method_of(model), progress=False)
    assert asked[4:] == ["mr_0", "mr_2"]
    other = Method(CaseTranslator(model), {"model": "another"}, model.target)
    with pytest.raises(ValueError, match="another model or with other settings"):
        translate_dataset(raw, target, other, progress=False)


def test_a_folder_with_another_dataset_is_refused(home: TranslationHome, model: TranslationModel) -> None:
    with pytest.raises(ValueError, match="holds another dataset"):
        translate_dataset(home.raw / MR, home.raw / "Dataset042_CT", method_of(model), progress=False)


def test_a_model_is_read_back_as_it_was(home: TranslationHome, model_folder: Path) -> None:
    model = load_model(model_folder)
    assert model.window == Window(-1000.0, 1000.0)
    assert model.is_complete
    files = files_of(home.raw / MR)
    first, second = (CaseTranslator(load_model(model_folder))(files).image for _ in range(2))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))
    hu = sitk.GetArrayFromImage(first)
    assert hu.min() >= -1000
    assert hu.max() <= 1000


def test_an_anchored_model_is_read_back_with_its_table(home: TranslationHome, tmp_path: Path) -> None:
    train_small(home, tmp_path, small(steps=1, anchored=True))
    hu = sitk.GetArrayFromImage(CaseTranslator(load_model(tmp_path))(files_of(home.raw / MR)).image)
    mr = sitk.GetArrayFromImage(sitk.ReadImage(str(files_of(home.raw / MR)[0])))
    assert np.median(hu[mr < 60]) < -850
    assert -200 < np.median(hu[mr > 240]) < 250


def test_a_tile_of_air_alone_is_air(model: TranslationModel) -> None:
    """Instance normalization would make of a flat tile what it likes."""
    tile = torch.zeros(1, 1, 16, 16, 20)
    translator = CaseTranslator(model)
    assert bool((translator._forward(tile) == -1).all())
    tile[..., 0] = 1
    assert not bool((translator._forward(tile) == -1).all())


def test_a_model_of_another_format_is_named(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(model_folder, folder)
    record = json.loads((folder / "translation.json").read_text())
    (folder / "translation.json").write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(ValueError, match=r"expected format 2 in .*, got 1: use the nnunet_ext that wrote it"):
        load_model(folder)


@pytest.mark.parametrize("name", ["generator.safetensors", "translation.json", "target_statistics.json"])
def test_models_with_missing_or_damaged_files_are_named(
    tmp_path: Path, model_folder: Path, name: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(model_folder, folder)
    (folder / name).write_bytes(b"{}")
    with pytest.raises(ValueError, match="no translation that can be read"):
        load_model(folder)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"there is no {name}"):
        load_model(folder)


def test_a_label_that_no_real_ct_has_is_neither_possible_nor_not() -> None:
    real = TargetStatistics((-1000.0, 0.0, 1000.0), (0.5, 0.5), {})
    hu = np.array([-1000.0, -500.0, 500.0, 600.0])
    found = plausibility(hu, np.array([0, 0, 1, 1]), names={1: "heart", 2: "absent"}, target=real)
    assert found["labels"] == {"heart": {"mean_hu": 550.0, "possible": None}}
    assert found["implausible"] == []
    assert found["hu_distance"] == 500.0
