"""Painting of tissues and the CT scanner of the phantoms: blur, correlated noise, whole Hounsfield units."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.phantoms.shapes import BoolArray, FloatArray

# Range of a 12-bit CT scanner.
HU_MIN, HU_MAX = -1024, 3071
AIR_HU = -1000.0
# Standard deviation of the scanner's point spread (z, y, x): body kernels resolve about 1.5 mm in plane.
_RESOLUTION_MM = (1.0, 0.65, 0.65)
# Smallest and largest factor on the noise: texture of real tissue stays however thick the slice is, and a
# scanner spends more dose on thin ones.
_NOISE_RANGE = (0.35, 1.5)


class Tissue(IntEnum):
    """What a voxel of a phantom is made of: the values of ``Phantom.tissue``."""

    AIR = 0
    COUCH = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    LUNG = 5
    VESSEL = 6
    BOWEL = 7
    STOMACH = 8
    SPLEEN = 9
    KIDNEY = 10
    GALLBLADDER = 11
    HEART = 12
    LIVER = 13
    LIVER_VESSEL = 14
    CYST = 15
    TARGET = 16
    NERVE = 17


@dataclass
class Canvas:
    """A volume that is painted tissue by tissue: later strokes cover earlier ones.

    Attributes:
        shape: number of voxels (z, y, x).
        hu: float array (Z, Y, X), Hounsfield units before blur and noise; starts as air.
        tissue: uint8 array (Z, Y, X) of :class:`Tissue`; starts as AIR.

    Example:
        >>> canvas = Canvas(shape=(1, 1, 3))
        >>> canvas.paint(np.array([[[True, True, False]]]), tissue=Tissue.LIVER, hu=105)
        >>> canvas.paint(np.ones((1, 1, 3), bool), tissue=Tissue.FAT, hu=-100, over={Tissue.AIR})
        >>> canvas.hu.ravel().tolist()
        [105.0, 105.0, -100.0]
    """

    shape: tuple[int, int, int]
    hu: FloatArray = field(init=False)
    tissue: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.hu = np.full(self.shape, AIR_HU, dtype=np.float32)
        self.tissue = np.full(self.shape, Tissue.AIR, dtype=np.uint8)

    def paint(
        self,
        mask: BoolArray,
        *,
        tissue: Tissue,
        hu: float | FloatArray,
        over: Collection[Tissue] | None = None,
    ) -> None:
        """Make the voxels of ``mask`` that tissue.

        Args:
            mask: bool array that broadcasts to the volume.
            tissue: what the voxels become.
            hu: Hounsfield units, one value or one per voxel of the volume.
            over: paint only voxels that are one of these tissues now; None paints every voxel of the mask.
        """
        where = np.broadcast_to(mask, self.shape)
        if over is not None:
            may_cover = np.zeros(len(Tissue), dtype=bool)
            may_cover[list(over)] = True
            where = where & may_cover[self.tissue]
        np.copyto(self.hu, np.asarray(hu, dtype=np.float32), where=where)
        np.copyto(self.tissue, np.uint8(tissue), where=where)

    def is_any(self, *tissues: Tissue) -> BoolArray:
        """Bool array (Z, Y, X): voxels that are one of ``tissues``."""
        return np.isin(self.tissue, [int(t) for t in tissues])


def scan(
    hu: FloatArray,
    rng: np.random.Generator,
    *,
    spacing_mm: tuple[float, float, float],
    noise_hu_at_3_mm3: float,
    resolution_mm: tuple[float, float, float] = _RESOLUTION_MM,
) -> NDArray[np.int16]:
    """CT image of a painted volume.

    The blur stands for the scanner's resolution, in mm, and for the partial volume of a voxel that two
    tissues share. The noise is white noise through a Gaussian of the same kind, so that neighbors are a
    little alike as after a reconstruction kernel; large voxels average it away, as thick slices do.

    Args:
        hu: float array (Z, Y, X), Hounsfield units.
        rng: source of the noise.
        spacing_mm: voxel size (z, y, x) in mm.
        noise_hu_at_3_mm3: standard deviation of the noise in HU in a voxel of 1 x 1 x 3 mm, >= 0.
        resolution_mm: standard deviation of the point spread (z, y, x) in mm, >= 0; a body kernel by default.

    Returns:
        Int16 array (Z, Y, X) in [-1024, 3071] HU.

    Example:
        >>> flat = np.full((4, 16, 16), 50, np.float32)
        >>> image = scan(flat, np.random.default_rng(0), spacing_mm=(3, 1, 1), noise_hu_at_3_mm3=10)
        >>> image.dtype, bool(9 < image.std() < 11)
        (dtype('int16'), True)
    """
    resolution_vox = [mm / spacing for mm, spacing in zip(resolution_mm, spacing_mm, strict=True)]
    # A voxel is a box of width 1; a Gaussian of the same variance has a standard deviation of 1 / sqrt(12).
    blurred = ndimage.gaussian_filter(hu, [np.hypot(r, 12**-0.5) for r in resolution_vox], mode="nearest")
    white = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, resolution_vox, mode="wrap")
    averaging = np.clip(np.sqrt(3 / np.prod(spacing_mm)), *_NOISE_RANGE)
    noise *= noise_hu_at_3_mm3 * averaging / max(float(noise.std()), 1e-6)
    image: NDArray[np.int16] = np.clip(np.rint(blurred + noise), HU_MIN, HU_MAX).astype(np.int16)
    return image
