"""The fine stage: trains where the coarse stage says to look; validates with the predictor of deployment."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nnunet_ext.trainers.adapters import checkpoint_keys, loader_class, predictor_class
from nnunet_ext.trainers.case_data import DatasetWithCaseData
from nnunet_ext.trainers.coarse_folds import (
    coarse_candidates,
    find_coarse_folds,
    shared_name,
)
from nnunet_ext.trainers.coarse_stage import ending_of
from nnunet_ext.trainers.fine_reports import FineReports, Watched
from nnunet_ext.trainers.proposal_loader import SAMPLING, ProposalLoader, with_annotation
from nnunetv2.configuration import default_num_processes
from torch import distributed

from nnunet_ext.cascade.cache import cached_proposals
from nnunet_ext.cascade.model import CHECKPOINT_KEY, COARSE_TRAINER, coarse_trainer_in
from nnunet_ext.cascade.predictor import ProposalPredictor
from nnunet_ext.cascade.proposals import Proposed
from nnunet_ext.cascade.records import LeakError, require_out_of_fold
from nnunet_ext.cascade.resampling import ResamplesProbabilities
from nnunet_ext.cascade.settings import Proposals, settings_of


class FineStage(FineReports):
    """Checks the coarse predictions, proposes patches from them, trains there and validates there.

    Attributes:
        proposals: how patches are proposed, of the plans, dataset.json or the kind's defaults.
        coarse_folds: whose coarse predictions are used.
    """

    proposals: Proposals

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net's signature; it reads these names
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.stage != "fine":
            return
        self.oversample_foreground_percent = SAMPLING.foreground
        self.proposals = settings_of(
            self.configuration_manager.configuration, kind=self.kind, dataset_json=self.dataset_json
        )
        self._use_coarse_folds_of(*coarse_candidates(type(self).__name__, self.coarse_trainer))

    def _use_coarse_folds_of(self, *candidates: str) -> None:
        self.coarse_folds = find_coarse_folds(
            Path(self.output_folder_base).parent,
            candidates,
            plans=self.plans_manager.plans_name,
            coarse=self.configuration_manager.previous_stage_name,
            fine=self.configuration_name,
        )
        self.folder_with_segs_from_previous_stage = str(self.coarse_folds.folder)

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint, with the name of the coarse trainer."""
        if self.stage != "fine":
            super().save_checkpoint(filename)
            return
        with checkpoint_keys({CHECKPOINT_KEY: {COARSE_TRAINER: self.coarse_folds.trainer}}):
            super().save_checkpoint(filename)

    def load_checkpoint(self, filename_or_checkpoint: dict[str, object] | str) -> None:
        """As nnU-Net's; stays with the coarse trainer that the training began with."""
        super().load_checkpoint(filename_or_checkpoint)
        if self.stage != "fine" or not isinstance(filename_or_checkpoint, str):
            return
        trainer = coarse_trainer_in(filename_or_checkpoint)
        if trainer is not None and trainer != self.coarse_folds.trainer:
            self._use_coarse_folds_of(trainer)
            self.print_to_log_file(f"Coarse predictions: those of {trainer}, as this training began")

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """nnU-Net's, whose cases bring the windows that are proposed for them.

        Raises:
            LeakError: a coarse prediction is missing, or its model may have seen the case.
        """
        training, validation = super().get_tr_and_val_datasets()
        if self.stage != "fine":
            return training, validation
        self.require_coarse_predictions({*training.identifiers, *validation.identifiers})
        found = {}
        for dataset in (training, validation):
            found.update(self._proposed(dataset, dataset.identifiers))
        if self.local_rank == 0:
            self.report_proposals(training, validation, found)
        return self._with_windows(training, found), self._with_windows(validation, found)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's, of the loader that draws proposals."""
        if self.stage != "fine":
            coarse: tuple[Any, Any] = super().get_dataloaders()
            return coarse
        with loader_class(ProposalLoader):
            loaders: tuple[Any, Any] = super().get_dataloaders()
        return loaders

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's, with the predictor of deployment, and a report of both stages.

        Raises:
            LeakError: as in training.
        """
        if self.stage != "fine":
            super().perform_actual_validation(save_probabilities)
            return
        _, cases = self.do_split()
        self.require_coarse_predictions(cases)
        cases = sorted(cases[self.local_rank :: distributed.get_world_size()] if self.is_ddp else cases)
        dataset = self.dataset_class(
            self.preprocessed_dataset_folder,
            list(cases),
            folder_with_segs_from_previous_stage=self.folder_with_segs_from_previous_stage,
        )
        watched = Watched(self, dataset, cases, expected=self._proposed(dataset, cases))
        view = ResamplesProbabilities(
            self.configuration_manager.configuration, has_regions=self.label_manager.has_regions
        )
        predictor = partial(ProposalPredictor, proposals=self.proposals, observer=watched)
        with predictor_class(predictor), self.configured_as(view):
            super().perform_actual_validation(save_probabilities)
        self.report_validation(watched.reports)

    def require_coarse_predictions(self, cases: Iterable[str]) -> None:
        """Every case has a coarse prediction, by a model that did not see it, of the splits as they are.

        Raises:
            LeakError: with what to type.
        """
        splits = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
        command = self.train_command(
            self.configuration_manager.previous_stage_name, trainer=self._coarse_in_use()
        )
        if not splits.is_file():
            raise LeakError(
                f"there is no {splits}: the coarse stage makes it. Type, for every fold, {command}"
            )
        folds = json.loads(splits.read_text(encoding="utf-8"))
        require_out_of_fold(
            self.coarse_folds.folder,
            cases,
            ending=ending_of(self.dataset_class),
            command=command,
            training_cases={number: fold["train"] for number, fold in enumerate(folds)},
        )
        self.print_to_log_file(f"Coarse predictions: out of fold, by {self._coarse_in_use()}")

    def _coarse_in_use(self) -> str:
        """The trainer whose coarse folds are used; where there are none, the one to train."""
        named = shared_name(type(self).__name__, self.coarse_trainer)
        return self.coarse_folds.trainer if self.coarse_folds.is_there else named

    def _proposed(self, dataset: Any, cases: Iterable[str]) -> dict[str, Proposed]:
        """The windows of cases; one process of several computes what is not there yet."""
        if self.is_ddp and self.local_rank != 0:
            distributed.barrier()
        found = cached_proposals(
            dataset,
            cases,
            folder=self.coarse_folds.folder,
            ending=ending_of(self.dataset_class),
            settings=self.proposals,
            size=self.configuration_manager.patch_size,
            processes=default_num_processes,
        )
        if self.is_ddp and self.local_rank == 0:
            distributed.barrier()
        return found

    def _with_windows(self, dataset: Any, proposed: Mapping[str, Proposed]) -> DatasetWithCaseData:
        windows = {name: proposed[name].windows for name in dataset.identifiers}
        if self.label_manager.has_ignore_label:
            annotated = (-1, *self.label_manager.all_labels)
            for name, held in windows.items():
                locations = dataset.load_case(name)[3]["class_locations"]
                windows[name] = with_annotation(held, locations, annotated=annotated)
        return DatasetWithCaseData(dataset, windows)
