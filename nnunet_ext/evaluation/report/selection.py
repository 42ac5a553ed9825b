"""Which cases are looked at: the worst and the median one, by the mean Dice over structures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path


def mean_by_case(scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Mean over structures of every case that has a number at all.

    Args:
        scores: from case and structure to a score.

    Example:
        >>> mean_by_case({"a": {"x": 0.5, "y": 0.7}, "b": {"x": None, "y": 0.4}, "c": {"x": None}})
        {'a': 0.6, 'b': 0.4}
    """
    means = {}
    for case, by_structure in scores.items():
        numbers = [n for n in by_structure.values() if n is not None and not math.isnan(n)]
        if numbers:
            means[case] = math.fsum(numbers) / len(numbers)
    return means


def worst_and_median(means: Mapping[str, float]) -> dict[str, str]:
    """Names of the worst and the median case; of an even number, the lower of the two in the middle.

    Args:
        means: score of each case, the higher the better.

    Returns:
        From ``"worst"`` and ``"median"`` to a case; one case is both and listed as the worst.

    Example:
        >>> worst_and_median({"a": 0.9, "b": 0.2, "c": 0.8, "d": 0.7})
        {'worst': 'b', 'median': 'd'}
        >>> worst_and_median({"a": 0.9}), worst_and_median({})
        ({'worst': 'a'}, {})
    """
    order = sorted(means, key=lambda case: (means[case], case))
    if not order:
        return {}
    median = order[(len(order) - 1) // 2]
    return {"worst": order[0]} | ({"median": median} if median != order[0] else {})


def image_of(case: str, folder: Path | None, *, file_ending: str) -> Path | None:
    """The first channel of a case, where nnU-Net has it in a folder.

    Example:
        >>> image_of("a", Path("nowhere"), file_ending=".nii.gz")
    """
    if folder is None:
        return None
    file = folder / f"{case}_0000{file_ending}"
    return file if file.is_file() else None


def images_beside(references: Path, *, raw: Path | None = None) -> Path | None:
    """The folder of images that goes with a folder of references, by nnU-Net's names.

    Args:
        references: ``labelsTr``, ``labelsTs``, or a preprocessed dataset's ``gt_segmentations``.
        raw: nnU-Net's folder of raw datasets, in which the latter's images are.

    Returns:
        The folder, None where there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "imagesTs").mkdir()
        ...     images_beside(Path(folder) / "labelsTs").name
        'imagesTs'
    """
    candidates = [references.parent / references.name.replace("labels", "images")]
    if raw is not None:
        candidates.append(raw / references.parent.name / "imagesTr")
    return next((c for c in candidates if c.is_dir() and c.name != references.name), None)
