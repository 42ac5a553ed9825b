"""A run over many cases: prepared ahead, predicted, exported behind; a bad case fails alone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nnunet_ext.files import write_text
from nnunet_ext.inference.cases import CaseError, CaseFiles, PreparedCase, prepare_case
from nnunet_ext.inference.export import ProbabilityVolume, write_labels
from nnunet_ext.inference.memory import PeakMemory, peak_memory_mib
from nnunet_ext.inference.predictor import CasePredictor, Prediction
from nnunet_ext.inference.records import OutputFolder
from nnunet_ext.inference.report import CaseReport, RunReport
from nnunet_ext.inference.work_folder import work_folder
from nnunet_ext.inference.worker import PreparationWorker

logger = logging.getLogger(__name__)


def predict_cases(
    predictor: CasePredictor,
    cases: Sequence[CaseFiles],
    *,
    output: Path,
    probabilities: bool = False,
    overwrite: bool = False,
    arguments: dict[str, Any] | None = None,
    worker: bool = True,
    progress: bool = False,
) -> RunReport:
    """Predict cases into a folder, as ``nnUNetv2_predict`` does.

    Finished cases are skipped. Beside the label maps come nnU-Net's ``dataset.json``, ``plans.json`` and
    ``predict_from_raw_data_args.json``, which its postprocessing and ensembling read, and a record of where
    each label map came from.

    Args:
        predictor: of one model, or of a cascade.
        cases: to predict.
        output: folder; made if missing.
        probabilities: also write nnU-Net's ``.npz`` and ``.pkl``.
        overwrite: predict finished cases again, whatever they come from.
        arguments: of the command, for ``predict_from_raw_data_args.json``.
        worker: preprocess in a process of its own.
        progress: show a bar of cases.

    Returns:
        Report of all cases. It has failed ones where a case could not be predicted.

    Raises:
        ValueError: a label map would be written over an image.
        OtherResultsError: the folder holds results of another model or other settings.
        FolderInUseError: another run writes to the folder.
        OSError: the folder cannot be written to.
    """
    start = time.perf_counter()
    model = predictor.model
    settings: dict[str, Any] = json.loads(json.dumps(predictor.record()))
    folder = OutputFolder(output, model.file_ending, settings, probabilities)
    folder.require_apart_from(cases)
    with work_folder(output) as work:
        done = set() if overwrite else folder.finished(cases)
        _write_descriptions(output, predictor=predictor, arguments=arguments or {})
        reports = {name: CaseReport(name, "skipped") for name in done}
        run = _Run(predictor, folder=folder, work=work)
        left = [case for case in cases if case.name not in done]
        peak = run.all(left, reports, worker=worker, progress=progress)
    return RunReport(
        tuple(reports[name] for name in sorted(reports)), time.perf_counter() - start, peak, settings
    )


class _Run:
    """One run: the network in this thread, preprocessing in a process, export in a thread."""

    def __init__(self, predictor: CasePredictor, *, folder: OutputFolder, work: Path) -> None:
        self.predictor = predictor
        self.folder = folder
        self.work = work
        self.preparation = predictor.preparation

    def all(
        self, cases: Sequence[CaseFiles], reports: dict[str, CaseReport], *, worker: bool, progress: bool
    ) -> dict[str, float | None]:
        """Predict all; puts a report of each into ``reports``. Returns the peaks of memory in MiB."""
        exports: list[tuple[CaseFiles, Future[CaseReport]]] = []
        with (
            PreparationWorker(self.preparation, self.work) as preparer,
            ThreadPoolExecutor(1, "export") as exporter,
            tqdm(total=len(cases), disable=not progress, unit="case") as bar,
        ):
            prepared = self._prepared(cases, preparer if worker else None)
            for case, get in prepared:
                try:
                    ready = get()
                    with PeakMemory() as held:
                        prediction, volume = self._predict(ready)
                except CaseError as error:
                    self.folder.discard(case.name)
                    reports[case.name] = _failure(case, error)
                else:
                    _finish(exports, reports)  # at most one waits: each holds a label map
                    # Without the image: memory of one is enough.
                    peaks = {"preprocessing": ready.peak_memory_mib, "network": held.mib}
                    about = (ready.properties, ready.seconds, prediction, volume, peaks)
                    exports.append((case, exporter.submit(self._export, case, *about)))
                    del about, ready, prediction, volume
                bar.update()
            _finish(exports, reports)
            return {"network": peak_memory_mib(), "preprocessing": preparer.peak_memory_mib}

    def _prepared(
        self, cases: Sequence[CaseFiles], preparer: PreparationWorker | None
    ) -> Iterator[tuple[CaseFiles, Callable[[], PreparedCase]]]:
        """Cases with a function that waits for each; the next is begun as soon as one was taken."""
        if preparer is None:
            for case in cases:
                yield case, lambda case=case: prepare_case(case, self.preparation)  # type: ignore[misc]
            return
        if cases:
            preparer.submit(cases[0])
        for number, case in enumerate(cases):

            def take(case: CaseFiles = case, number: int = number) -> PreparedCase:
                try:
                    return preparer.take(case)
                finally:
                    if number + 1 < len(cases):
                        preparer.submit(cases[number + 1])
                    else:
                        preparer.close()

            yield case, take

    def _predict(self, case: PreparedCase) -> tuple[Prediction, ProbabilityVolume | None]:
        volume: ProbabilityVolume | None = None
        file = self.work / f"probabilities-{case.files.name}.npy"
        try:
            if self.folder.probabilities:
                volume = ProbabilityVolume(file, model=self.predictor.model, properties=case.properties)
            return self.predictor.predict(case, probabilities=volume), volume
        except CaseError:
            raise
        except (MemoryError, torch.cuda.OutOfMemoryError) as error:
            raise CaseError(f"memory ran out in the network ({error})", "try --device cpu") from error
        except Exception as error:  # one case's, whatever it is; the others go on
            logger.debug("%s", case.files.name, exc_info=True)
            raise CaseError(
                f"the network or the resampling failed ({type(error).__name__}: {error})",
                "look at the image's size and spacing; report it if they are as expected",
            ) from error

    def _export(
        self,
        case: CaseFiles,
        properties: dict[str, Any],
        preparation_seconds: float,
        prediction: Prediction,
        volume: ProbabilityVolume | None,
        peaks: dict[str, float | None],
    ) -> CaseReport:
        start = time.perf_counter()
        name = case.name
        self.folder.begin(case)
        if volume is not None:
            volume.save(self.folder.probability_file(name))
        write_labels(
            prediction.labels,
            self.folder.label_file(name),
            model=self.predictor.model,
            properties=properties,
        )
        seconds = {
            "preprocessing": preparation_seconds,
            **prediction.seconds,
            "export": time.perf_counter() - start,
        }
        return CaseReport(
            name,
            "done",
            {part: round(value, 3) for part, value in seconds.items()},
            prediction.tiles,
            prediction.constant_tiles,
            prediction.notes,
            peak_memory_mib={part: value and round(value, 1) for part, value in peaks.items()},
        )


def _finish(exports: list[tuple[CaseFiles, Future[CaseReport]]], reports: dict[str, CaseReport]) -> None:
    """Wait for exports that were begun."""
    while exports:
        case, export = exports.pop()
        try:
            reports[case.name] = export.result()
        except Exception as error:  # a full disk, a writer that refuses: this case's alone
            logger.debug("%s", case.name, exc_info=True)
            reason = f"it could not be written ({type(error).__name__}: {error})"
            reports[case.name] = _failure(case, CaseError(reason, "look at the output folder and its disk"))


def _failure(case: CaseFiles, error: CaseError) -> CaseReport:
    logger.error("%s: %s", case.name, error)
    return CaseReport(case.name, "failed", reason=error.reason, remedy=error.remedy)


def _write_descriptions(output: Path, *, predictor: CasePredictor, arguments: dict[str, Any]) -> None:
    model = predictor.model
    for name, content in (
        ("dataset.json", model.dataset_json),
        ("plans.json", model.plans_manager.plans),
        ("predict_from_raw_data_args.json", {"nnunet_ext": True, **arguments}),
    ):
        write_text(output / name, json.dumps(content, indent=4, default=str) + "\n")
