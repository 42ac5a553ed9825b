"""What training needs to know of each case before it draws patches: its range, its body, its labels' HU."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from nnunet_ext.processes import for_each_case
from nnunet_ext.translation.domains import Domain
from nnunet_ext.translation.intensities import Range, percentile_range
from nnunet_ext.translation.labels import label_means, label_names

logger = logging.getLogger(__name__)

HISTOGRAM_BINS = 128
# Places where a patch may lie; every fourth voxel of a body of 400 mm at 1 mm would be a million.
_PLACES = 20_000


@dataclass(frozen=True)
class CaseFacts:
    """Of one case.

    Attributes:
        case: its name.
        range: of its preprocessed values.
        places: voxels of the body, (n, 3), at most some thousands.
        histogram: of the values between -1 and 1, in the body; counts of equal bins.
        whole: the same of the whole image.
        label_means: mean value, between -1 and 1, of each label that is there, by name.
        shape: of the preprocessed image (z, y, x).
        spacing_mm: of the original image, (z, y, x), transposed.
    """

    case: str
    range: Range
    places: NDArray[np.int32]
    histogram: NDArray[np.int64]
    whole: NDArray[np.int64]
    label_means: Mapping[str, float]
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class Gathered:
    """Of a domain.

    Attributes:
        facts: of the cases that can be used.
        refused: why others cannot, by name.
    """

    facts: tuple[CaseFacts, ...]
    refused: Mapping[str, str]


def gather(
    domain: Domain, *, percentiles: Sequence[float], processes: int = 1, progress: bool = True
) -> Gathered:
    """Look at each case once; one image is in memory at a time, in each process.

    Args:
        domain: whose cases.
        percentiles: that become -1 and 1, of MRI; CT has its window.
        processes: at most.
        progress: show a bar.

    Raises:
        ValueError: no case can be used.
    """
    found = for_each_case(
        partial(_facts_or_reason, domain, tuple(percentiles)),
        domain.cases,
        processes=processes,
        description=f"Looking at {domain.name}",
        progress=progress,
    )
    refused = {case: f for case, f in zip(domain.cases, found, strict=True) if isinstance(f, str)}
    for case, reason in refused.items():
        logger.error("%s of %s is left out: %s", case, domain.name, reason)
    facts = tuple(f for f in found if isinstance(f, CaseFacts))
    if not facts:
        raise ValueError(f"none of the {len(domain.cases)} cases of {domain.name} can be used; see above")
    return Gathered(facts, refused)


def facts_of(domain: Domain, case: str, *, percentiles: Sequence[float]) -> CaseFacts:
    """Look at one case.

    Raises:
        ValueError: its values are not finite, or all the same.
    """
    data, seg, _, properties = domain.dataset().load_case(case)
    values = np.asarray(data[domain.channel : domain.channel + 1])[0]
    if domain.is_ct:
        percentile_range(values, (0, 100))  # refuses what is no image
        value_range = Range(*domain.window_in_data())
    else:
        value_range = percentile_range(values, percentiles)
    unit = value_range.to_unit(values)
    body = unit > threshold_otsu(unit)
    histogram, whole = (np.histogram(part, HISTOGRAM_BINS, (-1, 1))[0] for part in (unit[body], unit))
    return CaseFacts(
        case,
        value_range,
        _places(body),
        histogram,
        whole,
        label_means(unit, np.asarray(seg[:])[0], label_names(domain.dataset_json)),
        tuple(values.shape),
        tuple(float(properties["spacing"][axis]) for axis in domain.plans_manager.transpose_forward),
    )


def _facts_or_reason(domain: Domain, percentiles: tuple[float, ...], case: str) -> CaseFacts | str:
    try:
        return facts_of(domain, case, percentiles=percentiles)
    except (ValueError, RuntimeError, OSError) as error:  # blosc2 reports a damaged file as RuntimeError
        return str(error)


def _places(body: NDArray[np.bool_]) -> NDArray[np.int32]:
    flat = np.flatnonzero(body)
    chosen = flat[:: max(1, len(flat) // _PLACES)]
    return np.stack(np.unravel_index(chosen, body.shape), 1).astype(np.int32)
