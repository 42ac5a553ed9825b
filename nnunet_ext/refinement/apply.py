"""A refiner over a folder of probabilities, as nnUNetv2_predict, nnUNetv2_ensemble and we write them."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nnunet_ext.evaluation.cases import label_maps
from nnunet_ext.files import write_text
from nnunet_ext.inference.cases import CaseError, CaseFiles
from nnunet_ext.inference.export import ProbabilityVolume, write_labels
from nnunet_ext.inference.records import NAME, OutputFolder
from nnunet_ext.inference.work_folder import work_folder
from nnunet_ext.refinement.case import Change, Changes, refine_case
from nnunet_ext.refinement.folder import (
    Refiner,
    RefinerError,
    require_match,
    require_plans,
    require_source,
)
from nnunet_ext.refinement.outputs import Outputs, read_json
from nnunet_ext.refinement.probabilities import open_probabilities, read_properties

logger = logging.getLogger(__name__)

REPORT = "refinement_ext.json"
# Below every certainty: no voxel may change.
_NOWHERE = 0.0


@dataclass(frozen=True)
class RefinedCase:
    """What became of a case.

    Attributes:
        name: of the case.
        status: ``"done"``, ``"skipped"`` (finished before) or ``"failed"``.
        changes: None where it failed, or was finished before without a report.
        seconds: that it took.
        reason: why it failed.
        remedy: what to do.
    """

    name: str
    status: str
    changes: Changes | None = None
    seconds: float = 0.0
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class ApplyReport:
    """What became of a folder.

    Attributes:
        refined: whether the refiner was used; False where it does not gain.
        source_known: the folder says which checkpoints predicted, and they are the refiner's.
        cases: by name.
    """

    refined: bool
    source_known: bool
    cases: tuple[RefinedCase, ...]

    @property
    def failed(self) -> tuple[RefinedCase, ...]:
        """Cases without a result."""
        return tuple(case for case in self.cases if case.status == "failed")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def apply_refiner(
    refiner: Refiner,
    source: Path,
    *,
    output: Path,
    everywhere: bool = False,
    force: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> ApplyReport:
    """Refine every case of a folder with ``.npz`` and ``.pkl`` into label maps.

    A refiner that did not gain on held-out cases changes nothing, unless forced: label maps are then the
    first network's. Finished cases are skipped.

    Args:
        refiner: the refiner.
        source: folder of probabilities.
        output: folder for label maps.
        everywhere: the refiner's answer alone, for every voxel.
        force: use a refiner that does not gain.
        probabilities: also write refined ``.npz`` and ``.pkl``.
        overwrite: refine finished cases again.
        device: where to compute.
        progress: show bars.

    Raises:
        RefinerError: the probabilities are of another model.
        OtherResultsError: the output folder holds results of something else.
        ValueError: there is nothing to refine.
        OSError: the output folder cannot be written to.
    """
    if source.resolve() == output.resolve():
        raise ValueError(f"expected another folder for results than {source}, whose label maps would be lost")
    files = sorted(source.glob("*.npz")) if source.is_dir() else []
    if not files:
        raise ValueError(
            f"expected probabilities (CASE.npz and CASE.pkl) in {source}, found none: predict with "
            "--save_probabilities"
        )
    cases = [CaseFiles(file.stem, (file, file.with_suffix(".pkl"))) for file in files]
    source_known = require_folder(refiner, source)
    use = force or refiner.gains(everywhere=everywhere)
    record = refiner.record(everywhere=everywhere) if use else {"weights_sha256": None}
    folder = OutputFolder(output, refiner.outputs.file_ending, {"refiner": record}, probabilities)
    with work_folder(output) as work:
        done = set() if overwrite else folder.finished(cases)
        earlier = _earlier(output)
        _write_descriptions(refiner.outputs, output)
        run = _Run(
            refiner,
            folder=folder,
            work=work,
            threshold=refiner.threshold(everywhere=everywhere) if use else _NOWHERE,
            device=device,
            progress=progress,
        )
        results = {name: RefinedCase(name, "skipped", earlier.get(name)) for name in done}
        results |= _without_probabilities(source, cases, file_ending=refiner.outputs.file_ending)
        left = [case for case in cases if case.name not in done]
        for case in tqdm(left, desc="Refine", unit="case", disable=not progress):
            results[case.name] = run.one(case)
            _report(use, source_known, results, output)
        return _report(use, source_known, results, output)


def _without_probabilities(
    source: Path, cases: list[CaseFiles], *, file_ending: str
) -> dict[str, RefinedCase]:
    """Cases of which there is a label map alone."""
    alone = set(label_maps(source, file_ending)) - {case.name for case in cases}
    remedy = "predict it again with --save_probabilities, or take its label map away"
    return {
        name: RefinedCase(name, "failed", reason=f"no {name}.npz beside its label map", remedy=remedy)
        for name in alone
    }


def _report(refined: bool, source_known: bool, results: dict[str, RefinedCase], output: Path) -> ApplyReport:
    """What there is to report so far, written: a run that is killed leaves that of its finished cases."""
    report = ApplyReport(refined, source_known, tuple(results[name] for name in sorted(results)))
    write_text(output / REPORT, json.dumps(report.as_dict(), indent=1) + "\n")
    return report


def require_folder(refiner: Refiner, folder: Path) -> bool:
    """Raise unless a folder's own description goes with the refiner.

    ``nnUNetv2_predict`` leaves plans and labels, from which another spacing, class order, dataset or other
    plans are seen, but not another trainer or configuration of the same plans. ``nnunet_ext predict`` leaves
    checksums.

    Args:
        refiner: the refiner.
        folder: of probabilities.

    Returns:
        Whether the folder says which checkpoints predicted.

    Raises:
        RefinerError: the folder is of another model.
    """
    dataset, plans = folder / "dataset.json", folder / "plans.json"
    if not dataset.is_file():
        raise RefinerError(
            f"expected dataset.json in {folder}, where nnU-Net puts it, found none: without it nobody knows "
            "what the probabilities are of. Copy it from the model's folder"
        )
    configuration = refiner.outputs.configuration
    used = read_json(plans) if plans.is_file() else refiner.outputs.plans  # an ensemble has none
    try:
        outputs = Outputs(used, read_json(dataset), configuration)
    except ValueError as error:
        raise RefinerError(f"{folder} does not go with the refiner in {refiner.folder}: {error}") from error
    require_match(refiner, outputs, what=f"the probabilities in {folder}")
    require_plans(refiner, used, what=f"the probabilities in {folder}")
    if not (folder / NAME).is_file():
        return False
    known = True
    for case in read_json(folder / NAME)["cases"].values():
        settings = case["settings"]
        if settings.get("refiner", {}).get("weights_sha256") is not None:
            raise RefinerError(f"the probabilities in {folder} are refined already")
        known = known and "files" in settings
        require_source(refiner, settings.get("files", {}), what=f"the model that predicted {folder}")
    return known


class _Run:
    """One run over cases."""

    def __init__(
        self,
        refiner: Refiner,
        *,
        folder: OutputFolder,
        work: Path,
        threshold: float,
        device: torch.device | str,
        progress: bool,
    ) -> None:
        self.refiner = refiner
        self.folder = folder
        self.work = work
        self.threshold = threshold
        self.device = device
        self.progress = progress

    def one(self, case: CaseFiles) -> RefinedCase:
        """Refine a case; whatever is wrong with it is its own."""
        start = time.perf_counter()
        try:
            changes = self._refine(case)
        except CaseError as error:
            return self._failure(case, error)
        except MemoryError as error:
            return self._failure(case, CaseError(f"memory ran out ({error})", "close other programs"))
        except Exception as error:  # one case's, whatever it is; the others go on
            logger.debug("%s", case.name, exc_info=True)
            reason = f"it could not be refined ({type(error).__name__}: {error})"
            return self._failure(case, CaseError(reason, "look at its files and at the disk of the output"))
        return RefinedCase(case.name, "done", changes, round(time.perf_counter() - start, 3))

    def _refine(self, case: CaseFiles) -> Changes:
        outputs = self.refiner.outputs
        file, about = case.images
        properties = read_properties(about)
        with tempfile.TemporaryDirectory(dir=self.work) as scratch:
            refined_volume = None
            if self.folder.probabilities:
                refined_volume = ProbabilityVolume(
                    Path(scratch) / "refined-volume.npy", model=outputs, properties=properties
                )
            refined = refine_case(
                open_probabilities(file, outputs=outputs, properties=properties, scratch=Path(scratch)),
                network=self.refiner.network,
                outputs=outputs,
                properties=properties,
                thresholds=(self.threshold,),
                scratch=Path(scratch),
                sink=refined_volume,
                device=self.device,
                progress=self.progress,
            )
            self.folder.begin(case)
            if refined_volume is not None:
                refined_volume.save(self.folder.probability_file(case.name))
        write_labels(
            refined.after[0], self.folder.label_file(case.name), model=outputs, properties=properties
        )
        return refined.changes(0, outputs)

    def _failure(self, case: CaseFiles, error: CaseError) -> RefinedCase:
        logger.error("%s: %s", case.name, error)
        self.folder.discard(case.name)
        return RefinedCase(case.name, "failed", reason=error.reason, remedy=error.remedy)


def _write_descriptions(outputs: Outputs, output: Path) -> None:
    """What nnU-Net's postprocessing, ensembling and evaluation read."""
    for name, content in (("dataset.json", outputs.dataset_json), ("plans.json", outputs.plans)):
        write_text(output / name, json.dumps(content, indent=4) + "\n")


def _earlier(output: Path) -> dict[str, Changes]:
    """Changes of cases that were finished before."""
    file = output / REPORT
    if not file.is_file():
        return {}
    found = {}
    for case in read_json(file).get("cases", []):
        if case["changes"] is not None:
            changes = case["changes"]
            structures = {name: Change(**change) for name, change in changes["structures"].items()}
            found[case["name"]] = Changes(changes["voxels"], changes["unsure_voxels"], structures)
    return found
