"""What a first network's outputs mean and where they lie: labels, regions, spacing, axes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_ext.evaluation.structures import LabelTable, label_table
from nnunet_ext.inference.model import Model


@dataclass(frozen=True)
class Outputs:
    """Outputs of one configuration; takes a model's place where label maps are written.

    Attributes:
        plans: content of ``plans.json``.
        dataset_json: content of ``dataset.json``.
        configuration: name of the configuration, three-dimensional.

    Raises:
        ValueError: the plans lack the configuration, or it is two-dimensional.
    """

    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    configuration: str

    def __post_init__(self) -> None:
        """Refuse what cannot be refined."""
        known = self.plans.get("configurations", {})
        if self.configuration not in known:
            raise ValueError(f"expected one of {', '.join(known)}, got {self.configuration!r}")
        if len(self.spacing_mm) != 3:
            raise ValueError(
                f"{self.configuration} is two-dimensional: how structures lie to each other is learned from "
                "volumes. Refine a 3d configuration"
            )

    @classmethod
    def of_folder(cls, folder: Path, configuration: str) -> Outputs:
        """Those of a folder with ``plans.json`` and ``dataset.json``.

        Raises:
            ValueError: a file is missing or no JSON.
        """
        return cls(read_json(folder / "plans.json"), read_json(folder / "dataset.json"), configuration)

    @classmethod
    def of_model(cls, model: Model) -> Outputs:
        """Those of a model that is loaded."""
        return cls(model.plans_manager.plans, model.dataset_json, model.configuration)

    @cached_property
    def plans_manager(self) -> Any:
        """nnU-Net's."""
        return PlansManager(self.plans)

    @cached_property
    def configuration_manager(self) -> Any:
        """nnU-Net's."""
        return self.plans_manager.get_configuration(self.configuration)

    @cached_property
    def label_manager(self) -> Any:
        """nnU-Net's."""
        return self.plans_manager.get_label_manager(self.dataset_json)

    @cached_property
    def table(self) -> LabelTable:
        """Structures by name."""
        return label_table(self.dataset_json)

    @property
    def heads(self) -> int:
        """Outputs: classes with background, or regions."""
        return int(self.label_manager.num_segmentation_heads)

    @property
    def has_regions(self) -> bool:
        """Outputs are regions."""
        return bool(self.label_manager.has_regions)

    @property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The label values that each output stands for."""
        heads = self.label_manager.foreground_regions if self.has_regions else self.label_manager.all_labels
        return tuple(tuple(int(v) for v in h) if isinstance(h, tuple) else (int(h),) for h in heads)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Of the configuration, transposed, (z, y, x)."""
        return tuple(float(s) for s in self.configuration_manager.spacing)

    @property
    def transpose_forward(self) -> tuple[int, ...]:
        """nnU-Net's."""
        return tuple(int(axis) for axis in self.plans_manager.transpose_forward)

    @property
    def file_ending(self) -> str:
        """Of label maps."""
        return str(self.dataset_json["file_ending"])

    def image_spacing_mm(self, properties: Mapping[str, Any]) -> tuple[float, ...]:
        """Of a case's image, transposed."""
        return tuple(float(properties["spacing"][axis]) for axis in self.transpose_forward)

    def grid_shape(self, properties: Mapping[str, Any]) -> tuple[int, ...]:
        """Of a case in the configuration's spacing, cropped: nnU-Net's own rule."""
        cropped = properties["shape_after_cropping_and_before_resampling"]
        new = compute_new_shape(tuple(cropped), self.image_spacing_mm(properties), self.spacing_mm)
        return tuple(max(1, int(n)) for n in new)

    def as_dict(self) -> dict[str, Any]:
        """What two models must have in common to share a refiner."""
        return {
            "labels": self.dataset_json["labels"],
            "label_order": list(self.dataset_json["labels"]),
            "regions_class_order": self.dataset_json.get("regions_class_order"),
            "spacing_mm": list(self.spacing_mm),
            "transpose_forward": list(self.transpose_forward),
        }


def read_json(file: Path) -> dict[str, Any]:
    """Content of a JSON file.

    Raises:
        ValueError: there is none, or it is no JSON object.

    Example:
        >>> read_json(Path("/no/such/plans.json"))
        Traceback (most recent call last):
        ValueError: expected the file /no/such/plans.json, found none
    """
    if not file.is_file():
        raise ValueError(f"expected the file {file}, found none")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object in {file}, got {type(content).__name__}")
    return content
