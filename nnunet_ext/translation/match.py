"""The control of a translation: MR whose histogram is made that of real CT, without any learning."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.stats import rankdata
from skimage.filters import threshold_multiotsu, threshold_otsu
from tqdm import tqdm

from nnunet_ext.clinical_io import CaseError, read_volume
from nnunet_ext.dataset_conversion.description import read_description
from nnunet_ext.dataset_conversion.raw_dataset import labeled_cases, require_complete
from nnunet_ext.translation.apply import SyntheticImage, check_image
from nnunet_ext.translation.domains import Window
from nnunet_ext.translation.labels import label_means, label_names
from nnunet_ext.translation.target import TargetStatistics, edges_hu

# What a CT scanner stores; padding below and metal above are no tissue.
RANGE_HU = (-1024, 3071)
_QUANTILES = 65_536
_BINS = 256


@dataclass(frozen=True)
class RealCT:
    """What the images of a raw CT dataset look like.

    Attributes:
        air: evenly spaced quantiles of the HU outside bodies, in lungs and couches.
        body: of the HU of tissue.
        target: distribution in the body, and means of labels.
    """

    air: NDArray[np.int16]
    body: NDArray[np.int16]
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
    counts = np.zeros((2, high - low + 1), np.int64)
    body = np.zeros(len(edges) - 1, np.int64)
    means: dict[str, list[float]] = {}
    for case in tqdm(labeled_cases(dataset), desc="Real CT", unit="case", disable=not progress):
        require_complete(case, channels=len(channels), labels=1)  # else its last file is no label
        hu = sitk.GetArrayViewFromImage(read_volume(case.files[channel]).image)
        hu = np.clip(np.rint(hu), low, high).astype(np.int16)
        tissue = hu > threshold_otsu(hu)
        for n, part in enumerate((hu[~tissue], hu[tissue])):
            counts[n] += np.bincount(part.astype(np.int64) - low, minlength=counts.shape[1])
        body += np.histogram(hu[tissue], edges)[0]
        labels = sitk.GetArrayViewFromImage(read_volume(case.files[-1]).image)
        for name, mean in label_means(hu, labels, label_names(content)).items():
            means.setdefault(name, []).append(mean)
    air, of_tissue = (_quantiles(part, first=low) for part in counts)
    share = tuple((body / max(1, body.sum())).tolist())
    target = TargetStatistics(
        tuple(edges.tolist()), share, {name: tuple(found) for name, found in sorted(means.items())}
    )
    return RealCT(air, of_tissue, target)


def _quantiles(counts: NDArray[np.int64], *, first: int) -> NDArray[np.int16]:
    """Of values that are counted from ``first`` on."""
    ranks = (np.arange(_QUANTILES) + 0.5) / _QUANTILES * counts.sum()
    return np.asarray(np.searchsorted(np.cumsum(counts), ranks) + first, np.int16)


class HistogramMatcher:
    """Gives each image the HU of real CT in the order of its own brightness.

    What is dark takes the HU of air, all else those of tissue: fields of view differ, and a share of air that
    is not the CT's would make tissue of it, or air of tissue. Equal values stay equal, and take the middle of
    their share: scanners and defacing leave large parts at exactly 0.

    Args:
        look: at real CT.
        channel: of the MR.
    """

    def __init__(self, look: RealCT, *, channel: int = 0) -> None:
        self._look = look
        self._channel = channel

    def __call__(self, files: Sequence[Path]) -> SyntheticImage:
        """As :class:`~nnunet_ext.translation.apply.CaseTranslator`.

        Raises:
            CaseError: the image cannot be read, has no such channel, or fewer than three values.
        """
        start = time.perf_counter()
        original = check_image(files)
        if self._channel:
            original = read_volume(files[self._channel]).image
        values = sitk.GetArrayViewFromImage(original).astype(np.float32)
        matched = np.empty(values.shape, np.int16)
        is_dark = dark_part(values)
        for part, reference in ((is_dark, self._look.air), (~is_dark, self._look.body)):
            matched[part] = in_order(values[part], reference)
        image = sitk.GetImageFromArray(matched)
        image.CopyInformation(original)
        return SyntheticImage(image, time.perf_counter() - start, 0)


def dark_part(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Air and what looks like it in MRI: below the lower threshold of three classes (Otsu).

    Two classes would count muscle as dark, beside fat.

    Raises:
        CaseError: there are fewer than three different values.

    Example:
        >>> dark_part(np.array([0, 0, 0, 0, 40, 42, 44, 90, 95], np.float32)).astype(int).tolist()
        [1, 1, 1, 1, 0, 0, 0, 0, 0]
    """
    low, high = np.percentile(values, (0.5, 99.5))
    clipped = values.clip(low, high)
    try:
        border: float = threshold_multiotsu(clipped, classes=3, nbins=_BINS)[0]
    except ValueError as error:
        raise CaseError(
            "flat-image", reason=f"no three classes of brightness: {error}", remedy="look at the image"
        ) from error
    return np.asarray(clipped <= border)


def in_order(values: NDArray[np.float32], reference: NDArray[np.int16]) -> NDArray[np.int16]:
    """The reference's values in the order of others; equal ones take the middle of their share.

    Args:
        values: (n,).
        reference: evenly spaced quantiles.

    Example:
        >>> in_order(np.array([5, 0, 0, 0], np.float32), np.array([1, 2, 3, 4], np.int16)).tolist()
        [4, 2, 2, 2]
    """
    if not len(values):
        return np.zeros(0, np.int16)
    share = (rankdata(values) - 0.5) / len(values)
    places = (np.arange(len(reference)) + 0.5) / len(reference)
    return np.asarray(np.rint(np.interp(share, places, reference)), np.int16)
