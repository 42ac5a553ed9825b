"""Prediction with a refiner behind it: any predictor, plain or of a cascade, then the refinement."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.inference.cases import Preparation, PreparedCase
from nnunet_ext.inference.export import put_plane
from nnunet_ext.inference.model import Model
from nnunet_ext.inference.planes import ProbabilitySink
from nnunet_ext.inference.predictor import CasePredictor, Prediction
from nnunet_ext.refinement.case import refine_case
from nnunet_ext.refinement.folder import Refiner, require_model


class RefinedPredictor:
    """A predictor whose label maps are refined; the same as ``refine apply`` on its probabilities.

    Args:
        predictor: of the first network.
        refiner: trained on that network's errors.
        everywhere: the refiner's answer alone, for every voxel.
        scratch: folder for files of some GB while a case is refined; made if missing.
        device: where to compute.
        progress: show a bar of blocks.

    Raises:
        RefinerError: the refiner is of another model.
    """

    def __init__(
        self,
        predictor: CasePredictor,
        refiner: Refiner,
        *,
        scratch: Path,
        everywhere: bool = False,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> None:
        require_model(refiner, predictor.model)
        self.first = predictor
        self.refiner = refiner
        self.scratch = scratch
        self.everywhere = everywhere
        self.device = device
        self.progress = progress

    @property
    def model(self) -> Model:
        """That of the first network."""
        return self.first.model

    @property
    def preparation(self) -> Preparation:
        """That of the first network."""
        return self.first.preparation

    def record(self) -> dict[str, Any]:
        """As :meth:`~nnunet_ext.inference.predictor.CasePredictor.record`."""
        return {**self.first.record(), "refiner": self.refiner.record(everywhere=self.everywhere)}

    def predict(self, case: PreparedCase, *, probabilities: ProbabilitySink | None = None) -> Prediction:
        """Predict and refine one case.

        Args:
            case: preprocessed for the first network.
            probabilities: is given the planes of refined probabilities.
        """
        self.scratch.mkdir(parents=True, exist_ok=True)
        shape = case.properties["shape_after_cropping_and_before_resampling"]
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="first-") as folder:
            kept = _Kept(Path(folder) / "first.npy", (self.model.heads, *(int(n) for n in shape)))
            first = self.first.predict(case, probabilities=kept)
            start = time.perf_counter()
            refined = refine_case(
                kept.volume,
                network=self.refiner.network,
                outputs=self.refiner.outputs,
                properties=case.properties,
                thresholds=(self.refiner.threshold(everywhere=self.everywhere),),
                scratch=Path(folder),
                sink=probabilities,
                device=self.device,
                progress=self.progress,
            )
        return replace(
            first,
            labels=refined.after[0],
            seconds={**first.seconds, "refinement": time.perf_counter() - start},
            notes=(*first.notes, refined.changes(0, self.refiner.outputs).sentence()),
        )


class _Kept:
    """Planes of probabilities, kept on disk."""

    def __init__(self, file: Path, shape: tuple[int, ...]) -> None:
        self.volume: NDArray[np.float32] = np.lib.format.open_memmap(
            file, mode="w+", dtype=np.float32, shape=shape
        )

    def __call__(self, axis: int, number: int, plane: Tensor) -> None:
        put_plane(self.volume, axis, number, plane)
