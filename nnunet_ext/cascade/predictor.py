"""nnU-Net's predictor, that looks only where the coarse result says: for validation in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.cascade.fine_windows import WINDOWS_A_BATCH, merge_for, predict_windows, window_of
from nnunet_ext.cascade.proposals import Proposed, propose
from nnunet_ext.cascade.resampling import logits_of
from nnunet_ext.cascade.settings import OnEmpty, Proposals
from nnunet_ext.inference.in_training import PlanePredictor

# Is told of each case what was proposed, and the merged probabilities (heads, Z, Y, X).
Observer: TypeAlias = Callable[[Proposed, Tensor], None]


class ProposalPredictor(PlanePredictor):
    """Predicts the windows that are proposed from the coarse channels of the input, and merges them.

    It does to a case what ``nnunet_ext predict`` does with a cascade, in the place where nnU-Net's training
    has its own predictor. What it returns are logits, whose softmax or sigmoid are the merged probabilities.
    They have to be exported as probabilities (``nnunet_ext.cascade.resampling``).

    Args:
        proposals: how windows are proposed.
        on_empty: what is done where the coarse network found nothing; None for what the proposals do.
        windows_a_batch: windows that the network sees at once.
        observer: is told of each case.
        **predictor: of nnU-Net's predictor.
    """

    def __init__(
        self,
        *,
        proposals: Proposals,
        on_empty: OnEmpty | None = None,
        windows_a_batch: int = WINDOWS_A_BATCH,
        observer: Observer | None = None,
        **predictor: Any,
    ) -> None:
        super().__init__(**predictor)
        self.proposals = proposals
        self.on_empty = on_empty
        self.windows_a_batch = windows_a_batch
        self.observer = observer

    def predict_sliding_window_return_logits(self, input_image: Tensor) -> Tensor:
        """Logits of the merged probabilities, (heads, Z, Y, X) in float32.

        Args:
            input_image: (channels, Z, Y, X): the image, and behind it the coarse result, one channel a label,
                as nnU-Net's cascade has them.
        """
        probabilities, _ = self.predict_probabilities(input_image)
        return logits_of(probabilities, has_regions=self.label_manager.has_regions)

    @torch.inference_mode()
    def predict_probabilities(self, data: Tensor) -> tuple[Tensor, Proposed]:
        """The merged probabilities of a preprocessed case, and where they come from.

        Args:
            data: as of :meth:`predict_sliding_window_return_logits`.

        Returns:
            (heads, Z, Y, X) in float32; without regions they add up to 1.

        Raises:
            NothingFoundError: nothing was found, and the case is to fail then.
        """
        size = tuple(int(n) for n in self.configuration_manager.patch_size)
        channels = len(self.configuration_manager.normalization_schemes)
        labels = self.label_manager
        proposed = propose(
            coarse_label_map(data[channels:], labels=labels.foreground_labels),
            self.proposals,
            size=size,
            image=lambda: data[:channels].numpy(force=True),
            on_empty=self.on_empty,
        )
        merge = merge_for(
            self.proposals.kind,
            data.shape[1:],
            size=size,
            heads=labels.num_segmentation_heads,
            has_regions=labels.has_regions,
        )
        merged = predict_windows(
            proposed.windows,
            cut=lambda origin: window_of(data, origin, size=size),
            forward=self.forward(),
            merge=merge,
            windows_a_batch=self.windows_a_batch,
        )
        if self.observer is not None:
            self.observer(proposed, merged)
        return merged, proposed


def coarse_label_map(one_hot: Tensor, *, labels: Sequence[int]) -> NDArray[np.int16]:
    """The coarse result as a label map, of the channels that nnU-Net puts behind the image.

    Args:
        one_hot: (labels, Z, Y, X).
        labels: value of each.

    Raises:
        ValueError: there are not as many channels as labels.

    Example:
        >>> coarse_label_map(torch.tensor([[[[0.0, 1.0]]], [[[0.0, 0.0]]]]), labels=[1, 2]).tolist()
        [[[0, 1]]]
    """
    if len(one_hot) != len(labels):
        raise ValueError(
            f"expected {len(labels)} channels of the coarse result behind the image, one for each of the "
            f"labels {list(labels)}, got {len(one_hot)}"
        )
    found = np.zeros(tuple(one_hot.shape[1:]), np.int16)
    for label, channel in zip(labels, one_hot, strict=True):
        found[channel.numpy(force=True) > 0] = label
    return found
