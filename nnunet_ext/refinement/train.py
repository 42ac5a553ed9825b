"""Training of a refiner from a trained model: cache, held-out table, final fit; resumes where it was."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from nnunet_ext.files import write_text
from nnunet_ext.inference.cases import CaseError
from nnunet_ext.lock import alone
from nnunet_ext.networks.scn import RefineSCN
from nnunet_ext.refinement.cache import CachedCase, cached
from nnunet_ext.refinement.corruption import Anatomy, pair_weights
from nnunet_ext.refinement.folder import DESCRIPTION, Refiner, load_refiner, save_refiner
from nnunet_ext.refinement.held_out import HeldOutCase, score_held_out, table_of
from nnunet_ext.refinement.layout import Layout, layout_for
from nnunet_ext.refinement.outputs import Outputs, read_json
from nnunet_ext.refinement.samples import Samples
from nnunet_ext.refinement.sources import OutOfFoldCase, Source
from nnunet_ext.refinement.training import Settings, fit, new_network, refiner_loss
from nnunet_ext.refinement.unsure import threshold_of

logger = logging.getLogger(__name__)

WORK = ".training"
# Of errors that are put in, in voxels of the finest spacing and as a share of the patch's shortest axis:
# from a few voxels to a chamber.
SMALLEST_RADIUS_VOX = 1.5
LARGEST_RADIUS_SHARE = 0.25

Done = TypeVar("Done")


@dataclass(frozen=True)
class TrainingReport:
    """What became of a training.

    Attributes:
        refiner: that was trained.
        failed: reasons, by case: they were left out.
    """

    refiner: Refiner
    failed: dict[str, str]


def train_refiner(
    source: Source,
    *,
    out: Path,
    settings: Settings,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> TrainingReport:
    """Train a refiner on the out-of-fold errors of a model.

    Folds are put into groups; each group's cases are scored by a refiner that was trained on the others.
    These scores are the held-out table and decide whether the refiner is used. The refiner that is kept is
    trained on all cases.

    A run that was killed goes on where it was when it is begun again; one that is finished is read.

    Args:
        source: of the probabilities.
        out: folder of the refiner; ``.training`` in it holds the cache, which is removed at the end.
        settings: how to train.
        device: where to compute.
        progress: show bars.

    Returns:
        The refiner and the cases that failed.

    Raises:
        ValueError: the folder holds another refiner, or there are too few cases.
    """
    content = json.loads(json.dumps({"source": source.identity(), "settings": asdict(settings)}))
    out.mkdir(parents=True, exist_ok=True)
    with alone(out / ".lock", what=f"the refiner in {out}"):
        finished = _finished(out, content)
        if finished is not None:
            return TrainingReport(finished, finished.description["failed"])
        work = out / WORK
        _claim(work / "training.json", content, what="another model or with other settings")
        run = _Run(source, work=work, settings=settings, device=device, progress=progress)
        refiner = run.all(out, content)
        shutil.rmtree(work)
    return TrainingReport(refiner, run.failed)


def _finished(out: Path, content: dict[str, Any]) -> Refiner | None:
    if not (out / DESCRIPTION).is_file():
        return None
    refiner = load_refiner(out)
    different = [name for name, value in content.items() if refiner.description.get(name) != value]
    if different:
        raise ValueError(
            f"{out} holds a refiner with another {' and '.join(different)}: choose another folder with "
            "--out, or remove this one"
        )
    return refiner


def _claim(file: Path, content: dict[str, Any], *, what: str) -> None:
    """Note what a training is of; raise where one that was interrupted was of something else."""
    if file.is_file() and read_json(file) != content:
        raise ValueError(
            f"{file.parent} holds an unfinished training of {what}: remove it, or choose another folder with "
            "--out"
        )
    write_text(file, json.dumps(content, indent=1) + "\n")


class _Run:
    """One training: what all of its parts need."""

    def __init__(
        self,
        source: Source,
        *,
        work: Path,
        settings: Settings,
        device: torch.device | str,
        progress: bool,
    ) -> None:
        self.source = source
        self.outputs = source.outputs
        self.work = work
        self.settings = settings
        self.device = device
        self.progress = progress
        self.failed: dict[str, str] = {}

    def all(self, out: Path, content: dict[str, Any]) -> Refiner:
        """Cache, held-out table, final fit."""
        cases = self._each(self.source.cases, self._cached, "Cache")
        stamps = {case.name: case.stamps for case in cases}
        _claim(self.work / "cases.json", stamps, what="other cases, or of files that have changed since")
        layout = _layout(cases, self.outputs, self.settings)
        logger.info(
            "%d cases; patches of %s voxels, cells of %s, spatial kernels of %s",
            len(cases),
            "x".join(map(str, layout.patch_size)),
            "x".join(map(str, layout.factor)),
            "x".join(map(str, layout.kernel_size)),
        )
        groups = self._groups(cases)
        scored: list[HeldOutCase] = []
        for number, group in enumerate(groups):
            scored.extend(self._held_out(number, group, cases, layout))
        scored.sort(key=lambda case: case.name)
        tables = {
            way: table_of(scored, self.outputs.table, everywhere=way == "everywhere")
            for way in ("unsure", "everywhere")
        }
        network = self._fit("final", cases, layout)
        return save_refiner(
            out,
            network,
            self.outputs,
            content={
                **content,
                "unsure_below": threshold_of(case.error_certainty for case in cases),
                "cases": [case.name for case in cases],
                "failed": self.failed,
                "patch_size": list(layout.patch_size),
                "held_out": {
                    **{way: table.as_dict() for way, table in tables.items()},
                    "groups_of_folds": groups,
                    "cases": [case.as_dict() for case in scored],
                },
            },
        )

    def _groups(self, cases: Sequence[CachedCase]) -> list[list[int]]:
        folds = sorted({case.fold for case in cases})
        if len(folds) < 2:
            raise ValueError(
                f"expected readable cases of two folds at least, got those of {folds}: mend the cases that "
                f"failed ({', '.join(self.failed)})"
            )
        count = min(self.settings.groups, len(folds))
        return [folds[number::count] for number in range(count)]

    def _held_out(
        self, number: int, group: Sequence[int], cases: Sequence[CachedCase], layout: Layout
    ) -> list[HeldOutCase]:
        """Scores of a group's cases by a refiner that was trained on the others."""
        others = [case for case in cases if case.fold not in group]
        network = self._fit(f"held-out-{number}", others, layout)
        threshold = threshold_of(case.error_certainty for case in others)
        usable = {case.name for case in cases}
        mine = [case for case in self.source.cases if case.fold in group and case.name in usable]

        def score(case: OutOfFoldCase) -> HeldOutCase:
            file = self.work / "scores" / f"{case.name}.json"
            if file.is_file():
                return HeldOutCase(**read_json(file))
            scored = score_held_out(
                case,
                network=network,
                outputs=self.outputs,
                threshold=threshold,
                scratch=self.work,
                device=self.device,
            )
            write_text(file, json.dumps(scored.as_dict()))
            return scored

        return self._each(mine, score, f"Score {number + 1}")

    def _fit(self, name: str, cases: Sequence[CachedCase], layout: Layout) -> RefineSCN:
        samples = Samples(
            cases,
            self.outputs,
            _anatomy(cases, self.outputs, layout),
            layout.patch_size,
            self.settings.corrupted_share,
            self.settings.seed,
        )
        network = new_network(self.outputs, layout, self.settings)
        fit(
            network,
            samples.draw,
            loss=refiner_loss(self.outputs),
            settings=self.settings,
            checkpoint=self.work / f"{name}.pt",
            device=self.device,
            description=f"Train {name}",
            progress=self.progress,
        )
        return network

    def _cached(self, case: OutOfFoldCase) -> CachedCase:
        return cached(case, outputs=self.outputs, folder=self.work / "cache")

    def _each(
        self,
        cases: Iterable[OutOfFoldCase],
        function: Callable[[OutOfFoldCase], Done],
        description: str,
    ) -> list[Done]:
        """A function of every case; those that fail are noted and left out."""
        done = []
        for case in tqdm(list(cases), desc=description, unit="case", disable=not self.progress):
            try:
                done.append(function(case))
            except CaseError as error:
                logger.error("%s: %s", case.name, error)
                self.failed[case.name] = str(error)
        return done


def _layout(cases: Sequence[CachedCase], outputs: Outputs, settings: Settings) -> Layout:
    sizes = [case.labels.shape for case in cases]
    if not sizes:
        raise ValueError("expected cases that can be read, got none: every one failed")
    return layout_for(
        spacing_mm=outputs.spacing_mm,
        image_size=[int(n) for n in np.median(sizes, axis=0)],
        transpose_forward=outputs.transpose_forward,
        kernels=settings.kernels,
        local_grid=settings.local_grid,
        factor=settings.factor,
    )


def _anatomy(cases: Sequence[CachedCase], outputs: Outputs, layout: Layout) -> Anatomy:
    """What errors are put in: exchanges as the first network confuses, sizes as the patch has."""
    confusion = np.sum([case.confusion for case in cases], axis=0)
    extent_mm = [n * s for n, s in zip(layout.patch_size, outputs.spacing_mm, strict=True)]
    smallest = SMALLEST_RADIUS_VOX * min(outputs.spacing_mm)
    weights = pair_weights(
        outputs.members,
        has_regions=outputs.has_regions,
        confusion=None if outputs.has_regions else confusion[: outputs.heads, : outputs.heads],
    )
    return Anatomy(
        outputs.spacing_mm,
        outputs.members,
        outputs.has_regions,
        weights,
        radius_mm=(smallest, max(smallest, LARGEST_RADIUS_SHARE * min(extent_mm))),
    )
