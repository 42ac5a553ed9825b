"""The sliding window over one preprocessed case: labels in the image's grid, plane by plane."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nnunet_ext.inference.cases import Preparation, PreparedCase
from nnunet_ext.inference.constant import ConstantTiles
from nnunet_ext.inference.forward import Forward, default_precision
from nnunet_ext.inference.model import Model
from nnunet_ext.inference.resampling import axis_maps, resampled_planes, resampled_whole
from nnunet_ext.inference.slabs import Slab
from nnunet_ext.inference.tiles import Tiling, padded, tiling

logger = logging.getLogger(__name__)

Labels = NDArray[Any]
# Gets the number of a plane along an axis and its probabilities (heads, rows, columns).
ProbabilitySink = Callable[[int, int, Tensor], None]


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
        window = Window.over(case, self)
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


class Window:
    """One pass of the sliding window over a volume.

    Args:
        volume: (C, z, y, x), padded to a patch at least.
        place: where the case lies in it.
        tiles: the tiles.
        forward: tile -> logits.
        heads: outputs of the network.
        device: where sums are kept.
        progress: show a bar.

    Attributes:
        seconds: so far, for the network and the sums.
    """

    def __init__(
        self,
        volume: Tensor,
        *,
        place: tuple[slice, ...],
        tiles: Tiling,
        forward: ConstantTiles,
        heads: int,
        device: torch.device,
        progress: bool = False,
    ) -> None:
        self.volume = volume
        self.place = place
        self.tiles = tiles
        self.answers = forward
        self.heads = heads
        self.device = device
        self.progress = progress
        self.seconds = 0.0

    @classmethod
    def over(cls, case: PreparedCase, predictor: SlidingWindowPredictor) -> Window:
        """That of a predictor over a case."""
        model, settings = predictor.model, predictor.settings
        patch_size = [int(n) for n in model.configuration_manager.patch_size]
        volume, place = padded(case.data, patch_size)
        whole = plan_of(case, model) is None  # then nothing is gained by another axis
        tiles = tiling(volume.shape[1:], patch_size, step_size=settings.step_size, axis=0 if whole else None)
        answers = ConstantTiles(
            predictor.forward, tolerance=settings.skip_tolerance, has_regions=model.label_manager.has_regions
        )
        return cls(
            volume,
            place=place,
            tiles=tiles,
            forward=answers,
            heads=model.heads,
            device=predictor.device,
            progress=predictor.progress,
        )

    def planes(self) -> Iterator[Tensor]:
        """Mean logits of the case's planes along the tiles' axis, (heads, rows, columns), without padding."""
        axis, size, shape = self.tiles.axis, self.tiles.size, self.tiles.shape
        order = (axis, 1 - axis, 2)
        slab = Slab([shape[a] for a in order], depth=size[axis], heads=self.heads, device=self.device)
        weights = self.tiles.weights().permute(order).contiguous().to(self.device)
        wanted, rows, columns = (self.place[a] for a in order)
        number = 0
        with tqdm(total=len(self.tiles), disable=not self.progress, unit="tile", leave=False) as bar:
            for start, origins in [*self.tiles.rows(), (shape[axis], [])]:
                for plane in self._timed(slab.planes(start)):
                    if wanted.start <= number < wanted.stop:
                        yield plane[:, rows, columns]
                    number += 1
                began = time.perf_counter()
                for origin in origins:
                    logits = self.answers(self.tiles.cut(self.volume, origin))[0]
                    logits = logits[:, None] if self.tiles.flat else logits
                    slab.add(
                        logits.permute(0, *(a + 1 for a in order)),
                        weights=weights,
                        origin=[origin[a] for a in order],
                    )
                    bar.update()
                self.seconds += time.perf_counter() - began

    def _timed(self, planes: Iterator[Tensor]) -> Iterator[Tensor]:
        while True:
            began = time.perf_counter()
            plane = next(planes, None)
            self.seconds += time.perf_counter() - began
            if plane is None:
                return
            yield plane


def spacings_mm(case: PreparedCase, model: Model) -> tuple[list[float], list[float]]:
    """Of the network's output and of the image, transposed, (z, y, x); as nnU-Net's export takes them."""
    image = [float(case.properties["spacing"][axis]) for axis in model.plans_manager.transpose_forward]
    network = [float(s) for s in model.configuration_manager.spacing]
    return (network if len(network) == 3 else [image[0], *network]), image


def plan_of(case: PreparedCase, model: Model) -> Any:
    """How outputs come back to the image's grid, axis by axis; None where only the whole volume can."""
    current, new = spacings_mm(case, model)
    return axis_maps(
        model.configuration_manager.resampling_fn_probabilities,
        shape=case.data.shape[1:],
        new_shape=_image_shape(case),
        current_spacing_mm=current,
        new_spacing_mm=new,
    )


def output_planes(
    planes: Iterator[Tensor], *, case: PreparedCase, model: Model, axis: int
) -> Iterator[Tensor]:
    """Planes of the network's output, resampled to the image's grid.

    Args:
        planes: (heads, rows, columns) in order along ``axis``: logits, or probabilities.
        case: that they belong to.
        model: its model.
        axis: 0 or 1; for 1, rows are the volume's axis 0. Must be 0 where :func:`plan_of` is None.
    """
    maps = plan_of(case, model)
    if maps is not None:
        return resampled_planes(planes, [maps[a] for a in (axis, 1 - axis, 2)])
    function = model.configuration_manager.resampling_fn_probabilities
    logger.info(
        "%s: the plan's resampling cannot be done plane by plane; nnU-Net's own function takes the whole "
        "volume, which needs memory for classes x volume",
        case.files.name,
    )
    return resampled_whole(planes, function, _image_shape(case), *spacings_mm(case, model))


def collect_labels(
    planes: Iterator[Tensor],
    *,
    case: PreparedCase,
    model: Model,
    axis: int,
    probabilities: ProbabilitySink | None = None,
    are_probabilities: bool = False,
) -> Labels:
    """Label map of resampled planes.

    Args:
        planes: (heads, rows, columns) in order along ``axis``, in the image's grid.
        case: that they belong to.
        model: its model.
        axis: 0 or 1.
        probabilities: is given the probabilities of every plane.
        are_probabilities: planes hold probabilities, not logits.
    """
    manager = model.label_manager
    labels = np.zeros(_image_shape(case), label_dtype(model))
    view = labels if axis == 0 else labels.swapaxes(0, 1)
    for number, plane in enumerate(planes):
        if probabilities is not None and not are_probabilities:
            values = manager.apply_inference_nonlin(plane)
            view[number] = _labels_of(values, manager, are_probabilities=True)
        else:
            values = plane
            view[number] = _labels_of(values, manager, are_probabilities=are_probabilities)
        if probabilities is not None:
            probabilities(axis, number, values)
    return labels


def label_dtype(model: Model) -> type[np.unsignedinteger[Any]]:
    """nnU-Net's type of label maps."""
    return np.uint8 if len(model.label_manager.foreground_labels) < 255 else np.uint16


def _labels_of(plane: Tensor, manager: Any, *, are_probabilities: bool) -> Labels:
    if type(manager) is LabelManager and not manager.has_regions:
        # What nnU-Net's own does on the CPU, without moving all classes there.
        return np.asarray(plane.argmax(0).cpu().numpy())
    convert = (
        manager.convert_probabilities_to_segmentation
        if are_probabilities
        else manager.convert_logits_to_segmentation
    )
    return np.asarray(convert(plane.cpu()))


def _image_shape(case: PreparedCase) -> list[int]:
    return [int(n) for n in case.properties["shape_after_cropping_and_before_resampling"]]
