"""Random crops that hold their share of the foreground: equation 8 of paper 002, in nnU-Net's loader."""

from __future__ import annotations

from typing import Any

import numpy as np
from nnunet_ext.trainers.adapters import loader_class
from nnunet_ext.trainers.case_data import CaseLocations, DatasetWithCaseData
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from numpy.typing import ArrayLike, NDArray

ATTEMPTS = 100
# Of the crop's foreground in that of the slice, for attempts 1, 2, ...
THRESHOLDS = 0.2 / np.arange(1, ATTEMPTS + 1) + 0.2


def first_accepted(shares: ArrayLike) -> int:
    """Which of the crops tried is taken: the first whose share reaches its threshold, else the best.

    Args:
        shares: of the foreground, in [0, 1], in the order of the attempts; at most ``ATTEMPTS``.

    Example:
        >>> first_accepted([0.39, 0.31])  # 0.4 is asked of the first, 0.3 of the second
        1
        >>> first_accepted([0.1, 0.15, 0.0])
        1
    """
    found = np.asarray(shares, dtype=float)
    # Rounding must not refuse 3 of 10 voxels where 0.3 is asked.
    accepted = np.flatnonzero(found > THRESHOLDS[: len(found)] - 1e-9)
    return int(accepted[0] if len(accepted) else found.argmax())


def window_sums(image: NDArray[Any], corners: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Sums of an image over windows of one size; what lies outside the image counts as 0.

    Args:
        image: (Y, X).
        corners: (N, 2), first voxel of each window, also outside the image.
        size: (y, x) of the windows.

    Returns:
        (N,) sums.

    Example:
        >>> window_sums(np.ones((4, 4), int), np.array([[0, 0], [-1, 3]]), (2, 2))
        array([4, 1])
    """
    table = np.pad(image.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    first = np.clip(corners, 0, image.shape)
    last = np.clip(corners + size, 0, image.shape)
    rows, columns = (first[:, 0], last[:, 0]), (first[:, 1], last[:, 1])
    total = table[rows[1], columns[1]] - table[rows[0], columns[1]]
    sums: NDArray[Any] = total - table[rows[1], columns[0]] + table[rows[0], columns[0]]
    return sums


class PlannedCropLoader(nnUNetDataLoader):
    """Draws the slice, or in 3D the slab of slices, as nnU-Net does, and the window in it by equation 8.

    Reference:
        Paper 002 (AFU-Net), equation 8: attempt i is accepted if the crop holds at least 0.2 / i + 0.2 of
        the slice's foreground.

    Differences from the paper:
        - Where all attempts fail, which the paper leaves open, the best of them is taken; in a slice without
          foreground the first.
        - In 3D the foreground is counted in the slab that the patch covers, not in the volume, of which a
          patch hardly ever holds a fifth.
        - Where nnU-Net turns the patch, the window is counted before.
    """

    def get_bbox(
        self,
        data_shape: Any,
        force_fg: bool,
        class_locations: Any,
        overwrite_class: Any = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """First and last + 1 voxel of a patch, (z, y, x)."""
        first, last = super().get_bbox(data_shape, force_fg, class_locations, overwrite_class, verbose)
        if not isinstance(class_locations, CaseLocations):
            return first, last
        foreground = self._foreground(class_locations.segmentation, first[0], last[0])
        whole = foreground.sum()
        if whole == 0:
            return first, last
        draw = super().get_bbox
        again = [draw(data_shape, False, class_locations)[0] for _ in THRESHOLDS[1:]]
        corners = np.array([corner[1:] for corner in (first, *again)])
        # The network sees the middle of what is loaded.
        margin = [(n - k) // 2 for n, k in zip(self.patch_size[1:], self.final_patch_size[1:], strict=True)]
        inside = window_sums(foreground, corners + margin, tuple(self.final_patch_size[1:]))
        y, x = (int(n) for n in corners[first_accepted(inside / whole)])
        return [first[0], y, x], [last[0], y + self.patch_size[1], x + self.patch_size[2]]

    def _foreground(self, segmentation: Any, first: int, last: int) -> NDArray[Any]:
        """Foreground voxels in the slices that the network sees of [first, last), summed to one image."""
        margin = (self.patch_size[0] - self.final_patch_size[0]) // 2
        start = max(first + margin, 0)
        slab = np.asarray(segmentation[0, start : max(first + margin + self.final_patch_size[0], start)])
        # nnU-Net's ignore label comes after all others.
        labeled: NDArray[Any] = (slab > 0) & (slab <= max(self.annotated_classes_key))
        counts: NDArray[Any] = labeled.sum(0)
        return counts


class PlannedCrops(nnUNetTrainer):
    """Trains on planned crops; validation during training has nnU-Net's."""

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's; that of training brings its segmentations."""
        training, validation = super().get_tr_and_val_datasets()
        return DatasetWithCaseData(training), validation

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's, of the loader with planned crops."""
        with loader_class(PlannedCropLoader):
            loaders: tuple[Any, Any] = super().get_dataloaders()
        return loaders
