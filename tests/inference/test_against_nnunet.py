"""The whole way, from image files to label maps, beside nnU-Net's own predictor on the same model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from float_sums import sum_in_float32
from nnunetv2.ensembling.ensemble import merge_files
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from tiny_models import CUBIC, NONE, TORCH, Tiny, write_case

from nnunet_ext.inference.cases import find_cases
from nnunet_ext.inference.model import load_model
from nnunet_ext.inference.predictor import Settings, SlidingWindowPredictor
from nnunet_ext.inference.run import predict_cases


@dataclass(frozen=True)
class Job:
    """A model and an image."""

    model: Tiny
    shape: tuple[int, int, int] = (14, 30, 26)
    spacing_mm: tuple[float, float, float] = (2.0, 0.8, 1.3)
    air: int = 0
    step_size: float = 0.5


JOBS = {
    "volume": Job(Tiny()),
    "finer and larger": Job(Tiny(), shape=(24, 50, 40), spacing_mm=(1.1, 0.8, 0.9), step_size=0.7),
    "slices": Job(Tiny(patch_size=(16, 16), spacing_mm=(1.0, 1.0)), spacing_mm=(3.0, 0.7, 0.8)),
    "slices transposed": Job(Tiny(patch_size=(16, 16), spacing_mm=(1.0, 1.0), transpose=(2, 1, 0))),
    "anisotropic": Job(Tiny(spacing_mm=(5.0, 1.0, 1.0)), spacing_mm=(4.0, 0.8, 1.3)),
    "transposed": Job(Tiny(transpose=(1, 0, 2), spacing_mm=(1.0, 2.0, 1.0))),
    "rotated axes": Job(Tiny(transpose=(1, 2, 0), spacing_mm=(1.0, 1.0, 2.0))),
    "regions": Job(Tiny(transpose=(2, 1, 0), spacing_mm=(1.0, 1.0, 2.0), labels="regions")),
    "ignore label": Job(Tiny(labels="ignore")),
    "regions, ignore label": Job(Tiny(labels="regions_ignore")),
    "folds and mirroring": Job(Tiny(folds=(0, 1), mirroring=(0, 1, 2))),
    "two channels in air": Job(Tiny(channels=2), air=24),
    "smaller than a patch": Job(Tiny(), shape=(5, 40, 11)),
    "torch, anisotropic": Job(Tiny(spacing_mm=(5.0, 1.0, 1.0), probabilities=TORCH)),
    "torch": Job(Tiny(probabilities=TORCH)),
    "no resampling": Job(Tiny(probabilities=NONE)),
    "cubic, whole volume": Job(Tiny(probabilities=CUBIC)),
}


@dataclass(frozen=True)
class Results:
    stock: Path
    ours: Path
    report: Any


def both(job: Job, folder: Path, model: Path) -> Results:
    """The same image by nnU-Net and by us."""
    write_case(
        folder / "in",
        "a",
        shape=job.shape,
        spacing_mm=job.spacing_mm,
        channels=job.model.channels,
        air=job.air,
    )
    stock = nnUNetPredictor(
        tile_step_size=job.step_size, device=torch.device("cpu"), allow_tqdm=False, use_mirroring=True
    )
    stock.initialize_from_trained_model_folder(str(model), None)
    (folder / "stock").mkdir()
    stock.predict_from_files_sequential(str(folder / "in"), str(folder / "stock"), save_probabilities=True)
    ours = load_model(model)
    report = predict_cases(
        SlidingWindowPredictor(ours, settings=Settings(step_size=job.step_size)),
        find_cases(folder / "in", file_ending=".nii.gz"),
        output=folder / "ours",
        probabilities=True,
        worker=False,
    )
    return Results(folder / "stock", folder / "ours", report)


def labels(folder: Path) -> sitk.Image:
    return sitk.ReadImage(str(folder / "a.nii.gz"))


def probabilities(folder: Path) -> np.ndarray:
    return np.asarray(np.load(folder / "a.npz")["probabilities"])


@pytest.mark.parametrize("job", JOBS.values(), ids=list(JOBS))
def test_labels_and_probabilities_are_those_of_nnunet(
    job: Job, model_folder: Callable[[Tiny], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nnU-Net sums in half precision. With its sums in float32 nothing but rounding is left between the two.
    sum_in_float32(monkeypatch)
    results = both(job, tmp_path, model_folder(job.model))
    assert results.report.failed == ()
    stock, ours = labels(results.stock), labels(results.ours)
    expected = sitk.GetArrayFromImage(stock)
    assert set(np.unique(expected)) == {0, 1, 2}
    np.testing.assert_array_equal(sitk.GetArrayFromImage(ours), expected)
    for what in ("GetPixelID", "GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(ours, what)() == getattr(stock, what)(), what
    got, wanted = probabilities(results.ours), probabilities(results.stock)
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)
    if job.air:
        assert results.report.cases[0].constant_tiles > 10


def test_labels_are_those_of_nnunet_in_its_half_precision(
    model_folder: Callable[[Tiny], Path], tmp_path: Path
) -> None:
    job = Job(Tiny(), shape=(24, 50, 50), spacing_mm=(1.7, 0.9, 1.1))
    results = both(job, tmp_path, model_folder(job.model))
    stock, ours = (sitk.GetArrayFromImage(labels(f)) for f in (results.stock, results.ours))
    assert np.mean(stock == ours) >= 0.9999
    close = np.sort(probabilities(results.ours), 0)
    assert (close[-1] - close[-2])[stock != ours].max(initial=0) < 0.02


def test_nnunet_makes_ensembles_of_the_folder(model_folder: Callable[[Tiny], Path], tmp_path: Path) -> None:
    results = both(Job(Tiny()), tmp_path, model_folder(Tiny()))
    model = load_model(model_folder(Tiny()))
    (tmp_path / "ensemble").mkdir()
    # What nnUNetv2_ensemble does in each of its processes.
    merge_files(
        [str(results.ours / "a.npz"), str(results.stock / "a.npz")],
        str(tmp_path / "ensemble" / "a"),
        ".nii.gz",
        model.plans_manager.image_reader_writer_class(),
        model.label_manager,
    )
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(labels(tmp_path / "ensemble")), sitk.GetArrayFromImage(labels(results.ours))
    )


def test_without_probabilities_labels_are_the_same(
    model_folder: Callable[[Tiny], Path], tmp_path: Path
) -> None:
    for tiny in (Tiny(), Tiny(labels="regions")):
        folder = tmp_path / tiny.labels
        write_case(folder / "in", "a")
        predictor = SlidingWindowPredictor(load_model(model_folder(tiny)))
        cases = find_cases(folder / "in", file_ending=".nii.gz")
        for name, wanted in (("with", True), ("without", False)):
            predict_cases(predictor, cases, output=folder / name, probabilities=wanted, worker=False)
        assert not (folder / "without" / "a.npz").exists()
        np.testing.assert_array_equal(
            *(sitk.GetArrayFromImage(labels(folder / name)) for name in ("with", "without"))
        )
