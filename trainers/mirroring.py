"""Mirroring that keeps left and right apart."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_ext.laterality import Laterality, laterality_of, pairs_by_name, patch_axis, record_line


class RestrictedMirroring(nnUNetTrainer):
    """Base of what restricts mirroring, in training and in prediction alike."""

    inference_allowed_mirroring_axes: tuple[int, ...] | None

    def restrict_mirroring(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """The axes that stay, of those in ``axes``; subclasses take some away and call ``super()``."""
        return axes

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(  # noqa: N802 - nnU-Net's name
        self,
    ) -> tuple[Any, bool, Any, tuple[int, ...] | None]:
        """nnU-Net's, with fewer mirroring axes."""
        rotation, dummy_2d, initial_patch_size, planned = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        # nnU-Net's predictor takes the largest axis, and an empty tuple has none.
        axes = self.restrict_mirroring(tuple(planned or ())) or None
        self.inference_allowed_mirroring_axes = axes
        return rotation, dummy_2d, initial_patch_size, axes

    def left_right_axis(self, laterality: Laterality) -> int | None:
        """Axis of the patch, or None where slices lie across it."""
        return patch_axis(
            laterality.axis,
            transpose_forward=self.plans_manager.transpose_forward,
            dimensions=len(self.configuration_manager.patch_size),
        )


class KeepsLeftAndRight(RestrictedMirroring):
    """Leaves the left-right axis alone where ``dataset.json`` records one (``nnunet_ext.laterality``)."""

    def restrict_mirroring(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        """Without the left-right axis; logs what is mirrored, and warns of pairs that nobody recorded."""
        laterality = laterality_of(self.dataset_json)
        if laterality is None:
            self._warn_of_unrecorded_pairs(axes)
            return super().restrict_mirroring(axes)
        axis = self.left_right_axis(laterality)
        kept = tuple(a for a in axes if a != axis)
        if kept != axes:
            self.print_to_log_file(
                f"Left is left ({laterality.summary}): axis {axis} of the patch is not mirrored, "
                f"axes {kept} may be"
            )
        return super().restrict_mirroring(kept)

    def _warn_of_unrecorded_pairs(self, axes: Collection[int]) -> None:
        pairs = pairs_by_name(self.dataset_json["labels"])
        if pairs and axes:
            self.print_to_log_file(
                "WARNING: labels look like left and right of one thing; mirroring makes one of the other. "
                f"Add {record_line(pairs)} to dataset.json (axis: left-right, of the image array as nnU-Net "
                "reads it), or train with _NoMirroring"
            )
