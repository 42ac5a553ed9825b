"""Patches for the fine network: mostly where it will look, some of the foreground, some anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from nnunet_ext.trainers.case_data import CaseLocations
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from nnunet_ext.cascade.windows import Windows, jittered


@dataclass(frozen=True)
class Sampling:
    """Where patches of the fine network's training come from. This is the one place that says so.

    Foreground is nnU-Net's oversampling: the last patches of each batch, by its rounding at least one of two.
    It goes on where the coarse network found nothing, so that its mistakes can be made good. Of the others,
    proposals and random patches are drawn in the proportion of their shares.

    Attributes:
        proposals: share around proposals, as in prediction.
        foreground: share around a voxel of the reference.
        random: share anywhere: windows of a full scan look so.
        reach: a proposal is moved by up to this part of the patch along each axis, so that the object is not
            always in the middle; in prediction it is up to a margin (a quarter) beside it.

    Raises:
        ValueError: the shares are no shares.

    Example:
        >>> round(Sampling().proposals_of_rest, 3)
        0.857
    """

    proposals: float = 0.6
    foreground: float = 0.3
    random: float = 0.1
    reach: float = 0.25

    def __post_init__(self) -> None:
        shares = (self.proposals, self.foreground, self.random)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6 or not 0 <= self.reach <= 0.5:
            raise ValueError(f"expected shares that add up to 1 and a reach from 0 to 0.5, got {self}")

    @property
    def proposals_of_rest(self) -> float:
        """Share of proposals in what is not forced onto foreground."""
        rest = self.proposals + self.random
        return self.proposals / rest if rest else 0.0


SAMPLING = Sampling()


class ProposalLoader(nnUNetDataLoader):
    """Draws patches as ``Sampling`` says; what is forced onto foreground is nnU-Net's.

    A case without windows is sampled as nnU-Net does. Random numbers are numpy's global ones, as nnU-Net's.
    """

    sampling: ClassVar[Sampling] = SAMPLING

    def get_bbox(
        self,
        data_shape: Any,
        force_fg: bool,
        class_locations: Any,
        overwrite_class: Any = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """First and last + 1 voxel of what is loaded, (z, y, x): the patch lies in its middle."""
        windows = class_locations.windows if isinstance(class_locations, CaseLocations) else None
        if (
            force_fg
            or windows is None
            or not len(windows)
            or np.random.random() >= self.sampling.proposals_of_rest
        ):
            box: tuple[list[int], list[int]] = super().get_bbox(
                data_shape, force_fg, class_locations, overwrite_class, verbose
            )
            return box
        first = self._around(windows) - self._margin()
        return first.tolist(), (first + np.array(self.patch_size)).tolist()

    def _around(self, windows: Windows) -> Any:
        """Origin of one window, moved."""
        place = np.random.randint(len(windows))
        chosen = Windows(windows.origins[place : place + 1], windows.size, windows.shape)
        reach = [int(n * self.sampling.reach) for n in windows.size]
        rng = np.random.default_rng(np.random.randint(2**31))
        return jittered(chosen, reach=reach, rng=rng).origins[0]

    def _margin(self) -> Any:
        """nnU-Net loads more than a patch where it turns it; the network sees the middle."""
        return (np.array(self.patch_size) - np.array(self.final_patch_size)) // 2


def with_annotation(windows: Windows, locations: Mapping[Any, Any], *, annotated: tuple[int, ...]) -> Windows:
    """The windows that hold an annotated voxel, where a dataset has an ignore label.

    Args:
        windows: of a case.
        locations: nnU-Net's class locations.
        annotated: nnU-Net's key of all that is annotated: -1 and all labels.

    Returns:
        Those windows; all of them where nnU-Net has no record of what is annotated.

    Example:
        >>> two = Windows(np.array([[0, 0, 0], [0, 0, 4]]), (1, 1, 4), (1, 1, 8))
        >>> len(with_annotation(two, {(-1, 0, 1): np.array([[0, 0, 0, 2]])}, annotated=(-1, 0, 1)))
        1
    """
    if annotated not in locations:
        return windows
    voxels = np.asarray(locations[annotated], np.int64).reshape(-1, 4)[:, 1:]
    end = windows.origins + np.array(windows.size)
    held = [
        bool(((voxels >= low) & (voxels < high)).all(axis=1).any())
        for low, high in zip(windows.origins, end, strict=True)
    ]
    return Windows(windows.origins[np.array(held, bool)], windows.size, windows.shape)
