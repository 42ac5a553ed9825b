"""Folds that the dataset's splits have, and no others, in which no synthetic image is validated."""

from __future__ import annotations

import json
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.synthetic import KEY, synthetic_cases

# What nnU-Net makes where a dataset has no splits.
DEFAULT_FOLDS = 5


class KnownFolds(nnUNetTrainer):
    """Refuses a fold beyond ``splits_final.json``, and keeps synthetic cases out of validation.

    There nnU-Net draws a random split of the cases, in which one patient may stand on both sides, and two
    folds may validate the same cases. Fold ``all`` validates what it trains on, without synthetic cases.
    """

    def do_split(self) -> tuple[list[str], list[str]]:
        """As nnU-Net's.

        Raises:
            ValueError: the splits have no such fold, validate a synthetic case, or there are too few cases to
                make splits of.
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
        return self._without_synthetic(*split)

    def _without_synthetic(self, train: list[str], val: list[str]) -> tuple[list[str], list[str]]:
        synthetic = synthetic_cases(self.dataset_json)
        real = [case for case in val if case not in synthetic]
        if not real or (self.fold != "all" and len(real) < len(val)):
            stray = sorted(synthetic.intersection(val))
            raise ValueError(
                f"expected real cases alone to validate fold {self.fold}, got {', '.join(stray[:5])}, which "
                f"{KEY} of dataset.json names; nnunet_ext translate mix writes splits that keep them apart"
            )
        return train, real
