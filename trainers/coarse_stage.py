"""The coarse stage: nnU-Net's first stage of a cascade, with a record beside each of its predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnunet_ext.trainers.adapters import checkpoint_keys, predictor_class
from nnunet_ext.trainers.coarse_folds import NEXT_STAGE_FOLDER
from nnunet_ext.trainers.stages import StagedTrainer
from nnunetv2.training.dataloading.nnunet_dataset import file_ending_dataset_mapping, infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_ext.cascade.model import CHECKPOINT_KEY, TRAINED_ON, stored_in
from nnunet_ext.cascade.records import CoarseRecord, cases_of, fingerprint, record_file, save_record
from nnunet_ext.files import checksum
from nnunet_ext.inference.in_training import PlanePredictor

UNKNOWN = "unknown"  # in the place of fingerprints, where a checkpoint has none


class CoarseStage(StagedTrainer):
    """Writes a record beside each coarse prediction, and lets no model that saw all cases write any."""

    checkpoint_file: str = ""
    # Fingerprints of all cases that the weights were trained on, whatever the splits say by now.
    trained_on: frozenset[str] = frozenset()

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """As nnU-Net's; notes what is trained on."""
        training, validation = super().get_tr_and_val_datasets()
        self.trained_on |= {fingerprint(case) for case in training.identifiers}
        return training, validation

    def save_checkpoint(self, filename: str) -> None:
        """As nnU-Net's; remembers the final one, and keeps in each what it was trained on."""
        keys = {CHECKPOINT_KEY: {TRAINED_ON: sorted(self.trained_on)}} if self.stage == "coarse" else {}
        with checkpoint_keys(keys):
            super().save_checkpoint(filename)
        if not self.disable_checkpointing:
            self.checkpoint_file = filename

    def load_checkpoint(self, filename_or_checkpoint: dict[str, object] | str) -> None:
        """As nnU-Net's; remembers which, since ``--val_best`` validates another one."""
        super().load_checkpoint(filename_or_checkpoint)
        self.checkpoint_file = filename_or_checkpoint if isinstance(filename_or_checkpoint, str) else ""
        if self.stage == "coarse":
            stored = stored_in(self.checkpoint_file) if self.checkpoint_file else {}
            self.trained_on = frozenset(stored.get(TRAINED_ON, [UNKNOWN]))

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """As nnU-Net's, with records; fold ``all`` leaves nothing for the next stage."""
        if self.stage != "coarse":
            super().perform_actual_validation(save_probabilities)
            return
        if self.fold == "all":
            self.print_to_log_file(
                "Fold all saw every case: it leaves no predictions for the next stage, which uses those of "
                "the five folds"
            )
            with self.configured_as(_without_next_stage(self.configuration_manager)):
                self._validate(save_probabilities)
            return
        expected, predicted = self.do_split()
        # An interrupted validation leaves no record of a prediction that it overwrote.
        for folder in self._next_stage_folders():
            for case in predicted:
                if self.local_rank == 0:
                    record_file(folder, case).unlink(missing_ok=True)
        self._validate(save_probabilities)
        if UNKNOWN in self.trained_on:
            self.print_to_log_file(
                "The checkpoint does not say which cases it was trained on: its predictions get no record, "
                "and the fine stage refuses them. Train again: "
                f"{self.train_command(self.configuration_name)}"
            )
            return
        training_cases = cases_of(
            self.trained_on, self.dataset_class.get_identifiers(self.preprocessed_dataset_folder)
        )
        if set(training_cases) != set(expected):
            self.print_to_log_file(
                "This fold was trained on other cases than splits_final.json has now: the fine stage refuses "
                f"its predictions. Train again: {self.train_command(self.configuration_name)}"
            )
        if self.local_rank == 0:
            self._save_records(training_cases, predicted)

    def _validate(self, save_probabilities: bool) -> None:
        # By the arithmetic of `nnunet_ext predict`: the fine stage is to look where it looked in training.
        with predictor_class(PlanePredictor):
            super().perform_actual_validation(save_probabilities)

    def _save_records(self, training_cases: tuple[str, ...], predicted: list[str]) -> None:
        checkpoint = Path(self.checkpoint_file) if self.checkpoint_file else None
        checkpoint_sha256 = checksum(checkpoint) if checkpoint is not None and checkpoint.is_file() else ""
        for name, folder in zip(self._next_stages(), self._next_stage_folders(), strict=True):
            ending = self._ending(name)
            for case in predicted:
                prediction = folder / f"{case}{ending}"
                if not prediction.is_file():
                    continue  # nnU-Net has said why
                record = CoarseRecord(
                    case=case,
                    trainer=type(self).__name__,
                    plans=self.plans_manager.plans_name,
                    configuration=self.configuration_name,
                    fold=int(self.fold),
                    training_cases=training_cases,
                    checkpoint_sha256=checkpoint_sha256,
                    prediction_sha256=checksum(prediction),
                )
                save_record(record, folder)

    def _next_stages(self) -> list[str]:
        return list(self.configuration_manager.next_stage_names or [])

    def _next_stage_folders(self) -> list[Path]:
        return [Path(self.output_folder_base) / NEXT_STAGE_FOLDER / name for name in self._next_stages()]

    def _ending(self, next_stage: str) -> str:
        """Of the predictions' files: nnU-Net writes them as the next stage's data are stored."""
        configuration = self.plans_manager.get_configuration(next_stage)
        folder = Path(self.preprocessed_dataset_folder_base) / configuration.data_identifier
        return ending_of(infer_dataset_class(str(folder)))


def ending_of(dataset_class: type) -> str:
    """File ending of what one of nnU-Net's dataset classes stores, with the dot."""
    return next(f".{ending}" for ending, cls in file_ending_dataset_mapping.items() if cls is dataset_class)


def _without_next_stage(configuration: ConfigurationManager) -> ConfigurationManager:
    kept = {key: value for key, value in configuration.configuration.items() if key != "next_stage"}
    return ConfigurationManager(kept)
