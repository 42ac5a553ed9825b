"""Preprocessed data that plans of one dataset share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import load_json

from nnunet_ext.presets import INTENSITY

logger = logging.getLogger(__name__)

# Preprocessed data depend on these fields of a configuration and of the plans, and on nothing else in them.
DATA_FIELDS = (
    "preprocessor_name",
    "spacing",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
    "resampling_fn_seg",
    "resampling_fn_seg_kwargs",
)
PLANS_DATA_FIELDS = (
    "transpose_forward",
    "image_reader_writer",
    INTENSITY,
)


@dataclass(frozen=True)
class PlansBeside:
    """The plans that a dataset has already.

    Attributes:
        folder: of the dataset's plans and preprocessed data.
        plans: what is in the files.
        cases: for training.
    """

    folder: Path
    plans: tuple[dict[str, Any], ...]
    cases: int

    @classmethod
    def of(cls, file: Path, *, cases: int) -> PlansBeside:
        """Those beside ``file``; one that cannot be read is named in the log and left out."""
        found = []
        for other in sorted(file.parent.glob("*.json")):
            try:
                content = load_json(str(other))
            except ValueError as error:
                logger.warning("%s cannot be read and is left out: %s", other, error)
                continue
            is_plans = isinstance(content, dict) and isinstance(content.get("configurations"), dict)
            if is_plans and other != file:
                found.append(content)
        return cls(file.parent, tuple(found), cases)

    def share_data(self, plans: dict[str, Any], name: str) -> None:
        """Point a configuration at the preprocessed data of other plans where they would be the same.

        Where they would not, it gets a folder that no other plans name: nnU-Net's preprocessing empties it.

        Args:
            plans: changed in place.
            name: of the configuration.
        """
        own = plans["configurations"][name]
        for other in self.plans:
            if any(other.get(field) != plans[field] for field in PLANS_DATA_FIELDS):
                continue
            for configuration in other["configurations"].values():
                if all(configuration.get(field) == own[field] for field in DATA_FIELDS):
                    own["data_identifier"] = configuration["data_identifier"]
                    return
        planned, number = own["data_identifier"], 1
        while self._name(own["data_identifier"]):
            number += 1
            own["data_identifier"] = f"{planned}{number}"

    def has_data(self, data_identifier: str) -> bool:
        """The folder belongs to one of the plans, and every case is in it.

        A folder that none of them names was left behind by plans that somebody deleted, and holds who knows
        what.
        """
        cases = list((self.folder / data_identifier).glob("*.pkl"))
        return self._name(data_identifier) and len(cases) >= self.cases

    def _name(self, data_identifier: str) -> bool:
        return any(
            configuration.get("data_identifier") == data_identifier
            for other in self.plans
            for configuration in other["configurations"].values()
        )
