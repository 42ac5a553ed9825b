"""Whether a synthetic CT could be one: its HU against those of the real CT that the training saw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from nnunet_ext.translation.labels import label_means
from nnunet_ext.translation.target import TargetStatistics


def plausibility(
    hu: NDArray[Any], labels: NDArray[Any], *, names: Mapping[int, str], target: TargetStatistics
) -> dict[str, Any]:
    """Figures for the report of one case. They find failures; they do not prove that an image is right.

    Args:
        hu: synthetic CT.
        labels: of the same shape.
        names: of labels.
        target: what real CT looks like.

    Returns:
        ``hu_distance``: by how many HU, on average, the body's values differ from those of real CT as
        distributions; ``labels``: mean HU of each label and whether real CT has such means (``null``: no
        real CT has the label); ``implausible``: labels with impossible means.

    Example:
        >>> real = TargetStatistics((-1000.0, 0.0, 1000.0), (0.0, 1.0), {"heart": (40.0, 60.0)})
        >>> image = np.array([-900.0, 300.0, 300.0, -800.0])
        >>> found = plausibility(image, np.array([0, 1, 1, 0]), names={1: "heart"}, target=real)
        >>> found["hu_distance"], found["labels"], found["implausible"]
        (0.0, {'heart': {'mean_hu': 300.0, 'possible': False}}, ['heart'])
    """
    histogram, _ = np.histogram(hu[hu > threshold_otsu(hu)], np.asarray(target.edges_hu))
    found = {
        name: {"mean_hu": round(mean, 1), "possible": target.is_possible(name, mean)}
        for name, mean in label_means(hu, labels, names).items()
    }
    return {
        "hu_distance": round(target.distance_hu(histogram), 1),
        "labels": found,
        "implausible": [name for name, entry in found.items() if entry["possible"] is False],
    }
