"""Plans that do not describe a U-Net are refused with what was expected and what came."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from nnunet_ext.networks import RASUNet
from nnunet_ext.networks.geometry import PlannedGeometry, feature_map_sizes

PLAN: dict[str, Any] = {
    "dim": 3,
    "n_stages": 3,
    "features": [8, 16, 32],
    "kernel_sizes": [[1, 3, 3], 3, [3, 3, 3]],
    "strides": [1, [1, 2, 2], 2],
    "encoder_convolutions": 2,
    "decoder_convolutions": [2, 2],
}


def test_numbers_stand_for_every_level_and_axis() -> None:
    geometry = PlannedGeometry.from_plan(**PLAN)
    assert geometry.kernel_sizes == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert geometry.total_stride == (2, 4, 4)
    assert geometry.output_scales() == [[1.0, 1.0, 1.0], [1.0, 0.5, 0.5]]
    assert feature_map_sizes((4, 8, 8), geometry.strides) == [(4, 8, 8), (4, 4, 4), (2, 2, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_stages": 0}, "n_stages must be a whole number of 1 or more, got 0"),
        ({"n_stages": None}, "n_stages must be a whole number of 1 or more, got None"),
        ({"n_stages": "3"}, "n_stages must be a whole number of 1 or more, got '3'"),
        ({"features": None}, "features_per_stage must be 3 whole numbers of 1 or more, got None"),
        ({"features": [True, 8, 16]}, "features_per_stage must be 3 whole numbers of 1 or more"),
        ({"kernel_sizes": None}, "each entry of kernel_sizes must be 3 whole numbers of 1 or more, got None"),
        ({"kernel_sizes": [3, None, 3]}, "each entry of kernel_sizes must be 3 whole numbers"),
        ({"kernel_sizes": [3, 2, 3]}, r"kernel_sizes must be odd numbers, got \[3, 2, 3\]"),
        ({"kernel_sizes": [3, [3, 3, 4], 3]}, "kernel_sizes must be odd numbers"),
        ({"features": [8, 16]}, r"features_per_stage must be 3 whole numbers of 1 or more, got \[8, 16\]"),
        ({"strides": [1, 2]}, r"strides must have 3 entries, one a level, got \[1, 2\]"),
        ({"strides": [2, 2, 2]}, r"first stride must be 1 along every axis, got \(2, 2, 2\)"),
        ({"strides": [1, [2, 2], 2]}, r"each entry of strides must be 3 whole numbers"),
        ({"decoder_convolutions": [2]}, "n_conv_per_stage_decoder must be 2 whole numbers"),
        ({"encoder_convolutions": 0}, "n_conv_per_stage or n_blocks_per_stage must be 3 whole numbers"),
    ],
)
def test_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlannedGeometry.from_plan(**{**PLAN, **change})


def test_refuses_one_dimensional_convolutions() -> None:
    with pytest.raises(ValueError, match=r"conv_op must be nn\.Conv2d or nn\.Conv3d"):
        RASUNet(
            input_channels=1,
            num_classes=2,
            n_stages=1,
            features_per_stage=4,
            conv_op=nn.Conv1d,
            kernel_sizes=3,
            strides=1,
        )
