"""Labels by name, and what an image has within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def label_names(dataset_json: Mapping[str, Any]) -> dict[int, str]:
    """Names of single labels, by number; regions of several labels and background are left out.

    Example:
        >>> label_names({"labels": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}})
        {2: 'core'}
    """
    names: dict[int, str] = {}
    for name, value in dataset_json["labels"].items():
        numbers: Sequence[int] = value if isinstance(value, list) else [value]
        if len(numbers) == 1 and int(numbers[0]) != 0 and name != "ignore":
            names[int(numbers[0])] = name
    return names


def label_means(values: NDArray[Any], labels: NDArray[Any], names: Mapping[int, str]) -> dict[str, float]:
    """Mean value of each label that is there.

    Args:
        values: of any shape.
        labels: of the same shape; what is below 0 counts as background.
        names: of the labels that count.

    Example:
        >>> label_means(np.array([1, 2, 4]), np.array([0, 1, 1]), {1: "heart", 2: "aorta"})
        {'heart': 3.0}
    """
    whole = np.maximum(labels, 0).ravel().astype(np.int64)
    counts = np.bincount(whole)
    sums = np.bincount(whole, weights=values.ravel())
    return {name: float(sums[n] / counts[n]) for n, name in names.items() if n < len(counts) and counts[n]}
