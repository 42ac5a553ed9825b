"""What a cascade's fine stage reports of both stages, before training and after validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet_ext.trainers.cascade_report import (
    CaseReport,
    Label,
    ceilings,
    mean_of,
    report_of,
    write_report,
)
from nnunet_ext.trainers.coarse_folds import CoarseFolds
from nnunet_ext.trainers.stages import StagedTrainer
from torch import distributed
from tqdm import tqdm

from nnunet_ext.cascade.proposals import Proposed

PROPOSALS_REPORT = "proposals.json"
VALIDATION_REPORT = "cascade_validation.json"


class FineReports(StagedTrainer):
    """Reports to the log and to files in the fold's folder.

    Attributes:
        coarse_folds: whose coarse predictions are used.
    """

    coarse_folds: CoarseFolds

    @property
    def reported_labels(self) -> list[Label]:
        """Foreground labels, or regions."""
        labels = self.label_manager
        return list(labels.foreground_regions if labels.has_regions else labels.foreground_labels)

    def _facts(self) -> dict[str, Any]:
        coarse_trainer = self.coarse_folds.trainer
        return {"trainer": type(self).__name__, "fold": self.fold, "coarse_trainer": coarse_trainer}

    def report_proposals(self, training: Any, validation: Any, found: Mapping[str, Proposed]) -> None:
        """How many windows, and how much of the reference lies in them: log, and a file beside it."""
        reports: dict[str, CaseReport] = {}
        sources = {name: dataset for dataset in (training, validation) for name in dataset.identifiers}
        for name, dataset in tqdm(sorted(sources.items()), desc="Recall of proposals"):
            reference = np.asarray(dataset.load_case(name)[1][0])
            reports[name] = ceilings(
                reference,
                found[name],
                labels=self.reported_labels,
                ignore=self.label_manager.ignore_label,
            )
        groups = {"training": training.identifiers, "validation": validation.identifiers}
        write_report(Path(self.output_folder) / PROPOSALS_REPORT, reports, facts=self._facts(), groups=groups)
        for name, report in reports.items():
            recall = mean_of({name: report})["recall_ceiling"]
            self.print_to_log_file(
                f"{name}: {report.windows} windows, recall ceiling {recall:.4f}{_said_of_empty(report)}",
                also_print_to_console=False,
            )
        for group, names in groups.items():
            chosen = {name: reports[name] for name in names}
            self.print_to_log_file(
                f"Proposals of {len(chosen)} {group} cases: "
                f"{np.mean([r.windows for r in chosen.values()]):.1f} windows a case, recall ceiling "
                f"{mean_of(chosen)['recall_ceiling']:.4f}, nothing found in "
                f"{sum(bool(r.coarse_empty) for r in chosen.values())} cases"
            )

    def report_validation(self, reports: dict[str, CaseReport]) -> None:
        """Both stages, case by case: log, and a file beside it."""
        if self.is_ddp:
            gathered: list[Any] = [None] * distributed.get_world_size()
            distributed.all_gather_object(gathered, reports)
            reports = {name: report for part in gathered for name, report in part.items()}
        if self.local_rank != 0:
            return
        write_report(
            Path(self.output_folder) / VALIDATION_REPORT,
            reports,
            facts=self._facts(),
            groups={"validation": list(reports)},
        )
        for name, report in reports.items():
            mean = mean_of({name: report})
            self.print_to_log_file(
                f"{name}: {report.windows} windows, recall ceiling {mean['recall_ceiling']:.4f}, Dice in "
                f"windows {mean['dice_in_windows']:.4f}, Dice {mean['dice']:.4f}{_said_of_empty(report)}"
            )
        mean = mean_of(reports)
        self.print_to_log_file(
            f"Stage one finds (recall ceiling) {mean['recall_ceiling']:.4f}; stage two, where it looks, "
            f"reaches Dice {mean['dice_in_windows']:.4f}; both together {mean['dice']:.4f}"
        )


def _said_of_empty(report: CaseReport) -> str:
    return f", coarse_empty: {', '.join(report.coarse_empty)}" if report.coarse_empty else ""


class Watched:
    """Compares each prediction of the validation, which come in the order of nnU-Net's dataset.

    That the order is what we think is checked: a case must have the windows that are kept for it.

    Args:
        trainer: that validates.
        dataset: of nnU-Net, with the references.
        cases: names, in order.
        expected: what was proposed for them.
    """

    def __init__(
        self, trainer: FineReports, dataset: Any, cases: Sequence[str], *, expected: Mapping[str, Proposed]
    ) -> None:
        self.trainer = trainer
        self.dataset = dataset
        self.cases = iter(cases)
        self.expected = expected
        self.reports: dict[str, CaseReport] = {}

    def __call__(self, proposed: Proposed, probabilities: torch.Tensor) -> None:
        """Told by the predictor."""
        name = next(self.cases)
        windows, expected = proposed.windows, self.expected[name].windows
        if windows.shape != expected.shape or not np.array_equal(windows.origins, expected.origins):
            raise RuntimeError(f"{name}: expected the windows of training, got others: remove its proposals")
        labels = self.trainer.label_manager
        reference = np.asarray(self.dataset.load_case(name)[1][0])
        self.reports[name] = report_of(
            reference,
            np.asarray(labels.convert_probabilities_to_segmentation(probabilities.cpu())),
            proposed,
            labels=self.trainer.reported_labels,
            ignore=labels.ignore_label,
        )
