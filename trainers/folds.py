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
            ValueError: the splits have no such fold, or there are too few cases to make splits of.
        """
        file = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
        folds = len(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else DEFAULT_FOLDS
        if isinstance(self.fold, int) and not 0 <= self.fold < folds:
            raise ValueError(
                f"expected a fold from 0 to {folds - 1}, as {file} has them, or all; got {self.fold}. "
                "nnU-Net would draw a random split of the cases, with patients on both sides"
            )
        try:
            split: tuple[list[str], list[str]] = super().do_split()
        except ValueError as error:
            if file.is_file():
                raise
            raise ValueError(
                f"expected at least {DEFAULT_FOLDS} cases, of which nnU-Net makes as many folds ({error}); "
                f"train the fold all, or write splits of your own to {file}"
            ) from error
        return split
