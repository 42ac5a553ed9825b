"""Folds that the dataset's splits have, and no others."""

from __future__ import annotations

import json
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

# What nnU-Net makes where a dataset has no splits.
DEFAULT_FOLDS = 5


class KnownFolds(nnUNetTrainer):
    """Refuses a fold beyond ``splits_final.json``.

    There nnU-Net draws a random split of the cases, in which one patient may stand on both sides, and two
    folds may validate the same cases.
    """

    def do_split(self) -> tuple[list[str], list[str]]:
        """As nnU-Net's.

        Raises:
            ValueError: the splits have no such fold.
        """
        file = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
        folds = len(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else DEFAULT_FOLDS
        if isinstance(self.fold, int) and self.fold >= folds:
            raise ValueError(
                f"expected a fold from 0 to {folds - 1}, as {file} has them, or all; got {self.fold}. "
                "nnU-Net would draw a random split of the cases, with patients on both sides"
            )
        split: tuple[list[str], list[str]] = super().do_split()
        return split
