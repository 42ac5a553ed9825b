"""A translation's folder: what it was trained on, its networks, and what real CT looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

import nnunet_ext
from nnunet_ext.files import checksum, write_text
from nnunet_ext.translation.domains import Domain, Window
from nnunet_ext.translation.facts import Gathered
from nnunet_ext.translation.generators import new_generator
from nnunet_ext.translation.settings import Settings
from nnunet_ext.translation.target import TargetStatistics
from nnunet_ext.weights import save_weights

RECORD, PLANS, DATASET, TARGET = "translation.json", "plans.json", "dataset.json", "target_statistics.json"
TO_CT, TO_MR = "generator.safetensors", "generator_back.safetensors"
FORMAT = 2
WARNING = (
    "Synthetic CT is for training networks. It shows what a network imagined: never use it for diagnosis, "
    "treatment planning or dose."
)


@dataclass(frozen=True)
class TranslationModel:
    """A trained translation.

    Attributes:
        folder: where it lies.
        record: content of ``translation.json``.
        settings: how it was trained.
        window: HU of -1 and 1.
        plans: of the MR dataset; MR is preprocessed by them.
        dataset_json: of the MR dataset.
        generator: MR to CT, in eval mode.
        target: what the real CT of the training looks like.
    """

    folder: Path
    record: Mapping[str, Any]
    settings: Settings
    window: Window
    plans: Mapping[str, Any]
    dataset_json: Mapping[str, Any]
    generator: nn.Module
    target: TargetStatistics

    @property
    def plans_manager(self) -> PlansManager:
        """nnU-Net's, of the MR dataset."""
        return PlansManager(dict(self.plans))

    @property
    def configuration_manager(self) -> Any:
        """nnU-Net's."""
        return self.plans_manager.get_configuration(self.record["configuration"])

    @property
    def patch_size(self) -> tuple[int, ...]:
        """That it was trained with."""
        return tuple(self.record["patch_size"])

    @property
    def is_complete(self) -> bool:
        """It was trained to the end."""
        return int(self.record["steps_done"]) >= self.settings.steps

    def identity(self) -> dict[str, Any]:
        """Everything that decides about a translation, for the record of what it made."""
        return {name: checksum(self.folder / name) for name in (RECORD, PLANS, DATASET, TO_CT)}


def load_model(folder: Path) -> TranslationModel:
    """Load a translation; nothing in its folder is executed.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or made by another version.
    """
    for name in (RECORD, PLANS, DATASET, TARGET, TO_CT):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"expected a trained translation in {folder}, there is no {name}; "
                "nnunet_ext translate train writes it"
            )
    try:
        record, plans, dataset_json, target = (
            load_json(str(folder / name)) for name in (RECORD, PLANS, DATASET, TARGET)
        )
        if record["format"] != FORMAT:
            raise ValueError(
                f"expected format {FORMAT} in {folder / RECORD}, got {record['format']}: use the nnunet_ext "
                "that wrote it, or train again"
            )
        settings = Settings.from_json(record["settings"])
        generator = new_generator(settings).eval()
        generator.load_state_dict(load_file(folder / TO_CT))
        window = Window(**record["target"]["window"])
        statistics = TargetStatistics.from_json(target)
    except (KeyError, TypeError, RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{folder} is no translation that can be read ({error}); copy or train it again"
        ) from error
    return TranslationModel(folder, record, settings, window, plans, dataset_json, generator, statistics)


def describe(
    mr: Domain, ct: Domain, gathered: Sequence[Gathered], *, settings: Settings, patch_size: Sequence[int]
) -> dict[str, Any]:
    """What ``translation.json`` says before the first step; what must be the same to go on."""
    sides: dict[str, dict[str, Any]] = {}
    for side, domain, found in zip(("source", "target"), (mr, ct), gathered, strict=True):
        spacings = [f.spacing_mm for f in found.facts]
        sides[side] = {
            "dataset": domain.name,
            "channel": domain.channel,
            "channel_name": domain.channel_name,
            "cases": [f.case for f in found.facts],
            "refused": dict(found.refused),
            "smallest_spacing_mm": [min(s) for s in zip(*spacings, strict=True)],
            "largest_spacing_mm": [max(s) for s in zip(*spacings, strict=True)],
        }
    sides["target"]["window"] = asdict(ct.window)
    return {
        "format": FORMAT,
        "warning": WARNING,
        **sides,
        "plans_name": mr.plans["plans_name"],
        "configuration": mr.configuration,
        "spacing_mm": list(mr.spacing_mm),
        "patch_size": list(patch_size),
        "settings": json.loads(json.dumps(asdict(settings))),
    }


def begin(
    folder: Path, description: Mapping[str, Any], *, mr: Domain, ct: Domain, target: TargetStatistics
) -> None:
    """Write what is known before the first step, or check that it is what the folder holds.

    Raises:
        ValueError: the folder holds another translation.
    """
    file = folder / RECORD
    if file.is_file():
        there = json.loads(file.read_text(encoding="utf-8"))
        if changed := sorted(key for key in description if there.get(key) != description[key]):
            raise ValueError(
                f"{folder} holds another translation: {', '.join(changed)} differ. Give another --out, or "
                "remove that folder"
            )
        return
    for name, content in ((PLANS, mr.plans), (DATASET, mr.dataset_json), (TARGET, target.to_json())):
        write_text(folder / name, json.dumps(content, indent=2) + "\n")
    write_text(folder / "plans_of_ct.json", json.dumps(ct.plans, indent=2) + "\n")
    write_record(folder, description, steps_done=0)


def write_record(folder: Path, description: Mapping[str, Any], *, steps_done: int) -> None:
    """Write ``translation.json``."""
    made_by = {
        "nnunet_ext": nnunet_ext.__version__,
        "nnunetv2": version("nnunetv2"),
        "torch": torch.__version__,
    }
    content = {**description, "steps_done": steps_done, "made_by": made_by}
    write_text(folder / RECORD, json.dumps(content, indent=2) + "\n")


def write_generators(folder: Path, *, to_ct: nn.Module, to_mr: nn.Module) -> None:
    """Write both generators, for what applies them."""
    save_weights(to_ct, folder / TO_CT)
    save_weights(to_mr, folder / TO_MR)
