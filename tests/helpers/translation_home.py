"""Two tiny datasets of one anatomy in two modalities, raw and preprocessed by nnU-Net's own preprocessor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import SimpleITK as sitk
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_models import Tiny

from nnunet_ext.translation.domains import Domain, read_domain
from nnunet_ext.translation.settings import Settings

MR, CT = "Dataset041_MR", "Dataset042_CT"
PLANS = "nnUNetTranslationPlans"
# Air, body, shell and core.
TONES = {"MR": (0.0, 300.0, 900.0, 500.0), "CT": (-1000.0, 40.0, 150.0, 700.0)}
WINDOW_HU = (-1000.0, 1000.0)
PATCH = (16, 16, 20)
SMALL = Settings(
    steps=4,
    generator_features=2,
    generator_blocks=1,
    discriminator_features=2,
    discriminator_layers=1,
    pool_size=2,
)


@dataclass(frozen=True)
class TranslationHome:
    """nnU-Net's folders of raw and preprocessed data with the datasets in them."""

    root: Path

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed"

    def domain(self, name: str, **options: Any) -> Domain:
        return read_domain(
            self.preprocessed / name, **{"plans_name": PLANS, "configuration": "tiny", **options}
        )

    def domains(self) -> tuple[Domain, Domain]:
        return self.domain(MR), self.domain(CT)


def write_home(
    root: Path,
    *,
    cases: int = 3,
    size: Sequence[int] = (20, 24, 28),
    spacing_mm: Sequence[float] = (2.0, 1.0, 1.0),
    transpose: tuple[int, ...] = (0, 1, 2),
    file_ending: str = ".nii.gz",
) -> TranslationHome:
    """Both datasets; the patients of one are not those of the other."""
    home = TranslationHome(root)
    for number, (name, modality) in enumerate(((MR, "MR"), (CT, "CT"))):
        tiny = Tiny(patch_size=PATCH, transpose=transpose, file_ending=file_ending)
        for case in range(cases):
            write_case(
                home.raw / name,
                f"{modality.lower()}_{case}",
                modality=modality,
                seed=100 * number + case,
                size=size,
                spacing_mm=spacing_mm,
                file_ending=file_ending,
            )
        describe(home.raw / name, tiny, modality=modality, cases=cases)
        preprocess(home, name, tiny, modality=modality)
    return home


def write_case(
    dataset: Path,
    name: str,
    *,
    modality: str,
    seed: int,
    size: Sequence[int] = (20, 24, 28),
    spacing_mm: Sequence[float] = (2.0, 1.0, 1.0),
    file_ending: str = ".nii.gz",
) -> None:
    """One patient: air, a body, and in it a shell with a core."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    middle = np.array(size) / 2
    body = (((grid - middle) / (middle * 0.85)) ** 2).sum(-1) < 1
    distance = np.sqrt((((grid - middle - rng.uniform(-2, 2, 3)) / (np.array(size) / 5)) ** 2).sum(-1))
    label = ((distance < 1).astype(np.uint8) + (distance < 0.5)).astype(np.uint8)
    air, tissue, shell, core = TONES[modality]
    image = np.where(body, tissue, air)
    image[label == 1], image[label == 2] = shell, core
    image = image + rng.normal(0, 15, image.shape)
    for folder, array in (("imagesTr", image.astype(np.float32)), ("labelsTr", label)):
        suffix = "_0000" if folder == "imagesTr" else ""
        write_array(array, dataset / folder / f"{name}{suffix}{file_ending}", spacing_mm=spacing_mm)


def write_array(array: np.ndarray, path: Path, *, spacing_mm: Sequence[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in reversed(spacing_mm)])
    image.SetOrigin((5.0, -7.5, 30.0))
    sitk.WriteImage(image, str(path))


def describe(dataset: Path, tiny: Tiny, *, modality: str, cases: int) -> None:
    content = {**tiny.dataset_json(), "channel_names": {"0": modality}, "numTraining": cases}
    (dataset / "dataset.json").write_text(json.dumps(content))


def plans_of(tiny: Tiny, name: str, *, modality: str) -> dict[str, Any]:
    plans = {**tiny.plans(), "dataset_name": name, "plans_name": PLANS}
    low, high = WINDOW_HU
    statistics = {"mean": 0.0, "std": 1000.0, "percentile_00_5": low, "percentile_99_5": high}
    plans["foreground_intensity_properties_per_channel"] = {"0": statistics}
    if modality == "MR":
        plans["configurations"]["tiny"]["normalization_schemes"] = ["ZScoreNormalization"]
    return plans


def preprocess(home: TranslationHome, name: str, tiny: Tiny, *, modality: str) -> None:
    raw, folder = home.raw / name, home.preprocessed / name
    (folder / "tiny").mkdir(parents=True, exist_ok=True)
    plans = plans_of(tiny, name, modality=modality)
    (folder / f"{PLANS}.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text((raw / "dataset.json").read_text())
    manager = PlansManager(plans)
    configuration = manager.get_configuration("tiny")
    preprocessor = configuration.preprocessor_class(verbose=False)
    for image in sorted((raw / "imagesTr").iterdir()):
        case = image.name.removesuffix(f"_0000{tiny.file_ending}")
        preprocessor.run_case_save(
            str(folder / "tiny" / case),
            [str(image)],
            str(raw / "labelsTr" / f"{case}{tiny.file_ending}"),
            manager,
            configuration,
            str(raw / "dataset.json"),
        )


def small(**changes: Any) -> Settings:
    return replace(SMALL, **changes)


def overwrite(home: TranslationHome, dataset: str, case: str, value: float, part: object) -> None:
    """Put a value into a preprocessed image."""
    file = home.preprocessed / dataset / "tiny" / f"{case}.b2nd"
    values = np.asarray(blosc2.open(str(file), mode="r")[:]).copy()
    values[part] = value  # type: ignore[index]
    file.unlink()
    blosc2.asarray(values, urlpath=str(file))
