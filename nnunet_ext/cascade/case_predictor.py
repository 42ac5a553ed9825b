"""Both stages over one case: the coarse model, where to look, the fine model there, and the image's grid."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.cascade.fine_windows import (
    WINDOWS_A_BATCH,
    box_around,
    merge_for,
    one_hot_window,
    predict_windows,
    window_of,
)
from nnunet_ext.cascade.proposals import NothingFoundError, Proposed, propose
from nnunet_ext.cascade.settings import MERGES, Kind, MergeName, OnEmpty, Proposals, as_dict
from nnunet_ext.inference.cases import CaseError, Preparation, PreparedCase
from nnunet_ext.inference.model import Model
from nnunet_ext.inference.planes import ProbabilitySink, collect_labels, output_planes
from nnunet_ext.inference.predictor import Prediction, Settings, SlidingWindowPredictor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CascadeSettings:
    """What a cascade asks for beside :class:`~nnunet_ext.inference.predictor.Settings`.

    Attributes:
        on_empty: what is done where the coarse model found nothing; None for what its proposals do.
        windows_a_batch: windows that the fine network sees at once.
        merge: how windows are put together; None for what the proposals do, as in training's validation.
    """

    on_empty: OnEmpty | None = None
    windows_a_batch: int = WINDOWS_A_BATCH
    merge: MergeName | None = None


class CascadePredictor:
    """Predicts with a coarse and a fine model, as the fine one was validated in its training.

    Where the fine model proposes windows, the network looks at them alone; nnU-Net's own cascades slide over
    the whole image.

    Args:
        fine: model with a previous stage.
        coarse: model of that stage.
        proposals: how windows are proposed; None for nnU-Net's own cascades.
        settings: of both models.
        cascade: what only a cascade has.
        device: where networks are.
        progress: show bars.

    Raises:
        ValueError: a setting that a model or the device does not allow.
    """

    def __init__(
        self,
        fine: Model,
        *,
        coarse: Model,
        proposals: Proposals | None,
        settings: Settings | None = None,
        cascade: CascadeSettings | None = None,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> None:
        settings = settings or Settings()
        self.model = fine
        self.proposals = proposals
        self.cascade = cascade or CascadeSettings()
        self.progress = progress
        self._fine = SlidingWindowPredictor(fine, settings=settings, device=device, progress=progress)
        axes = self._fine.settings.mirroring_axes or ()
        shared = tuple(axis for axis in axes if axis in coarse.mirroring_axes)
        of_coarse = None if settings.mirroring_axes is None else shared
        self._coarse = SlidingWindowPredictor(
            coarse, settings=replace(settings, mirroring_axes=of_coarse), device=device, progress=progress
        )

    @property
    def preparation(self) -> Preparation:
        """Preprocessing for both stages."""
        return replace(Preparation.of(self.model), coarse=Preparation.of(self._coarse.model))

    def record(self) -> dict[str, Any]:
        """As of :class:`nnunet_ext.inference.predictor.CasePredictor`."""
        proposals = None if self.proposals is None else as_dict(self.proposals)
        on_empty = None if self.cascade.on_empty is None else self.cascade.on_empty.value
        kind = None if self.proposals is None else self.proposals.kind
        return {
            **self._fine.record(),
            "coarse": self._coarse.record(),
            "proposals": proposals,
            "on_empty": on_empty,
            "merge": None if kind is None else self.cascade.merge or MERGES[kind],
        }

    @torch.inference_mode()
    def predict(self, case: PreparedCase, *, probabilities: ProbabilitySink | None = None) -> Prediction:
        """Labels of one case.

        Args:
            case: preprocessed for both stages.
            probabilities: is given the probabilities of every plane, in the same grid as the labels.

        Raises:
            CaseError: the coarse model found nothing, and the case is to fail then.
            FloatingPointError: an output is not finite.
        """
        start = time.perf_counter()
        coarse = self._coarse_labels(case)
        seconds = {"coarse": time.perf_counter() - start}
        if self.proposals is None:
            return self._everywhere(case, coarse, seconds, probabilities)
        start = time.perf_counter()
        proposed = self._propose(case, coarse, self.proposals)
        seconds["proposals"] = time.perf_counter() - start
        for note in _notes(proposed):
            logger.warning("%s: %s", case.files.name, note)
        start = time.perf_counter()
        planes = self._probability_planes(case, coarse, proposed, kind=self.proposals.kind)
        seconds["network"] = time.perf_counter() - start
        start = time.perf_counter()
        labels = collect_labels(
            output_planes(planes, case=case, model=self.model, axis=0),
            case=case,
            model=self.model,
            axis=0,
            probabilities=probabilities,
            are_probabilities=True,
        )
        seconds["resampling"] = time.perf_counter() - start
        return Prediction(labels, seconds, len(proposed.windows), 0, notes=_notes(proposed))

    def _propose(self, case: PreparedCase, coarse: NDArray[Any], proposals: Proposals) -> Proposed:
        try:
            return propose(
                coarse,
                proposals,
                size=self._patch_size,
                image=case.data.numpy,
                on_empty=self.cascade.on_empty,
            )
        except NothingFoundError as error:
            raise CaseError(str(error), "choose another --on-empty to predict it all the same") from error

    @property
    def _patch_size(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.model.configuration_manager.patch_size)

    def _coarse_labels(self, case: PreparedCase) -> NDArray[Any]:
        """What the coarse model says, on the fine model's grid.

        By the steps with which nnU-Net makes the predictions that the fine model was trained on: logits are
        resampled from the one grid to the other.
        """
        if case.coarse is None:
            raise ValueError(f"{case.files.name}: expected it preprocessed for the coarse model, too")
        model = self._coarse.model
        spacing = [0.0, 0.0, 0.0]
        for axis, mm in zip(
            model.plans_manager.transpose_forward, model.configuration_manager.spacing, strict=True
        ):
            spacing[axis] = float(mm)
        shape = [int(n) for n in case.data.shape[1:]]
        onto = {**case.coarse.properties, "spacing": spacing}
        onto["shape_after_cropping_and_before_resampling"] = shape
        return self._coarse.predict(replace(case.coarse, properties=onto)).labels

    def _everywhere(
        self,
        case: PreparedCase,
        coarse: NDArray[Any],
        seconds: dict[str, float],
        probabilities: ProbabilitySink | None,
    ) -> Prediction:
        labels = self.model.label_manager.foreground_labels
        behind = one_hot_window(_as_tensor(coarse), (0, 0, 0), size=coarse.shape, labels=labels)
        stacked = replace(case, data=torch.cat([case.data, behind]))
        found = self._fine.predict(stacked, probabilities=probabilities)
        return replace(found, seconds={**seconds, **found.seconds})

    def _probability_planes(
        self, case: PreparedCase, coarse: NDArray[Any], proposed: Proposed, *, kind: Kind
    ) -> Iterator[Tensor]:
        """Merged probabilities, plane by plane; kept for the part that windows lie in, and no more."""
        labels = self.model.label_manager
        size, shape, label_map = self._patch_size, case.data.shape[1:], _as_tensor(coarse)

        def cut(origin: Sequence[int]) -> Tensor:
            image = window_of(case.data, origin, size=size)
            behind = one_hot_window(label_map, origin, size=size, labels=labels.foreground_labels)
            return torch.cat([image, behind])

        box = box_around(proposed.windows)
        if box is None:
            return background_planes(shape, heads=self.model.heads, has_regions=labels.has_regions)
        merge = merge_for(
            kind,
            [side.stop - side.start for side in box],
            size=size,
            heads=self.model.heads,
            has_regions=labels.has_regions,
            merge=self.cascade.merge,
        )
        merged = predict_windows(
            proposed.windows,
            cut=cut,
            forward=self._fine.forward,
            merge=merge,
            first=[side.start for side in box],
            windows_a_batch=self.cascade.windows_a_batch,
            progress=self.progress,
        )
        return background_planes(
            shape, heads=self.model.heads, has_regions=labels.has_regions, box=box, inside=merged
        )


def background_planes(
    shape: Sequence[int],
    *,
    heads: int,
    has_regions: bool,
    box: tuple[slice, ...] | None = None,
    inside: Tensor | None = None,
) -> Iterator[Tensor]:
    """Probabilities of a volume that is background outside a box, plane by plane along the first axis.

    Args:
        shape: of the volume (z, y, x).
        heads: classes with background, or regions.
        has_regions: regions, which are nowhere outside the box.
        box: the part that is known.
        inside: (heads, z, y, x) of that part.

    Example:
        >>> inside = torch.full((2, 1, 1, 1), 0.5)
        >>> box = (slice(1, 2), slice(0, 1), slice(1, 2))
        >>> planes = background_planes((2, 1, 2), heads=2, has_regions=False, box=box, inside=inside)
        >>> [plane[1].flatten().tolist() for plane in planes]
        [[0.0, 0.0], [0.0, 0.5]]
    """
    for number in range(shape[0]):
        plane = torch.zeros((heads, *shape[1:]))
        if not has_regions:
            plane[0] = 1
        if box is not None and inside is not None and box[0].start <= number < box[0].stop:
            plane[:, box[1], box[2]] = inside[:, number - box[0].start]
        yield plane


def _as_tensor(labels: NDArray[Any]) -> Tensor:
    """Of a type that torch computes with: it has no arithmetic of 16 bits without a sign."""
    return torch.from_numpy(labels.astype(np.int32))


def _notes(proposed: Proposed) -> tuple[str, ...]:
    return tuple(f"coarse_empty: the coarse model found nothing of {name}" for name in proposed.empty)
