"""A benchmark that has ended, once for all tests of its page."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_benchmark import finished_benchmark, write_records

from nnunet_ext.evaluation.benchmark.places import Places

TRAINERS = {"nnUNetTrainer": 0.3, "nnUNetTrainerRASUNet": 0.1, "nnUNetTrainerVNet": 0.5}


@pytest.fixture(scope="session")
def benchmark_home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Places]:
    """nnU-Net's folders and the benchmark: RAS U-Net far better than vanilla, V-Net far worse."""
    folder = tmp_path_factory.mktemp("benchmark")
    places = finished_benchmark(folder, trainers=TRAINERS, cases=10)
    write_records(places)
    return folder, places
