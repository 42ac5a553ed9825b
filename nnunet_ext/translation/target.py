"""What the real CT of a training looks like: how its HU are distributed, and the mean HU of each label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.translation.domains import Domain, Window
from nnunet_ext.translation.facts import HISTOGRAM_BINS, Gathered
from nnunet_ext.translation.intensities import to_hu

# A label's mean HU is taken for possible up to this far beyond the real cases: contrast agent varies.
_BEYOND_HU = 50.0


@dataclass(frozen=True)
class TargetStatistics:
    """Of the real CT that a translation was trained on.

    Attributes:
        edges_hu: of the bins of the histogram.
        share: of the body's voxels in each bin; sums to 1.
        label_means_hu: of each label's name, the mean HU in each case that has it.
    """

    edges_hu: tuple[float, ...]
    share: tuple[float, ...]
    label_means_hu: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, ct: Domain, gathered: Gathered) -> TargetStatistics:
        """From what was seen of the cases."""
        counts = np.sum([f.histogram for f in gathered.facts], axis=0)
        means: dict[str, list[float]] = {}
        for facts in gathered.facts:
            for name, mean in facts.label_means.items():
                means.setdefault(name, []).append(float(to_hu(np.array(mean), ct.window)))
        return cls(
            tuple(edges_hu(ct.window).tolist()),
            tuple((counts / max(1, counts.sum())).tolist()),
            {name: tuple(values) for name, values in sorted(means.items())},
        )

    def distance_hu(self, histogram: NDArray[Any]) -> float:
        """How far HU have to be moved, on average, to turn one distribution into the other.

        The earth mover's distance, from histograms with the same bins; 0 for the same distribution.

        Args:
            histogram: counts.
        """
        share = histogram / max(1, histogram.sum())
        widths = np.diff(self.edges_hu)
        return float(np.abs(np.cumsum(share - np.asarray(self.share)) * widths).sum())

    def is_possible(self, label: str, mean_hu: float) -> bool | None:
        """Whether a label's mean is what real cases have, give or take 50 HU; None if none has it."""
        real = self.label_means_hu.get(label)
        if not real:
            return None
        return min(real) - _BEYOND_HU <= mean_hu <= max(real) + _BEYOND_HU

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TargetStatistics:
        """What :meth:`to_json` gave."""
        return cls(
            tuple(content["edges_hu"]),
            tuple(content["share"]),
            {name: tuple(values) for name, values in content["label_means_hu"].items()},
        )


def edges_hu(window: Window) -> NDArray[np.float64]:
    """Edges of the bins of a histogram over the window."""
    return np.linspace(window.low_hu, window.high_hu, HISTOGRAM_BINS + 1)
