"""What a sampler of patches needs to know of a case: ``get_bbox`` sees nothing but its class locations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from nnunet_ext.cascade.windows import Windows


class CaseLocations(dict[Any, Any]):
    """nnU-Net's class locations of a case, with what else is known of it.

    Args:
        locations: of nnU-Net.
        segmentation: handle to the file, of which slices are read.
        windows: where a coarse network says to look; None without a cascade.
    """

    def __init__(
        self, locations: Mapping[Any, Any], *, segmentation: Any = None, windows: Windows | None = None
    ) -> None:
        super().__init__(locations)
        self.segmentation = segmentation
        self.windows = windows


class DatasetWithCaseData:
    """nnU-Net's dataset, whose cases bring segmentation and windows to the sampler.

    Args:
        dataset: of nnU-Net.
        windows: of each case; workers get them with the dataset and compute nothing.
    """

    def __init__(self, dataset: nnUNetBaseDataset, windows: Mapping[str, Windows] | None = None) -> None:
        self.dataset = dataset
        self.identifiers = dataset.identifiers
        self.windows = dict(windows or {})

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """As the dataset's."""
        data, segmentation, previous, properties = self.dataset.load_case(identifier)
        locations = CaseLocations(
            properties["class_locations"], segmentation=segmentation, windows=self.windows.get(identifier)
        )
        return data, segmentation, previous, {**properties, "class_locations": locations}
