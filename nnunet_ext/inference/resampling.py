"""nnU-Net's resampling of network outputs, plane by plane: classes x volume never exists.

nnU-Net resamples all logits of a volume and then takes the likeliest class. Linear and nearest resampling act
on each axis alone, so a plane of the result needs two planes of logits, and its labels can be taken at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.preprocessing.resampling.no_resampling import no_resampling_hack
from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Kind = Literal["linear", "nearest"]


@dataclass(frozen=True)
class AxisMap:
    """How one axis is resampled, with nnU-Net's coordinates and edges.

    Voxel i of the result lies at ``(i + 0.5) * size_in / size_out - 0.5``; beyond the first and last voxel
    their values go on.

    Attributes:
        size_in: voxels before.
        size_out: voxels after.
        kind: linear between two voxels, or the nearest one.
    """

    size_in: int
    size_out: int
    kind: Kind = "linear"

    @property
    def is_identity(self) -> bool:
        """Nothing changes along this axis."""
        return self.size_in == self.size_out

    def sources(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """For each voxel of the result: two voxels of the input, and the weight of the second.

        Example:
            >>> low, high, weight = AxisMap(2, 4).sources()
            >>> low.tolist(), high.tolist(), weight.tolist()
            ([0, 0, 0, 1], [0, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
        """
        place = np.arange(self.size_out, dtype=np.float64) if self.is_identity else self._places()
        low = np.floor(place).astype(np.int64)
        weight = place - low
        return low, low + (weight > 0), weight

    def _places(self) -> NDArray[np.float64]:
        place: NDArray[np.float64] = np.arange(self.size_out, dtype=np.float64) + 0.5
        place = np.clip(place * (self.size_in / self.size_out) - 0.5, 0, self.size_in - 1)
        return np.floor(place + 0.5) if self.kind == "nearest" else place


def axis_maps(
    function: Callable[..., Any],
    *,
    shape: Sequence[int],
    new_shape: Sequence[int],
    current_spacing_mm: Sequence[float],
    new_spacing_mm: Sequence[float],
) -> tuple[AxisMap, ...] | None:
    """What a plan's ``resampling_fn_probabilities`` does to each axis.

    Args:
        function: nnU-Net's, with the plan's options (``functools.partial``).
        shape: (z, y, x) of the network's output.
        new_shape: of the image.
        current_spacing_mm: of the output.
        new_spacing_mm: of the image.

    Returns:
        Three maps; None where the function acts on the whole volume only (cubic splines, foreign functions).

    Example:
        >>> maps = axis_maps(
        ...     partial(resample_data_or_seg_to_shape, order=1, order_z=0, force_separate_z=None),
        ...     shape=(4, 8, 8),
        ...     new_shape=(8, 9, 9),
        ...     current_spacing_mm=(9, 1, 1),
        ...     new_spacing_mm=(4.5, 1, 1),
        ... )
        >>> [m.kind for m in maps]
        ['nearest', 'linear', 'linear']
    """
    options = dict(function.keywords) if isinstance(function, partial) else {}
    base = function.func if isinstance(function, partial) else function
    if base is no_resampling_hack or list(shape) == [int(n) for n in new_shape]:
        # What nnU-Net's own functions do then; a foreign function may do more.
        known = (no_resampling_hack, resample_data_or_seg_to_shape, resample_torch_fornnunet)
        return tuple(AxisMap(n, n) for n in shape) if base in known else None
    if base is resample_data_or_seg_to_shape:
        in_plane, through = _scipy_kinds(options)
    elif base is resample_torch_fornnunet:
        in_plane, through = _torch_kinds(options)
    else:
        return None
    separate, separate_axis = determine_do_sep_z_and_axis(
        options.get("force_separate_z", _default(base, "force_separate_z")),
        list(current_spacing_mm),
        list(new_spacing_mm),
        options.get("separate_z_anisotropy_threshold", _default(base, "separate_z_anisotropy_threshold")),
    )
    # Only with a separate axis does nnU-Net's torch function take another mode than linear.
    if base is resample_torch_fornnunet and not separate:
        in_plane = "linear"
    kinds = [through if separate and axis == separate_axis else in_plane for axis in range(3)]
    if None in kinds:
        return None
    return tuple(
        AxisMap(int(a), int(b), kind or "linear") for a, b, kind in zip(shape, new_shape, kinds, strict=True)
    )


def resampled_planes(planes: Iterable[Tensor], maps: Sequence[AxisMap]) -> Iterator[Tensor]:
    """Resample planes as they come.

    Args:
        planes: (heads, rows, columns) each, all of the volume, in order.
        maps: of planes, rows and columns.

    Yields:
        Planes of the result, (heads, rows, columns), in order, as soon as what they need has come.

    Example:
        >>> planes = (torch.full((1, 2, 2), float(n)) for n in range(2))
        >>> same = AxisMap(2, 2)
        >>> [p.mean().item() for p in resampled_planes(planes, (AxisMap(2, 4), same, same))]
        [0.0, 0.25, 0.75, 1.0]
    """
    low, high, weight = maps[0].sources()
    needed = {*low.tolist(), *high.tolist()}
    held: dict[int, Tensor] = {}
    done = 0
    for number, plane in enumerate(planes):
        if number in needed:
            held[number] = _in_plane(plane, maps[1], maps[2])
        while done < len(low) and high[done] <= number:
            first = held[int(low[done])]
            yield first if not weight[done] else torch.lerp(first, held[int(high[done])], float(weight[done]))
            done += 1
        open_from = int(low[done]) if done < len(low) else maps[0].size_in
        held = {n: p for n, p in held.items() if n >= open_from}


def resampled_whole(
    planes: Iterable[Tensor], function: Callable[..., Any], *arguments: Sequence[float]
) -> Iterator[Tensor]:
    """The same by nnU-Net's own function, for those that need the whole volume of logits in memory.

    Args:
        planes: (heads, rows, columns) each.
        function: the plan's ``resampling_fn_probabilities``.
        arguments: new shape, current and new spacing, as the function takes them.

    Yields:
        Planes of the result.
    """
    volume = torch.stack([plane.cpu() for plane in planes], 1)
    result = function(volume.numpy(), *arguments)
    tensor = result if isinstance(result, Tensor) else torch.from_numpy(np.ascontiguousarray(result))
    del volume, result
    for number in range(tensor.shape[1]):
        yield tensor[:, number].float()


def _in_plane(plane: Tensor, rows: AxisMap, columns: AxisMap) -> Tensor:
    """A plane with both of its axes resampled."""
    for axis, one in ((1, rows), (2, columns)):
        if one.kind == "nearest" and not one.is_identity:
            chosen = torch.from_numpy(one.sources()[0]).to(plane.device)
            plane = plane.index_select(axis, chosen)
    size = (rows.size_out, columns.size_out)
    if tuple(plane.shape[1:]) == size:
        return plane
    return functional.interpolate(plane[None], size, mode="bilinear", align_corners=False)[0]


def _scipy_kinds(options: dict[str, Any]) -> tuple[Kind | None, Kind | None]:
    """In the plane and through it, of scikit-image and scipy; None for cubic splines and label maps."""
    if options.get("is_seg", False):
        return None, None
    kinds: dict[int, Kind] = {0: "nearest", 1: "linear"}
    base = resample_data_or_seg_to_shape
    order, order_z = (options.get(name, _default(base, name)) for name in ("order", "order_z"))
    return kinds.get(order), kinds.get(order_z)


def _torch_kinds(options: dict[str, Any]) -> tuple[Kind | None, Kind | None]:
    if options.get("is_seg", False):
        return None, None
    base = resample_torch_fornnunet
    kinds: dict[str, Kind] = {"linear": "linear", "nearest-exact": "nearest"}
    mode, through = (options.get(name, _default(base, name)) for name in ("mode", "aniso_axis_mode"))
    # "linear" through the plane is trilinear there, which is linear in that one axis.
    return kinds.get(mode), kinds.get(through)


def _default(function: Callable[..., Any], name: str) -> Any:
    return inspect.signature(function).parameters[name].default
