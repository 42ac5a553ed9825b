"""The MR scanner of the phantoms: resolution, bias field of the coil, Rician noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_ext.phantoms.shapes import FloatArray, Waves
from nnunet_ext.phantoms.view import Frame, View

# Signal is stored in 12 bits, as scanners do.
SIGNAL_MAX = 4095
# Standard deviation of the scanner's point spread (z, y, x) in mm, without the voxel itself.
_RESOLUTION_MM = (0.5, 0.4, 0.4)


@dataclass(frozen=True)
class Coil:
    """The smooth sensitivity of a receive coil, fixed in the patient: the bias field that N4 removes.

    Attributes:
        waves: logarithm of the bias before scaling.
        strength: standard deviation of the logarithm; 0.2 is about 40 % from the dimmest to the brightest.
    """

    waves: Waves
    strength: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, wavelength_mm: float) -> Coil:
        """A coil whose field varies over about ``wavelength_mm``, much more than an organ.

        Strengths of 10 to 25 % are the 20 to 40 % intensity non-uniformity of the BrainWeb phantoms.

        Example:
            >>> 0.1 <= Coil.draw(np.random.default_rng(0), wavelength_mm=300).strength <= 0.25
            True
        """
        waves = Waves.draw(rng, wavelength=wavelength_mm)
        return cls(waves=waves, strength=float(rng.uniform(0.1, 0.25)))

    def bias(self, frame: Frame) -> FloatArray:
        """Float array (Z, Y, X) > 0, factor on the signal."""
        view = View.of(frame.slices(0, frame.size_vox[0]), frame.motion)
        # Few waves can add up to more than any coil does.
        logarithm = np.clip(view.field(self.waves), -2.5, 2.5) * np.float32(self.strength)
        factor: FloatArray = np.exp(logarithm)
        return factor


def scan(
    signal: FloatArray,
    rng: np.random.Generator,
    *,
    frame: Frame,
    coil: Coil,
    noise_at_3_mm3: float,
) -> NDArray[np.int16]:
    """MR magnitude image of a painted volume.

    The noise is complex Gaussian, so the magnitude is Rician: air is dark but not zero and never negative.

    Args:
        signal: float array (Z, Y, X) >= 0, arbitrary units.
        rng: source of the noise.
        frame: the image's grid.
        coil: the coil's sensitivity; it multiplies the signal, not the noise.
        noise_at_3_mm3: standard deviation of each part of the noise in a voxel of 3 mm3, >= 0.

    Returns:
        Int16 array (Z, Y, X) in [0, 4095].

    Example:
        >>> rng = np.random.default_rng(0)
        >>> frame = Frame(size_vox=(4, 16, 16), spacing_mm=(3, 1, 1))
        >>> coil = Coil.draw(rng, wavelength_mm=300)
        >>> air = scan(np.zeros((4, 16, 16), np.float32), rng, frame=frame, coil=coil, noise_at_3_mm3=10)
        >>> bool(air.min() >= 0), bool(10 < air.mean() < 15)  # Rayleigh: 1.25 standard deviations
        (True, True)
    """
    resolution_vox = [mm / spacing for mm, spacing in zip(_RESOLUTION_MM, frame.spacing_mm, strict=True)]
    # A voxel is a box of width 1; a Gaussian of the same variance has a standard deviation of 1 / sqrt(12).
    received = ndimage.gaussian_filter(
        signal * coil.bias(frame), [np.hypot(r, 12**-0.5) for r in resolution_vox], mode="nearest"
    )
    # Thermal noise is fixed and signal grows with the voxel; protocols average small voxels more often.
    sigma = np.float32(noise_at_3_mm3 * np.clip(np.sqrt(3 / np.prod(frame.spacing_mm)), 0.5, 1.5))
    real = received + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    magnitude = np.rint(np.hypot(real, imaginary))
    image: NDArray[np.int16] = np.clip(magnitude, 0, SIGNAL_MAX).astype(np.int16)
    return image
