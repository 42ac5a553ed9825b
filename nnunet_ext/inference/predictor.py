"""The sliding window over one preprocessed case: labels in the image's grid, plane by plane."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from nnunet_ext.inference.cases import Preparation, PreparedCase
from nnunet_ext.inference.constant import ConstantTiles
from nnunet_ext.inference.forward import Forward, default_precision
from nnunet_ext.inference.model import Model
from nnunet_ext.inference.planes import Labels, ProbabilitySink, collect_labels, output_planes, plan_of
from nnunet_ext.inference.tiles import padded, tiling
from nnunet_ext.inference.window import Window


@dataclass(frozen=True)
class Settings:
    """How to predict.

    Attributes:
        step_size: of tiles, in patches.
        mirroring_axes: that are mirrored; None takes all that the model allows.
        precision: ``"float32"``, ``"bfloat16"``, ``"float16"``; None takes nnU-Net's for the device.
        skip_tolerance: see :class:`nnunet_ext.inference.constant.ConstantTiles`.
    """

    step_size: float = 0.5
    mirroring_axes: tuple[int, ...] | None = None
    precision: str | None = None
    skip_tolerance: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no model could be predicted with."""
        if not 0 < self.step_size <= 1:
            raise ValueError(f"expected a step size above 0 and at most 1, got {self.step_size}")
        if not self.skip_tolerance >= 0:
            raise ValueError(f"expected a tolerance of 0 or more, got {self.skip_tolerance}")


@dataclass(frozen=True)
class Prediction:
    """What came out for one case.

    Attributes:
        labels: (z, y, x) in the image's grid, transposed and cropped as nnU-Net's preprocessing left it.
        seconds: of ``network`` and ``resampling``.
        tiles: all of them.
        constant_tiles: that were answered from memory.
        notes: what a reader of the report should know of this case.
    """

    labels: Labels
    seconds: dict[str, float]
    tiles: int
    constant_tiles: int
    notes: tuple[str, ...] = ()


class CasePredictor(Protocol):
    """What a run needs: one for plain models is below, a cascade has its own."""

    @property
    def model(self) -> Model:
        """The model whose output format counts."""

    @property
    def preparation(self) -> Preparation:
        """How a case is preprocessed."""

    def predict(self, case: PreparedCase, *, probabilities: ProbabilitySink | None = None) -> Prediction:
        """Predict one case."""

    def record(self) -> dict[str, Any]:
        """Everything that decides about the result: written beside it, compared when a run is resumed."""


class SlidingWindowPredictor:
    """nnU-Net's sliding window with one model.

    Args:
        model: the model.
        settings: how to predict.
        device: where networks and sums are; images stay in main memory.
        progress: show a bar of tiles.

    Raises:
        ValueError: a setting that this model or device does not allow.
    """

    def __init__(
        self,
        model: Model,
        *,
        settings: Settings | None = None,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> None:
        settings = settings or Settings()
        axes = model.mirroring_axes if settings.mirroring_axes is None else settings.mirroring_axes
        if not set(axes) <= set(model.mirroring_axes):
            raise ValueError(
                f"expected mirroring axes among {list(model.mirroring_axes)}, which the model was trained "
                f"with, got {list(axes)}"
            )
        self.model = model
        self.settings = Settings(
            step_size=settings.step_size,
            mirroring_axes=tuple(sorted(axes)),
            precision=settings.precision or default_precision(device),
            skip_tolerance=settings.skip_tolerance,
        )
        self.device = torch.device(device)
        self.progress = progress
        self.forward = Forward(
            model.networks,
            mirroring_axes=axes,
            precision=str(self.settings.precision),
            device=device,
        )
        self._checksums = model.checksums()

    @property
    def preparation(self) -> Preparation:
        """nnU-Net's, of the model."""
        return Preparation.of(self.model)

    def record(self) -> dict[str, Any]:
        """As :meth:`CasePredictor.record`; plain values only."""
        settings = asdict(self.settings)
        settings["mirroring_axes"] = list(settings["mirroring_axes"])
        return {"files": self._checksums, **settings}

    @torch.inference_mode()
    def predict(self, case: PreparedCase, *, probabilities: ProbabilitySink | None = None) -> Prediction:
        """Labels of one case.

        Args:
            case: preprocessed for this model.
            probabilities: is given the probabilities of every plane, in the same grid as the labels.

        Raises:
            FloatingPointError: the network's output is not finite.
        """
        window = self._window(case)
        start = time.perf_counter()
        planes = output_planes(window.planes(), case=case, model=self.model, axis=window.tiles.axis)
        labels = collect_labels(
            planes, case=case, model=self.model, axis=window.tiles.axis, probabilities=probabilities
        )
        total = time.perf_counter() - start
        return Prediction(
            labels,
            {"network": window.seconds, "resampling": total - window.seconds},
            tiles=len(window.tiles),
            constant_tiles=window.answers.reused,
        )

    def _window(self, case: PreparedCase) -> Window:
        patch_size = [int(n) for n in self.model.configuration_manager.patch_size]
        volume, place = padded(case.data, patch_size)
        whole = plan_of(case, self.model) is None  # then nothing is gained by another axis
        tiles = tiling(
            volume.shape[1:], patch_size, step_size=self.settings.step_size, axis=0 if whole else None
        )
        answers = ConstantTiles(
            self.forward,
            tolerance=self.settings.skip_tolerance,
            has_regions=self.model.label_manager.has_regions,
        )
        return Window(
            volume,
            place=place,
            tiles=tiles,
            forward=answers,
            heads=self.model.heads,
            device=self.device,
            progress=self.progress,
        )
