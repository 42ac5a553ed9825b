"""Which cases of a dataset are synthetic, as ``dataset.json`` records it.

    "synthetic_cases": ["heart_007_synthetic"]

nnU-Net ignores the record. Our trainers train on such cases and never validate on them: how well a network
does on images that another network made says nothing about patients. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEY = "synthetic_cases"


def synthetic_cases(dataset_json: Mapping[str, Any]) -> frozenset[str]:
    """Names of the synthetic cases of a dataset; none where nothing is recorded.

    Args:
        dataset_json: the content of ``dataset.json``.

    Raises:
        ValueError: the record is no list of names.

    Example:
        >>> sorted(synthetic_cases({"synthetic_cases": ["b", "a"]})), len(synthetic_cases({}))
        (['a', 'b'], 0)
    """
    record = dataset_json.get(KEY, [])
    if not isinstance(record, list) or not all(isinstance(name, str) for name in record):
        raise ValueError(f"dataset.json, {KEY}: expected a list of names of cases, got {record!r:.80}")
    return frozenset(record)
