"""The control of a translation: MR whose histogram is made that of real CT, without any learning."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from skimage.exposure import match_histograms
from skimage.filters import threshold_otsu
from tqdm import tqdm

from nnunet_ext.clinical_io import read_volume
from nnunet_ext.dataset_conversion.description import read_description
from nnunet_ext.dataset_conversion.raw_dataset import labeled_cases, require_complete
from nnunet_ext.translation.apply import SyntheticImage, check_image
from nnunet_ext.translation.domains import Window
from nnunet_ext.translation.labels import label_means, label_names
from nnunet_ext.translation.target import TargetStatistics, edges_hu

# What a CT scanner stores; padding below and metal above are no tissue.
RANGE_HU = (-1024, 3071)
_QUANTILES = 65_536


@dataclass(frozen=True)
class RealCT:
    """What the images of a raw CT dataset look like.

    Attributes:
        values: evenly spaced quantiles of all HU.
        target: distribution in the body, and means of labels.
    """

    values: NDArray[np.int16]
    target: TargetStatistics


def look_at_ct(dataset: Path, *, channel: int = 0, progress: bool = True) -> RealCT:
    """Go through the training images of a raw CT dataset; one image is in memory at a time.

    Raises:
        ValueError: it has no training images, or the channel is no CT.
        CaseError: an image or a label is missing or cannot be read.
    """
    content = read_description(dataset)
    channels = content["channel_names"]
    if str(channels.get(str(channel), "")).upper() != "CT":
        raise ValueError(f"expected CT in channel {channel} of {dataset}, got {channels}")
    low, high = RANGE_HU
    edges = edges_hu(Window(low, high))
    everything = np.zeros(high - low + 1, np.int64)
    body = np.zeros(len(edges) - 1, np.int64)
    means: dict[str, list[float]] = {}
    for case in tqdm(labeled_cases(dataset), desc="Real CT", unit="case", disable=not progress):
        require_complete(case, channels=len(channels), labels=1)  # else its last file is no label
        hu = sitk.GetArrayViewFromImage(read_volume(case.files[channel]).image)
        hu = np.clip(np.rint(hu), low, high).astype(np.int16)
        everything += np.bincount(hu.ravel().astype(np.int64) - low, minlength=len(everything))
        body += np.histogram(hu[hu > threshold_otsu(hu)], edges)[0]
        labels = sitk.GetArrayViewFromImage(read_volume(case.files[-1]).image)
        for name, mean in label_means(hu, labels, label_names(content)).items():
            means.setdefault(name, []).append(mean)
    ranks = (np.arange(_QUANTILES) + 0.5) / _QUANTILES * everything.sum()
    values = (np.searchsorted(np.cumsum(everything), ranks) + low).astype(np.int16)
    share = tuple((body / max(1, body.sum())).tolist())
    target = TargetStatistics(
        tuple(edges.tolist()), share, {name: tuple(found) for name, found in sorted(means.items())}
    )
    return RealCT(values, target)


class HistogramMatcher:
    """Gives each image the HU of real CT in the order of its own brightness.

    Args:
        reference: quantiles of real CT, :attr:`RealCT.values`.
        channel: of the MR.
    """

    def __init__(self, reference: NDArray[Any], *, channel: int = 0) -> None:
        self._reference = reference.reshape(-1, 1, 1)
        self._channel = channel

    def __call__(self, files: Sequence[Path]) -> SyntheticImage:
        """As :class:`~nnunet_ext.translation.apply.CaseTranslator`.

        Raises:
            CaseError: the image cannot be read, or has no such channel.
        """
        start = time.perf_counter()
        original = check_image(files)
        if self._channel:
            original = read_volume(files[self._channel]).image
        values = sitk.GetArrayViewFromImage(original).astype(np.float32)
        matched = np.rint(match_histograms(values, self._reference)).astype(np.int16)
        image = sitk.GetImageFromArray(matched)
        image.CopyInformation(original)
        return SyntheticImage(image, time.perf_counter() - start, 0)
