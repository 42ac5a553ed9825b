"""The two datasets of a translation, as nnU-Net preprocessed them, and what must agree between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetBaseDataset
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_ext.synthetic import synthetic_cases

_CT = "CTNormalization"


@dataclass(frozen=True)
class Window:
    """Hounsfield units that become -1 and 1.

    Attributes:
        low_hu: becomes -1, as does everything below.
        high_hu: becomes 1.
    """

    low_hu: float
    high_hu: float


@dataclass(frozen=True)
class Domain:
    """One dataset, preprocessed for one configuration of its plans.

    Attributes:
        name: of the dataset.
        folder: of the preprocessed cases.
        cases: names, sorted; synthetic ones are not among them.
        plans: content of the plans' file.
        configuration: name of the configuration.
        dataset_json: content of ``dataset.json``.
        channel: number of the image channel.
    """

    name: str
    folder: Path
    cases: tuple[str, ...]
    plans: Mapping[str, Any]
    configuration: str
    dataset_json: Mapping[str, Any]
    channel: int = 0

    @property
    def plans_manager(self) -> PlansManager:
        """nnU-Net's."""
        return PlansManager(dict(self.plans))

    @property
    def configuration_manager(self) -> ConfigurationManager:
        """nnU-Net's."""
        return self.plans_manager.get_configuration(self.configuration)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Of the preprocessed images, (z, y, x), transposed."""
        return tuple(float(s) for s in self.configuration_manager.spacing)

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Of the configuration."""
        return tuple(int(n) for n in self.configuration_manager.patch_size)

    @property
    def channel_name(self) -> str:
        """``"CT"``."""
        names = self.dataset_json["channel_names"]
        return str(names[str(self.channel)])

    @property
    def is_ct(self) -> bool:
        """The channel is normalized as CT."""
        return str(self.configuration_manager.normalization_schemes[self.channel]) == _CT

    @property
    def window(self) -> Window:
        """Where nnU-Net clips the CT."""
        intensities = self._intensities()
        return Window(float(intensities["percentile_00_5"]), float(intensities["percentile_99_5"]))

    def window_in_data(self) -> tuple[float, float]:
        """The ends of the window as they stand in preprocessed data."""
        intensities = self._intensities()
        mean, std = float(intensities["mean"]), max(float(intensities["std"]), 1e-8)
        return (self.window.low_hu - mean) / std, (self.window.high_hu - mean) / std

    def dataset(self) -> nnUNetBaseDataset:
        """nnU-Net's access to the cases; nothing is read yet."""
        return infer_dataset_class(str(self.folder))(str(self.folder), list(self.cases))

    def _intensities(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.plans["foreground_intensity_properties_per_channel"]
        intensities: Mapping[str, Any] = found[str(self.channel)]
        return intensities


def read_domain(preprocessed: Path, *, plans_name: str, configuration: str, channel: int = 0) -> Domain:
    """A dataset as it was preprocessed.

    Args:
        preprocessed: the dataset's folder in ``nnUNet_preprocessed``.
        plans_name: name of its plans.
        configuration: of three dimensions.
        channel: number of the image channel.

    Raises:
        FileNotFoundError: plans or preprocessed cases are missing; says which command makes them.
        ValueError: there is no such configuration or channel, or it has two dimensions.
    """
    name = preprocessed.name
    plans = _read(preprocessed / f"{plans_name}.json", remedy="nnunet_ext translate plan writes it")
    dataset_json = _read(preprocessed / "dataset.json", remedy=f"nnUNetv2_extract_fingerprint -d {name}")
    if configuration not in plans["configurations"]:
        raise ValueError(
            f"expected a configuration of {name}'s {plans_name}, got {configuration!r}; there are "
            f"{', '.join(plans['configurations'])}"
        )
    if str(channel) not in dataset_json.get("channel_names", {}):
        raise ValueError(f"expected a channel of {name}, {dataset_json.get('channel_names')}, got {channel}")
    planned = PlansManager(plans).get_configuration(configuration)
    if len(planned.patch_size) != 3:
        raise ValueError(f"{configuration} of {name} has slices; a translation needs three dimensions")
    folder = preprocessed / planned.data_identifier
    command = f"nnUNetv2_preprocess -d {name} -plans_name {plans_name} -c {configuration} -np 2"
    if not folder.is_dir():
        raise FileNotFoundError(f"expected preprocessed images in {folder}; type {command}")
    found = infer_dataset_class(str(folder)).get_identifiers(str(folder)) if any(folder.iterdir()) else []
    cases = tuple(sorted(set(found) - synthetic_cases(dataset_json)))
    if not cases:
        raise FileNotFoundError(f"expected a preprocessed image of a patient in {folder}, got none")
    return Domain(name, folder, cases, plans, configuration, dataset_json, channel)


def check_pair(mr: Domain, ct: Domain) -> None:
    """Refuse two datasets whose patches do not show the same piece of the world.

    Raises:
        ValueError: the target is no CT or the source is one, or spacing, patch or axes differ.
    """
    if not ct.is_ct:
        raise ValueError(
            f"expected CT as the target, got channel {ct.channel_name!r} of {ct.name}, which is not "
            f"normalized by {_CT}; name the channel CT in its dataset.json and plan again"
        )
    if mr.is_ct:
        raise ValueError(f"expected MRI as the source, got CT: channel {mr.channel_name!r} of {mr.name}")
    pairs = {
        "spacing (mm)": (mr.spacing_mm, ct.spacing_mm),
        "patch size": (mr.patch_size, ct.patch_size),
        "transpose_forward": (
            tuple(mr.plans_manager.transpose_forward),
            tuple(ct.plans_manager.transpose_forward),
        ),
    }
    for what, (of_mr, of_ct) in pairs.items():
        if any(abs(a - b) > 1e-3 * abs(b) for a, b in zip(of_mr, of_ct, strict=True)):
            raise ValueError(
                f"expected the same {what} in both, got {of_mr} in {mr.name} and {of_ct} in {ct.name}; "
                "nnunet_ext translate plan makes plans that agree"
            )


def _read(file: Path, *, remedy: str) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(f"expected {file}; {remedy}")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
