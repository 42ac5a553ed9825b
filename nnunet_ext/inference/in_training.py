"""Our sliding window in the place of nnU-Net's, for the validation at the end of a training."""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from torch import Tensor

from nnunet_ext.inference.constant import ConstantTiles
from nnunet_ext.inference.forward import Forward, default_precision
from nnunet_ext.inference.tiles import padded, tiling
from nnunet_ext.inference.window import Window


class PlanePredictor(nnUNetPredictor):
    """nnU-Net's predictor with the sums of :class:`~nnunet_ext.inference.predictor.SlidingWindowPredictor`.

    nnU-Net adds tiles up in half precision. Where labels of one stage decide where the next one looks, they
    have to be the same in training and in prediction, to the voxel.
    """

    network: Any

    def forward(self) -> Forward:
        """The network with the mirroring and the precision that nnU-Net validates with."""
        axes = self.allowed_mirroring_axes if self.use_mirroring else None
        return Forward(
            [self.network],
            mirroring_axes=axes or (),
            precision=default_precision(self.device),
            device=self.device,
        )

    @torch.inference_mode()
    def predict_sliding_window_return_logits(self, input_image: Tensor) -> Tensor:
        """Logits of a preprocessed volume, (heads, z, y, x) in float32, on the CPU.

        Args:
            input_image: (C, z, y, x).
        """
        patch_size = [int(n) for n in self.configuration_manager.patch_size]
        volume, place = padded(input_image, patch_size)
        tiles = tiling(volume.shape[1:], patch_size, step_size=self.tile_step_size)
        window = Window(
            volume,
            place=place,
            tiles=tiles,
            forward=ConstantTiles(self.forward()),
            heads=self.label_manager.num_segmentation_heads,
            device=self.device,
        )
        logits = torch.stack([plane.cpu() for plane in window.planes()], dim=1)
        return logits if tiles.axis == 0 else logits.swapaxes(1, 2)
