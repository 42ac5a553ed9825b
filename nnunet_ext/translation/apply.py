"""An MR image becomes a synthetic CT: preprocessed, translated tile by tile, back on its own grid."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunet_ext.clinical_io import CaseError, read_volume
from nnunet_ext.inference.cases import CaseFiles, PreparedCase
from nnunet_ext.inference.constant import ConstantTiles
from nnunet_ext.inference.export import restored
from nnunet_ext.inference.planes import output_planes, plan_of
from nnunet_ext.inference.tiles import padded, tiling
from nnunet_ext.inference.window import Window
from nnunet_ext.translation.folder import TranslationModel
from nnunet_ext.translation.intensities import Range, percentile_range, to_hu

# A voxel size up to this factor outside of what the training had.
_SPACING_TOLERANCE = 1.5


@dataclass(frozen=True)
class SyntheticImage:
    """A translated case.

    Attributes:
        image: whole HU, with the geometry of the MR.
        seconds: that it took.
        tiles: that the network saw.
    """

    image: sitk.Image
    seconds: float
    tiles: int


def check_image(files: Sequence[Path]) -> sitk.Image:
    """The first channel of a case, whose geometry counts.

    Raises:
        CaseError: a channel cannot be read, is not finite or shows nothing.
        OSError: there is no such file.
    """
    volumes = [read_volume(file).image for file in files]
    for file, volume in zip(files, volumes, strict=True):
        values = sitk.GetArrayViewFromImage(volume)
        if not np.isfinite(values).all():
            raise CaseError(
                "not-finite",
                reason=f"{file.name} has voxels that are NaN or infinite",
                remedy="export it anew",
            )
        if values.min() == values.max():
            raise CaseError(
                "empty-image",
                reason=f"all voxels of {file.name} are {values.min():g}",
                remedy="export it anew",
            )
    return volumes[0]


class CaseTranslator:
    """Translates cases with one model.

    Args:
        model: the translation.
        device: where the network computes.
        step_size: of a tile, above 0 and at most 1; tiles overlap and are blended by nnU-Net's Gaussian.
        any_spacing: also take images whose voxels are much larger or smaller than those of the training.
        progress: show a bar of tiles.
    """

    def __init__(
        self,
        model: TranslationModel,
        *,
        device: torch.device | str = "cpu",
        step_size: float = 0.5,
        any_spacing: bool = False,
        progress: bool = False,
    ) -> None:
        self.model = model
        self.device = torch.device(device)
        self.step_size = step_size
        self.any_spacing = any_spacing
        self.progress = progress
        self._network = model.generator.to(self.device)
        self._managers = model.plans_manager, model.configuration_manager

    @torch.inference_mode()
    def __call__(self, files: Sequence[Path]) -> SyntheticImage:
        """Translate the case of these files, one for each channel of the MR dataset.

        Raises:
            CaseError: the image cannot be read, or is none that the model knows.
            OSError: a file is missing.
        """
        start = time.perf_counter()
        original = check_image(files)
        self._check_spacing(original)
        case, values_range = self._prepared(files, original)
        hu, tiles = self._translated(case, values_range)
        air = int(to_hu(np.array(-1.0), self.model.window))
        plans, _ = self._managers
        whole = restored(hu, fill=air, plans_manager=plans, properties=case.properties)
        image = sitk.GetImageFromArray(np.ascontiguousarray(whole))
        image.CopyInformation(original)
        return SyntheticImage(image, time.perf_counter() - start, tiles)

    def _check_spacing(self, image: sitk.Image) -> None:
        plans, _ = self._managers
        source = self.model.record["source"]
        spacing = [image.GetSpacing()[::-1][axis] for axis in plans.transpose_forward]
        low, high = source["smallest_spacing_mm"], source["largest_spacing_mm"]
        fits = all(
            a / _SPACING_TOLERANCE <= s <= b * _SPACING_TOLERANCE
            for s, a, b in zip(spacing, low, high, strict=True)
        )
        if not fits and not self.any_spacing:
            raise CaseError(
                "spacing",
                reason=f"expected voxels from {low} to {high} mm, as in the training, got "
                f"{[round(s, 3) for s in spacing]}",
                remedy="train a translation on such images, or give --any-spacing and look at every result",
            )

    def _prepared(self, files: Sequence[Path], original: sitk.Image) -> tuple[PreparedCase, Range]:
        plans, configuration = self._managers
        reader = plans.image_reader_writer_class()
        data, properties = reader.read_images([str(file) for file in files])
        # The result is written as SimpleITK reads the file; a reader that turns the image would not fit.
        channel = int(self.model.record["source"]["channel"])
        stored = sitk.GetArrayViewFromImage(original)
        if data.shape[1:] != stored.shape or not np.allclose(data[0], stored):
            raise CaseError(
                "reader",
                reason=f"nnU-Net's {type(reader).__name__} reads the image in another order of voxels than "
                "SimpleITK",
                remedy="convert the images to one orientation, and plan with SimpleITKIO",
            )
        ready, _, properties = configuration.preprocessor_class(verbose=False).run_case_npy(
            data, None, properties, plans, configuration, dict(self.model.dataset_json)
        )
        values = np.asarray(ready[channel : channel + 1], np.float32)
        try:
            values_range = percentile_range(values, self.model.settings.mr_percentiles)
        except ValueError as error:
            raise CaseError("empty-image", reason=str(error), remedy="look at the image") from error
        name = CaseFiles(files[0].name, tuple(files))
        return PreparedCase(name, torch.from_numpy(values), properties, 0.0), values_range

    def _translated(self, case: PreparedCase, values_range: Range) -> tuple[NDArray[np.int16], int]:
        """HU on the grid of the cropped image, and how many tiles that took."""
        # Padding fills with 0, so air is 0 until a tile is cut, as in training.
        unit = torch.from_numpy(values_range.to_unit(case.data.numpy())) + 1
        volume, place = padded(unit, self.model.patch_size)
        whole = plan_of(case, self.model) is None
        tiles = tiling(
            volume.shape[1:], self.model.patch_size, step_size=self.step_size, axis=0 if whole else None
        )
        window = Window(
            volume,
            place=place,
            tiles=tiles,
            forward=ConstantTiles(self._forward),
            heads=1,
            device=self.device,
            progress=self.progress,
        )
        shape = [int(n) for n in case.properties["shape_after_cropping_and_before_resampling"]]
        hu = np.empty(shape, np.int16)
        view = hu if tiles.axis == 0 else hu.swapaxes(0, 1)
        planes = output_planes(window.planes(), case=case, model=self.model, axis=tiles.axis)
        for number, plane in enumerate(planes):
            view[number] = to_hu(plane[0].clamp(-1, 1).cpu().numpy(), self.model.window)
        return hu, len(tiles)

    def _forward(self, tile: Tensor) -> Tensor:
        if not tile.any():  # air alone: instance normalization would make of it what it likes
            return torch.full_like(tile, -1.0, device=self.device)
        result: Tensor = self._network(tile.to(self.device) - 1)
        return result
