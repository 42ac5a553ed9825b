"""From a coarse label map to the windows that the fine network looks at, in training and in prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.cascade.body import body_box
from nnunet_ext.cascade.roi import Group, fallback_window, group_windows, roi_windows
from nnunet_ext.cascade.settings import FOREGROUND, OnEmpty, Proposals, RoiGroup, SkeletonProposals
from nnunet_ext.cascade.skeleton import skeleton_windows
from nnunet_ext.cascade.windows import IntArray, Windows, clamped, no_windows

MIDDLE = (0.5, 0.5, 0.5)
HALF_STEP = 0.5

# Gives the image (channels, Z, Y, X); it is asked for only where nothing was found.
Image = Callable[[], NDArray[Any]]


class NothingFoundError(RuntimeError):
    """The coarse network found nothing, and the case is to fail then."""


@dataclass(frozen=True)
class Proposed:
    """Where to look in one case.

    Attributes:
        windows: all of one size, the patch of the fine network.
        empty: groups of which the coarse network found nothing.
    """

    windows: Windows
    empty: tuple[str, ...] = ()


def propose(
    coarse: NDArray[Any],
    settings: Proposals,
    *,
    size: Sequence[int],
    image: Image,
    on_empty: OnEmpty | None = None,
) -> Proposed:
    """The windows of a case.

    Args:
        coarse: label map of the coarse network (Z, Y, X), on the fine grid.
        settings: how windows are proposed.
        size: of the windows, (z, y, x) in voxels.
        image: gives the case's image, for fallback positions.
        on_empty: what is done where nothing was found; None for what the kind of proposals does.

    Returns:
        The same windows for the same case, always.

    Raises:
        NothingFoundError: nothing was found, and ``on_empty`` is ``fail``.

    Example:
        >>> coarse = np.zeros((8, 40, 40), np.uint8)
        >>> coarse[4, 10:30, 20] = 1
        >>> found = propose(coarse, SkeletonProposals(), size=(8, 16, 16), image=lambda: coarse[None])
        >>> len(found.windows), found.empty
        (5, ())
        >>> found = propose(coarse * 0, SkeletonProposals(), size=(8, 16, 16), image=lambda: coarse[None])
        >>> len(found.windows), found.empty
        (16, ('foreground',))
    """
    policy = settings.on_empty if on_empty is None else OnEmpty(on_empty)
    if isinstance(settings, SkeletonProposals):
        found = _along_skeletons(coarse, settings, size=size)
        if len(found):
            return Proposed(found)
        return Proposed(_instead(RoiGroup(FOREGROUND), coarse.shape, size, policy, image), (FOREGROUND,))
    parts, empty = [], []
    for group in settings.groups:
        boxes = _boxes(coarse, group, size=size)
        if not len(boxes):
            empty.append(group.name)
            boxes = _instead(group, coarse.shape, size, policy, image)
        parts.append(tiled(boxes, size=size).origins)
    return Proposed(_together(parts, size=size, shape=coarse.shape), tuple(empty))


def scan_windows(shape: Sequence[int], *, size: Sequence[int], step: float = HALF_STEP) -> Windows:
    """The windows of nnU-Net's sliding window over a whole volume.

    Example:
        >>> scan_windows((4, 8, 16), size=(8, 8, 8)).origins.tolist()
        [[-2, 0, 0], [-2, 0, 4], [-2, 0, 8]]
    """
    return tiled(Windows(np.zeros((1, 3), np.int64), tuple(shape), tuple(shape)), size=size, step=step)


def tiled(boxes: Windows, *, size: Sequence[int], step: float = HALF_STEP) -> Windows:
    """Windows of one size that cover larger boxes, by steps as nnU-Net's; a smaller box gets one around it.

    Example:
        >>> box = Windows(np.array([[0, 0, 10]]), (8, 8, 12), (8, 8, 40))
        >>> tiled(box, size=(8, 8, 8)).origins[:, 2].tolist()
        [10, 14]
    """
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    large = tuple(max(a, b) for a, b in zip(boxes.size, size, strict=True))
    steps = compute_steps_for_sliding_window(large, tuple(size), step)
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    shift = [(a - b) // 2 for a, b in zip(large, boxes.size, strict=True)]
    parts = [clamped(origin - shift + grid, size=size, shape=boxes.shape) for origin in boxes.origins]
    return _together(parts, size=size, shape=boxes.shape)


def _along_skeletons(coarse: NDArray[Any], settings: SkeletonProposals, *, size: Sequence[int]) -> Windows:
    masks = (
        [coarse == label for label in np.unique(coarse) if label > 0] if settings.per_class else [coarse > 0]
    )
    parts = [
        skeleton_windows(
            mask,
            size=size,
            margin=settings.margin,
            order=settings.order,
            dilation=settings.dilation,
            complete=settings.complete,
        ).origins
        for mask in masks
    ]
    return _together(parts, size=size, shape=coarse.shape)


def _boxes(coarse: NDArray[Any], group: RoiGroup, *, size: Sequence[int]) -> Windows:
    box = _box_size(group, size)
    if not group.labels:
        return roi_windows(coarse > 0, size=box, largest=False)
    return group_windows(coarse, Group(group.name, group.labels, box))


def _box_size(group: RoiGroup, size: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = (max(a, b) for a, b in zip(group.size or size, size, strict=True))
    return z, y, x


def _instead(
    group: RoiGroup, shape: tuple[int, ...], size: Sequence[int], policy: OnEmpty, image: Image
) -> Windows:
    """Boxes, or windows, for a group of which nothing was found."""
    if policy is OnEmpty.FAIL:
        raise NothingFoundError(
            f"the coarse network found nothing of {group.name}: look at the image and at the coarse result, "
            "or choose another policy than fail"
        )
    if policy is OnEmpty.EMPTY:
        return no_windows(size, shape)
    if policy is OnEmpty.FULLSCAN:
        return scan_windows(shape, size=size)
    body = body_box(np.asarray(image()[0]))
    return fallback_window(group.fallback or MIDDLE, body, size=_box_size(group, size))


def _together(parts: Sequence[IntArray], *, size: Sequence[int], shape: Sequence[int]) -> Windows:
    """Windows of several kinds, each once, in the order in which they come first."""
    if not parts:
        return no_windows(size, shape)
    origins = np.concatenate(parts)
    _, first = np.unique(origins, axis=0, return_index=True)
    return Windows(origins[np.sort(first)], tuple(size), tuple(shape))
