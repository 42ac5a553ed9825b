"""Patches along the skeleton of a coarse segmentation: paper 000's carve-out, for vessels."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.cascade.windows import IntArray, Windows, centered, no_windows
from nnunet_ext.evaluation.boxes import box_of

Order = Literal["lexicographic", "greedy"]


def skeleton_windows(
    mask: NDArray[Any],
    *,
    size: Sequence[int],
    margin: Sequence[int] | None = None,
    order: Order = "lexicographic",
    dilation: int = 0,
    complete: bool = True,
) -> Windows:
    """Windows that hold a tubular mask, few of them, each around a point of its skeleton.

    A point of the skeleton becomes the center of a window; every point well inside that window is struck
    out; so on until none is left (paper 000, section on the carve-out).

    Differences from the paper: it strikes out all points inside the window, so that the wall of a vessel
    may stick out beside the windows (0.6 % of a tube of radius 4 in windows of 32 voxels), while it says that
    they hold everything. Here points near the window's faces stay (``margin``), and what still sticks out
    gets windows of its own (``complete``). ``margin=(0, 0, 0), complete=False`` is the paper's.

    Args:
        mask: coarse foreground (Z, Y, X).
        size: of the windows in voxels.
        margin: points this near to a face are not struck out; None takes a quarter of ``size``.
        order: ``"lexicographic"`` takes the first point that is left; ``"greedy"`` the one whose window
            strikes out most, which takes fewer windows and some more time.
        dilation: steps by which the mask grows before, so that less is lost where the coarse network saw
            too little.
        complete: windows for everything in the mask, not for its skeleton alone.

    Returns:
        The same windows for the same mask, always; none for an empty one.

    Raises:
        ValueError: the mask is not of three dimensions, or the margins leave no window.

    Example:
        >>> tube = np.zeros((20, 20, 100), bool)
        >>> tube[8:12, 8:12, 5:95] = True
        >>> windows = skeleton_windows(tube, size=(16, 16, 16))
        >>> len(windows), bool((windows.covered() | ~tube).all())
        (11, True)
    """
    size, margin = _checked(mask, size, margin)
    grown = _grown(np.asarray(mask, bool), dilation)
    points = skeleton_points(grown)
    if not len(points):
        return no_windows(size, mask.shape)
    carve = _carved if order == "lexicographic" else _carved_greedily
    origins = carve(points, size=size, margin=margin, shape=grown.shape)
    windows = Windows(origins, size, grown.shape)
    if not complete:
        return windows
    for part in windows.slices():
        grown[part] = False
    rest = np.argwhere(grown)
    more = _carved(rest, size=size, margin=(0, 0, 0), shape=grown.shape)
    return Windows(np.concatenate([origins, more]), size, grown.shape)


def skeleton_points(mask: NDArray[np.bool_]) -> IntArray:
    """Voxels of the skeleton (Lee 1994), in lexicographic order; at least one in every component.

    Thinning removes some components altogether, such as a cube of even size: of those, the voxel nearest to
    the middle is taken.

    Args:
        mask: (Z, Y, X).

    Returns:
        (N, 3) array of voxels.

    Example:
        >>> blocks = np.zeros((5, 5, 20), bool)
        >>> blocks[1:4, 1:4, 1:8] = blocks[:4, :4, 12:16] = True
        >>> skeleton_points(blocks).tolist()
        [[1, 1, 13], [2, 2, 2], [2, 2, 3], [2, 2, 4], [2, 2, 5], [2, 2, 6]]
    """
    from scipy import ndimage
    from skimage.morphology import skeletonize

    whole = box_of(mask)
    if whole is None:
        return np.zeros((0, 3), np.int64)
    part = mask[whole]
    thin = skeletonize(part)
    components, count = ndimage.label(part, structure=np.ones((3, 3, 3)))
    kept = np.bincount(components[thin], minlength=count + 1)
    objects = ndimage.find_objects(components)
    for lost in np.flatnonzero(kept[1:] == 0) + 1:
        box = objects[lost - 1]
        voxels = np.argwhere(components[box] == lost)
        middle = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
        thin[tuple(middle + [side.start for side in box])] = True
    return np.asarray(np.argwhere(thin) + [side.start for side in whole], np.int64)


def _checked(
    mask: NDArray[Any], size: Sequence[int], margin: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if mask.ndim != 3 or len(size) != 3:
        raise ValueError(
            f"expected a volume and windows of three dimensions, got a mask of shape {mask.shape} and "
            f"windows of {tuple(size)}; in 2D there is no skeleton to go along"
        )
    margin = tuple(n // 4 for n in size) if margin is None else tuple(margin)
    if min(size) < 1 or min(margin) < 0 or any(2 * m >= n for m, n in zip(margin, size, strict=True)):
        raise ValueError(f"expected margins below half of the windows of {tuple(size)}, got {margin}")
    return tuple(size), margin


def _grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """A copy that may be written to."""
    from scipy import ndimage

    return ndimage.binary_dilation(mask, iterations=steps) if steps else mask.copy()


def _inside(
    points: IntArray, origin: IntArray, *, size: tuple[int, ...], margin: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which points lie in a window, no nearer to its faces than the margins."""
    low, high = origin + margin, origin + size - np.array(margin)
    inside: NDArray[np.bool_] = ((points >= low) & (points < high)).all(axis=1)
    return inside


def _carved(
    points: IntArray, *, size: tuple[int, ...], margin: tuple[int, ...], shape: tuple[int, ...]
) -> IntArray:
    """Origins, each around the first point that is left."""
    origins = []
    left = points
    while len(left):
        origin = centered(left[0], size=size, shape=shape)[0]
        origins.append(origin)
        struck = _inside(left, origin, size=size, margin=margin)
        struck[0] = True  # at the volume's edge the window is moved, and its own center may be near a face
        left = left[~struck]
    return np.array(origins, np.int64).reshape(-1, 3)


def _carved_greedily(
    points: IntArray, *, size: tuple[int, ...], margin: tuple[int, ...], shape: tuple[int, ...]
) -> IntArray:
    """Origins, each around the point whose window strikes out most; of equal ones, the first.

    A window can only come to strike out fewer: its last count is an upper bound, and only the best of the
    bounds is counted again.
    """
    from scipy.spatial import cKDTree

    all_origins = centered(points, size=size, shape=shape)
    tree = cKDTree(points)
    reach = max(size)

    def struck_by(place: int) -> NDArray[np.int64]:
        near = np.array(sorted(tree.query_ball_point(points[place], reach, p=np.inf)))
        near = near[left[near]]
        inside = _inside(points[near], all_origins[place], size=size, margin=margin)
        return np.asarray(near[inside | (near == place)], np.int64)

    left = np.ones(len(points), bool)
    bounds = [(-len(points), place) for place in range(len(points))]
    origins = []
    while bounds:
        _, place = heapq.heappop(bounds)
        if not left[place]:
            continue
        struck = struck_by(place)
        if bounds and (-len(struck), place) > bounds[0]:
            heapq.heappush(bounds, (-len(struck), place))
            continue
        origins.append(all_origins[place])
        left[struck] = False
    return np.array(origins, np.int64).reshape(-1, 3)
