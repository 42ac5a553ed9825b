"""How bodies combine: what they share, cover together or leave, thicker, thinner or uneven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from nnunet_ext.phantoms.scene import Solid
from nnunet_ext.phantoms.shapes import FloatArray, Waves
from nnunet_ext.phantoms.view import Vector, View


@dataclass(frozen=True)
class Common:
    """What all of the solids share.

    Attributes:
        solids: at least one.
    """

    solids: Sequence[Solid]

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Where all bounding boxes overlap."""
        boxes = [solid.bounds for solid in self.solids]
        return np.max([b[0] for b in boxes], axis=0), np.min([b[1] for b in boxes], axis=0)

    def level_mm(self, view: View) -> FloatArray:
        """The smallest level."""
        return reduce(np.minimum, [solid.level_mm(view) for solid in self.solids])


@dataclass(frozen=True)
class Union:
    """What any of the solids covers.

    Attributes:
        solids: at least one.
        blend_mm: radius of the fillet where two meet, >= 0.
    """

    solids: Sequence[Solid]
    blend_mm: float = 0.0

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """A box around all bounding boxes."""
        boxes = [solid.bounds for solid in self.solids]
        low, high = np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)
        return low - self.blend_mm, high + self.blend_mm

    def level_mm(self, view: View) -> FloatArray:
        """The largest level, rounded where two are close (the polynomial smooth maximum)."""
        return reduce(self._join, [solid.level_mm(view) for solid in self.solids])

    def _join(self, a: FloatArray, b: FloatArray) -> FloatArray:
        highest = np.maximum(a, b)
        if not self.blend_mm:
            return highest
        close = np.maximum(np.float32(self.blend_mm) - np.abs(a - b), 0)
        joined: FloatArray = highest + close * close * np.float32(0.25 / self.blend_mm)
        return joined


@dataclass(frozen=True)
class Without:
    """A solid with another one taken away.

    Attributes:
        solid: what is kept.
        hole: what is taken away.
    """

    solid: Solid
    hole: Solid

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Those of the solid."""
        return self.solid.bounds

    def level_mm(self, view: View) -> FloatArray:
        """Inside the solid and outside the hole."""
        level: FloatArray = np.minimum(self.solid.level_mm(view), -self.hole.level_mm(view))
        return level


@dataclass(frozen=True)
class Grown:
    """A solid that is thicker on all sides, or thinner.

    Attributes:
        solid: the body.
        by_mm: how much; negative shrinks.
    """

    solid: Solid
    by_mm: float

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Those of the solid, as much larger."""
        low, high = self.solid.bounds
        # A level is a depth only near the surface, so a grown body may reach a little further.
        return low - max(1.5 * self.by_mm, 0), high + max(1.5 * self.by_mm, 0)

    def level_mm(self, view: View) -> FloatArray:
        """The solid's level, raised."""
        level: FloatArray = self.solid.level_mm(view) + np.float32(self.by_mm)
        return level


@dataclass(frozen=True)
class Rough:
    """A solid with an uneven surface.

    Attributes:
        solid: the body.
        waves: the field that moves the surface.
        by_mm: standard deviation of the movement, >= 0.
    """

    solid: Solid
    waves: Waves
    by_mm: float

    @property
    def bounds(self) -> tuple[Vector, Vector]:
        """Those of the solid, larger by three standard deviations."""
        low, high = self.solid.bounds
        return low - 3 * self.by_mm, high + 3 * self.by_mm

    def level_mm(self, view: View) -> FloatArray:
        """The solid's level with the field added."""
        level: FloatArray = self.solid.level_mm(view) + np.float32(self.by_mm) * view.field(self.waves)
        return level
