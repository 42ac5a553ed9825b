"""The fine network on its windows, and what they come to together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch import Tensor
from tqdm import tqdm

from nnunet_ext.cascade.merge import GaussianMerge, MaximumMerge, Merge
from nnunet_ext.cascade.settings import MERGES, Kind, MergeName
from nnunet_ext.cascade.windows import Windows

Box = tuple[slice, ...]
WINDOWS_A_BATCH = 4


def box_around(windows: Windows) -> Box | None:
    """The part of the volume that windows lie in; None where there are none.

    Example:
        >>> import numpy as np
        >>> box_around(Windows(np.array([[0, 2, 2], [0, 4, 3]]), (4, 4, 4), (4, 20, 20)))
        (slice(0, 4, None), slice(2, 8, None), slice(2, 7, None))
    """
    if not len(windows):
        return None
    low = windows.origins.min(0)
    high = windows.origins.max(0) + windows.size
    return tuple(
        slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, windows.shape, strict=True)
    )


def merge_for(
    kind: Kind,
    shape: Sequence[int],
    *,
    size: Sequence[int],
    heads: int,
    has_regions: bool,
    merge: MergeName | None = None,
) -> Merge:
    """How windows are put together: the largest probability along skeletons, else weighted by a Gaussian.

    Args:
        kind: of the proposals.
        shape: of the volume, or of the part that windows lie in.
        size: of the windows.
        heads: outputs of the network.
        has_regions: they are regions.
        merge: instead of that of the kind.
    """
    if (merge or MERGES[kind]) == "maximum":
        return MaximumMerge(shape, heads=heads, has_regions=has_regions)
    weights = compute_gaussian(
        tuple(size),
        sigma_scale=1 / 8,
        value_scaling_factor=10,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )
    return GaussianMerge(shape, weights=weights, heads=heads, has_regions=has_regions)


def predict_windows(
    windows: Windows,
    *,
    cut: Callable[[Sequence[int]], Tensor],
    forward: Callable[[Tensor], Tensor],
    merge: Merge,
    first: Sequence[int] = (0, 0, 0),
    windows_a_batch: int = WINDOWS_A_BATCH,
    progress: bool = False,
) -> Tensor:
    """Run the network over windows in batches and merge what it says.

    Args:
        windows: where to look.
        cut: gives the network's input at an origin, (C, z, y, x).
        forward: (B, C, z, y, x) -> logits (B, heads, z, y, x).
        merge: takes the logits in.
        first: voxel of the volume that is the first of the merge's.
        windows_a_batch: that the network sees at once.
        progress: show a bar of windows.

    Returns:
        Probabilities (heads, Z, Y, X) of the merge's volume, in float32; without regions they add up to 1.
    """
    origins = windows.origins.tolist()
    with tqdm(total=len(origins), disable=not progress, unit="window", leave=False) as bar:
        for start in range(0, len(origins), windows_a_batch):
            batch = origins[start : start + windows_a_batch]
            logits = forward(torch.stack([cut(origin) for origin in batch]))
            for of_window, origin in zip(logits, batch, strict=True):
                merge.add(of_window.float(), [o - f for o, f in zip(origin, first, strict=True)])
            bar.update(len(batch))
    merged = merge.probabilities()
    # In place: a second copy of heads x volume may be what memory has no room for.
    return merged if merge.has_regions else merged.div_(merged.sum(0, keepdim=True))


def window_of(data: Tensor, origin: Sequence[int], *, size: Sequence[int]) -> Tensor:
    """A window of a volume, with zeros where it sticks out, as nnU-Net pads.

    Args:
        data: (C, Z, Y, X).
        origin: first voxel, which may lie outside.
        size: of the window.

    Example:
        >>> window_of(torch.ones(1, 1, 1, 2), (0, 0, 1), size=(1, 1, 2)).flatten().tolist()
        [1.0, 0.0]
    """
    window = data.new_zeros((data.shape[0], *size))
    volume, part = [], []
    for low, n, end in zip(origin, size, data.shape[1:], strict=True):
        first, last = max(low, 0), min(low + n, end)
        volume.append(slice(first, last))
        part.append(slice(first - low, last - low))
    window[(slice(None), *part)] = data[(slice(None), *volume)]
    return window


def one_hot_window(
    coarse: Tensor, origin: Sequence[int], *, size: Sequence[int], labels: Sequence[int]
) -> Tensor:
    """The coarse result in a window, a channel a label, as nnU-Net's cascade puts it behind the image.

    Of the window alone: for the whole volume it would take as much memory as labels times the image.

    Args:
        coarse: label map (Z, Y, X).
        origin: of the window.
        size: of the window.
        labels: value of each channel.

    Example:
        >>> one_hot_window(torch.tensor([[[0, 2]]]), (0, 0, 0), size=(1, 1, 2), labels=[1, 2]).tolist()
        [[[[0.0, 0.0]]], [[[0.0, 1.0]]]]
    """
    window = window_of(coarse[None], origin, size=size)[0]
    return torch.stack([window == label for label in labels]).float()
