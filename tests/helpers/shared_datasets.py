"""Names of the shared datasets, for fixtures and tests alike."""

from __future__ import annotations

import pytest
from nnunet_home import LABELS

DATASETS = {labels: f"Dataset{901 + index}_{labels}" for index, labels in enumerate(LABELS)}


def dataset_of(request: pytest.FixtureRequest) -> str:
    """The dataset that the ``preprocessed`` fixture of this test prepared."""
    return DATASETS[request.node.callspec.params["preprocessed"]]
