"""What the voxels of the phantoms in millimeters are made of, and how a scanner shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

from nnunet_ext.phantoms.shapes import FloatArray, Waves


class Material(IntEnum):
    """What a voxel is made of: the values of ``Channel.tissue``."""

    AIR = 0
    COUCH = auto()
    FOAM = auto()
    MASK = auto()
    SKIN = auto()
    FAT = auto()
    MUSCLE = auto()
    TENDON = auto()
    CARTILAGE = auto()
    COMPACT_BONE = auto()
    SPONGY_BONE = auto()
    NERVE = auto()
    LUNG = auto()
    AIRWAY = auto()
    ARTERY = auto()
    VEIN = auto()
    LIVER = auto()
    STOMACH = auto()
    # Heart: what MM-WHS and the coronary data sets label, and what lies beside it.
    LV_MYOCARDIUM = auto()
    OTHER_MYOCARDIUM = auto()
    LEFT_ATRIUM = auto()
    LEFT_VENTRICLE = auto()
    RIGHT_ATRIUM = auto()
    RIGHT_VENTRICLE = auto()
    ASCENDING_AORTA = auto()
    FURTHER_AORTA = auto()
    PULMONARY_TRUNK = auto()
    PULMONARY_BRANCH = auto()
    CORONARY = auto()
    PLAQUE = auto()
    # Leg: the bones to segment.
    LIMB_COMPACT = auto()
    LIMB_SPONGY = auto()
    LIMB_MARROW = auto()
    # Head.
    GRAY_MATTER = auto()
    WHITE_MATTER = auto()
    BRAINSTEM = auto()
    FLUID = auto()
    DURA = auto()
    GLAND = auto()
    EYE_LEFT = auto()
    EYE_RIGHT = auto()
    LENS_LEFT = auto()
    LENS_RIGHT = auto()
    NERVE_LEFT = auto()
    NERVE_RIGHT = auto()
    CHIASM = auto()


@dataclass(frozen=True)
class Tone:
    """Range of a material's mean signal over patients, and its texture.

    Attributes:
        low: lowest mean.
        high: highest mean, >= ``low``.
        texture: standard deviation of the signal within one patient, before noise.
    """

    low: float
    high: float
    texture: float = 0.0


@dataclass(frozen=True)
class Appearance:
    """One patient's signals in one modality.

    Attributes:
        mean: float array, signal of each :class:`Material`.
        texture: float array, standard deviation of each material's texture.
        waves: the field that is the texture.
    """

    mean: FloatArray
    texture: FloatArray
    waves: Waves

    @classmethod
    def draw(
        cls,
        tones: Mapping[Material, Tone],
        rng: np.random.Generator,
        *,
        texture_mm: float = 7.0,
        alike: Sequence[Sequence[Material]] = (),
    ) -> Appearance:
        """Draw each material's mean from its range; a material without a tone is NaN, so that it shows.

        Args:
            tones: the modality's tones; drawn in the order of :class:`Material`.
            rng: source of randomness.
            texture_mm: typical wavelength of the texture in mm, > 0.
            alike: groups of materials that all have the mean of their first one, such as both eyes.

        Returns:
            The appearance.

        Example:
            >>> one = Appearance.draw({Material.AIR: Tone(-1000, -1000)}, np.random.default_rng(0))
            >>> float(one.mean[Material.AIR]), bool(np.isnan(one.mean[Material.FAT]))
            (-1000.0, True)
        """
        mean = np.full(len(Material), np.nan, dtype=np.float32)
        texture = np.zeros(len(Material), dtype=np.float32)
        for material in sorted(tones):
            tone = tones[material]
            mean[material] = rng.uniform(tone.low, tone.high)
            texture[material] = tone.texture
        for group in alike:
            mean[list(group)] = mean[group[0]]
        return cls(mean=mean, texture=texture, waves=Waves.draw(rng, wavelength=texture_mm))


def label_values(labels: Mapping[str, int], made_of: Mapping[str, tuple[Material, ...]]) -> NDArray[np.uint8]:
    """Table from material to label value, so that ``table[tissue]`` is the label map.

    Args:
        labels: name to value, with ``background`` 0.
        made_of: the materials of every other label; no material belongs to two.

    Returns:
        Uint8 array, one entry for each :class:`Material`.

    Raises:
        ValueError: a label has no materials, or a material has two labels.

    Example:
        >>> table = label_values({"background": 0, "fat": 3}, {"fat": (Material.FAT,)})
        >>> table[[Material.AIR, Material.FAT]].tolist()
        [0, 3]
    """
    table = np.zeros(len(Material), dtype=np.uint8)
    for name, value in labels.items():
        if name == "background":
            continue
        for material in made_of.get(name, ()):
            if table[material]:
                raise ValueError(
                    f"{material.name} belongs to two labels, {table[material]} and {value} ({name})"
                )
            table[material] = value
        if value not in table:
            raise ValueError(f"label {name!r} has no materials; got {sorted(made_of)}")
    return table
