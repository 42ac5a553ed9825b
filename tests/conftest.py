"""Fixtures that several rooms share."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings
from nnunet_home import NnunetHome, write_dataset
from shared_datasets import DATASETS

# No example fails for being slow on a busy machine.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

ROOMS_OF_LONG_MODULES = ("trainers", "networks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that two workers end together."""

    def place(item: pytest.Item) -> tuple[bool, bool]:
        return item.get_closest_marker("stock") is None, item.path.parent.name not in ROOMS_OF_LONG_MODULES

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Child processes see the installed package: in the checkout's root they would import its nnunet_ext/,
    which lacks the two folders that are installed into it.
    """
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def preprocessed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a home that all workers share, with the plain dataset preprocessed by stock commands."""
    root = _for_all_workers(tmp_path_factory) / "nnunet"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            home = NnunetHome(root.with_name("nnunet-unfinished")).create()
            write_dataset(home, DATASETS["plain"])
            # One process for everything: each imports nnU-Net for itself.
            processes = ("-npfp", "1", "-np", "1", "1")
            home.run("nnUNetv2_plan_and_preprocess", "-d", "901", "-c", "2d", "3d_fullres", *processes)
            _keep_few_features(home.root / "preprocessed" / DATASETS["plain"] / "nnUNetPlans.json")
            home.root.rename(root)
    return root


def _for_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def preprocessed(preprocessed_root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> NnunetHome:
    """A home with one preprocessed dataset, "plain" unless the test's parameter says otherwise.

    Raw and preprocessed data are shared, since stock planning and preprocessing take about 30 s; results are
    the test's own.
    """
    labels = getattr(request, "param", "plain")
    home = NnunetHome(preprocessed_root)
    with FileLock(f"{preprocessed_root}.{labels}.lock"):
        if not (home.root / "preprocessed" / DATASETS[labels]).exists():
            write_dataset(home, DATASETS[labels], labels=labels)
            _preprocess_with_the_plain_plans(home, DATASETS[labels])
    results = tmp_path / "results"
    results.mkdir()
    return NnunetHome(preprocessed_root, {"nnUNet_results": str(results)})


@pytest.fixture
def own_copy(preprocessed: NnunetHome, tmp_path: Path) -> NnunetHome:
    """The same with data that the test may change."""
    home = NnunetHome(tmp_path / "home").create()
    for name in ("raw", "preprocessed"):
        shutil.copytree(preprocessed.root / name, home.root / name, dirs_exist_ok=True)
    return home


def _keep_few_features(plans_file: Path) -> None:
    """Plans may be edited; 4 to 8 channels keep the suite short, also on CPUs that only emulate bfloat16."""
    plans = json.loads(plans_file.read_text())
    for configuration in plans["configurations"].values():
        if "architecture" in configuration:
            kwargs = configuration["architecture"]["arch_kwargs"]
            kwargs["features_per_stage"] = [4, *[8] * (kwargs["n_stages"] - 1)]
    plans_file.write_text(json.dumps(plans))


def _preprocess_with_the_plain_plans(home: NnunetHome, dataset: str) -> None:
    """3d_fullres for other labels on the same images, in this process: nnU-Net's command starts three."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw, plain = home.root / "raw" / dataset, home.root / "preprocessed" / DATASETS["plain"]
    target = plain.with_name(dataset)
    target.mkdir()
    plans = json.loads((plain / "nnUNetPlans.json").read_text())
    plans["dataset_name"] = dataset
    (target / "nnUNetPlans.json").write_text(json.dumps(plans))
    shutil.copy(plain / "dataset_fingerprint.json", target)
    shutil.copy(raw / "dataset.json", target)
    shutil.copytree(raw / "labelsTr", target / "gt_segmentations")
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    folder = target / configuration.data_identifier
    folder.mkdir()
    for label in sorted((raw / "labelsTr").iterdir()):
        case = label.name.removesuffix(".nii.gz")
        DefaultPreprocessor(verbose=False).run_case_save(
            str(folder / case),
            [str(raw / "imagesTr" / f"{case}_0000.nii.gz")],
            str(label),
            manager,
            configuration,
            json.loads((raw / "dataset.json").read_text()),
        )
