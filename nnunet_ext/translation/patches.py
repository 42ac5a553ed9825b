"""Patches of both datasets by nnU-Net's storage, loader and transforms; each a function of its number."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from nnunet_ext.translation.domains import Domain
from nnunet_ext.translation.facts import CaseFacts

# Milder than nnU-Net's: tissue keeps its sharpness, and a spine stays upright. Intensities are left alone:
# Hounsfield units mean something, and the range of an MR was set by its own percentiles.
_ROTATION_RAD = (-np.pi / 12, np.pi / 12)
_SCALING = (0.85, 1.15)
_PLACES = "places"


class UnitImage:
    """One channel of a stored image, read as it is cut: values from 0 (air, and what lies outside) to 2.

    nnU-Net's loader and transforms fill with 0 what lies outside an image. So air is 0 until a patch is done.
    """

    def __init__(self, data: Any, facts: CaseFacts, channel: int) -> None:
        self._data = data
        self._range = facts.range
        self._channel = channel
        self.shape = (1, *data.shape[1:])
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, part: tuple[slice, ...]) -> NDArray[np.float32]:
        cut = self._data[(slice(self._channel, self._channel + 1), *part[1:])]
        return self._range.to_unit(np.asarray(cut)) + 1


class UnitCases(nnUNetBaseDataset):
    """The cases of a domain that can be used, each with the places where patches may lie."""

    def __init__(self, domain: Domain, facts: Sequence[CaseFacts]) -> None:
        self._facts = {f.case: f for f in facts}
        self._channel = domain.channel
        self._stored: nnUNetBaseDataset | None = None
        self._domain = domain
        self.identifiers = sorted(self._facts)

    def load_case(self, identifier: str) -> tuple[UnitImage, Any, None, dict[str, Any]]:
        """As nnU-Net's loader takes it."""
        if self._stored is None:  # in the process that reads
            self._stored = self._domain.dataset()
        data, seg, _, _ = self._stored.load_case(identifier)
        facts = self._facts[identifier]
        return UnitImage(data, facts, self._channel), seg, None, {"class_locations": {_PLACES: facts.places}}

    @staticmethod
    def save_case(*_: Any) -> None:
        """Nothing is written."""
        raise NotImplementedError("these cases are read only")

    @staticmethod
    def get_identifiers(folder: str) -> list[str]:
        """Which cases can be used is known from their facts alone."""
        raise NotImplementedError("these cases are those of their facts")


class BodyLoader(nnUNetDataLoader):
    """nnU-Net's loader; its patches hold a voxel of the body, anywhere in them, and stay in the image."""

    def get_bbox(
        self,
        data_shape: NDArray[Any],
        force_fg: bool,
        class_locations: Mapping[Any, NDArray[Any]] | None,
        overwrite_class: Any = None,
        verbose: bool = False,
    ) -> tuple[list[int], list[int]]:
        """First and last corner of a patch, before it is turned."""
        places = (class_locations or {})[_PLACES]
        voxel = places[np.random.randint(len(places))]
        first = []
        for axis, length in enumerate(data_shape):
            final, margin = (
                int(self.final_patch_size[axis]),
                int(self.patch_size[axis] - self.final_patch_size[axis]),
            )
            start = int(voxel[axis]) - int(np.random.randint(final))
            room = int(length) - final
            start = min(max(start, 0), room) if room > 0 else room // 2
            first.append(start - margin // 2)
        return first, [f + int(n) for f, n in zip(first, self.patch_size, strict=True)]


class PatchPairs(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of patches, one of each domain, that have nothing to do with each other.

    Pair number n is a function of seed and n: whichever process draws it, and whether the training was
    interrupted before.

    Args:
        domains: MR and CT.
        facts: of their cases.
        patch_size: (z, y, x).
        mirroring_axes: of the patch, that may be mirrored.
        seed: of the training.
        count: pairs there are.
    """

    def __init__(
        self,
        domains: tuple[Domain, Domain],
        facts: tuple[Sequence[CaseFacts], Sequence[CaseFacts]],
        *,
        patch_size: Sequence[int],
        mirroring_axes: Sequence[int],
        seed: int,
        count: int,
    ) -> None:
        self._loaders = [
            body_loader(domain, of_cases, patch_size=patch_size, mirroring_axes=mirroring_axes)
            for domain, of_cases in zip(domains, facts, strict=True)
        ]
        self._seed = seed
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """An MR and a CT patch, (1, Z, Y, X) each, from -1 to 1."""
        patches = []
        for domain, loader in enumerate(self._loaders):
            with seeded(self._seed, domain, number):
                patches.append(loader.generate_train_batch()["data"][0].clamp(0, 2) - 1)
        mr, ct = patches
        return mr, ct


def body_loader(
    domain: Domain, facts: Sequence[CaseFacts], *, patch_size: Sequence[int], mirroring_axes: Sequence[int]
) -> BodyLoader:
    """A loader of single patches of one domain, turned, scaled and mirrored."""
    size = tuple(int(n) for n in patch_size)
    transforms: list[Any] = [
        SpatialTransform(
            size,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=0.2,
            rotation=_ROTATION_RAD,
            p_scaling=0.2,
            scaling=_SCALING,
            p_synchronize_scaling_across_axes=1,
        )
    ]
    if mirroring_axes:
        transforms.append(MirrorTransform(allowed_axes=tuple(mirroring_axes)))
    return BodyLoader(
        UnitCases(domain, facts),
        batch_size=1,
        patch_size=get_patch_size(size, *(3 * [_ROTATION_RAD]), _SCALING),
        final_patch_size=size,
        label_manager=domain.plans_manager.get_label_manager(dict(domain.dataset_json)),
        transforms=ComposeTransforms(transforms),
    )


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Inside it the generators that nnU-Net draws from depend on the numbers alone; then they go on."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
