"""``arch_kwargs`` of tiny plans, as nnU-Net's planners write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Shape:
    """A tiny plan and an image that fits it."""

    name: str
    image: tuple[int, ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    features: tuple[int, ...]
    input_channels: int = 1
    num_classes: int = 3

    @property
    def dim(self) -> int:
        return len(self.image)

    def arch_kwargs(self, *, resenc: bool = False) -> dict[str, Any]:
        """What the plans' ``arch_kwargs`` hold, classes as dotted names."""
        stages = len(self.features)
        depth = {"n_blocks_per_stage": [1] * stages} if resenc else {"n_conv_per_stage": [2] * stages}
        return {
            "n_stages": stages,
            "features_per_stage": list(self.features),
            "conv_op": f"torch.nn.modules.conv.Conv{self.dim}d",
            "kernel_sizes": [list(k) for k in self.kernel_sizes],
            "strides": [list(s) for s in self.strides],
            **depth,
            "n_conv_per_stage_decoder": [1 if resenc else 2] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{self.dim}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }

    def batch(self, size: int = 2, *, seed: int = 0) -> torch.Tensor:
        """A seeded random image batch."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn((size, self.input_channels, *self.image), generator=generator)


REQUIRES_IMPORT = ["conv_op", "norm_op", "dropout_op", "nonlin"]


def stages(count: int, *, dim: int = 3) -> Shape:
    """A plan of ``count`` levels that halves every axis between them."""
    return Shape(
        name=f"{count} stages {dim}d",
        image=(max(4, 2**count),) * dim,
        kernel_sizes=((3,) * dim,) * count,
        strides=((1,) * dim, *((2,) * dim,) * (count - 1)),
        features=tuple(min(4 * 2**level, 16) for level in range(count)),
    )


SHAPES = (
    Shape("2d", (16, 24), ((3, 3),) * 3, ((1, 1), (2, 2), (2, 2)), (4, 8, 16)),
    Shape("3d", (8, 12, 16), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)), (4, 8, 16)),
    Shape(
        "3d anisotropic",
        (4, 16, 16),
        ((1, 3, 3), (1, 3, 3), (3, 3, 3)),
        ((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        (4, 8, 16),
    ),
    Shape(
        "3d odd channels, four modalities, uneven strides",
        (6, 8, 12),
        ((3, 3, 3), (3, 3, 3), (3, 3, 3)),
        ((1, 1, 1), (1, 2, 2), (2, 2, 3)),
        (3, 7, 13),
        input_channels=4,
        num_classes=1,
    ),
    *(stages(count) for count in (1, 2, 3, 4)),
    *(stages(count, dim=2) for count in (5, 6)),
)
