"""What a step of training looks at: each sample is a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.refinement.cache import CachedCase
from nnunet_ext.refinement.corruption import Anatomy, corrupted
from nnunet_ext.refinement.outputs import Outputs

# Of patches, the share that lies around a voxel of foreground.
FOREGROUND_SHARE = 0.75


@dataclass(frozen=True)
class Samples:
    """Random patches of cases, some with further errors put in.

    Attributes:
        cases: to draw from.
        outputs: of the first network.
        anatomy: for the corruption.
        patch_size: (z, y, x); a smaller case is taken whole.
        corrupted_share: of samples that get further errors.
        seed: of everything.
    """

    cases: Sequence[CachedCase]
    outputs: Outputs
    anatomy: Anatomy
    patch_size: tuple[int, ...]
    corrupted_share: float
    seed: int

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Sample of a step.

        Returns:
            Probabilities (1, L, z, y, x) and the target as nnU-Net's losses want it: labels
            (1, 1, z, y, x), or regions with, where there is an ignore label, its mask as last channel.
        """
        rng = np.random.default_rng([self.seed, step])
        case = self.cases[int(rng.integers(len(self.cases)))]
        box = self._box(case, rng)
        probabilities = np.asarray(case.probabilities[(slice(None), *box)], np.float32)
        if rng.random() < self.corrupted_share:
            probabilities = corrupted(probabilities, rng, self.anatomy)
        return torch.from_numpy(probabilities)[None], self._target(np.asarray(case.labels[box]))[None]

    def _box(self, case: CachedCase, rng: np.random.Generator) -> tuple[slice, ...]:
        shape = case.labels.shape
        size = [min(n, p) for n, p in zip(shape, self.patch_size, strict=True)]
        free = [n - p for n, p in zip(shape, size, strict=True)]
        if len(case.points) and rng.random() < FOREGROUND_SHARE:
            voxel = case.points[int(rng.integers(len(case.points)))]
            wanted = [int(v) - int(rng.integers(p)) for v, p in zip(voxel, size, strict=True)]
        else:
            wanted = [int(rng.integers(f + 1)) for f in free]
        origin = [min(max(w, 0), f) for w, f in zip(wanted, free, strict=True)]
        return tuple(slice(o, o + p) for o, p in zip(origin, size, strict=True))

    def _target(self, labels: NDArray[Any]) -> Tensor:
        if not self.outputs.has_regions:
            return torch.from_numpy(labels.astype(np.int16))[None]
        channels = [np.isin(labels, members) for members in self.outputs.members]
        if self.outputs.table.ignore is not None:
            channels.append(labels == self.outputs.table.ignore)
        return torch.from_numpy(np.stack(channels).astype(np.float32))
