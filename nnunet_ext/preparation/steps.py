"""The steps of a preparation: what each is given, and what it does to a case.

A step is a frozen record of a name and parameters, so that it can be written down and run again. Every
parameter has a value in the record: a default that changes later changes no dataset that exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import SimpleITK as sitk

from nnunet_ext.preparation.bias_field import correct_bias_field
from nnunet_ext.preparation.body import remove_couch
from nnunet_ext.preparation.geometry import Grid, check_same_grid
from nnunet_ext.preparation.intensity import foreground, standardize, window
from nnunet_ext.preparation.registration import register
from nnunet_ext.preparation.resampling import LabelMethod, grid_for, resample_image, resample_label

Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One patient's images.

    Attributes:
        channels: name to image; each has its own grid until a step brings them together.
        label: on the grid of the preparation's label channel; None for a patient without one.
        bodies: masks that steps found, by channel and on its grid.
        transforms: that registrations found, by moving channel, from points of the fixed image.
    """

    channels: Mapping[str, sitk.Image]
    label: sitk.Image | None = None
    bodies: Mapping[str, sitk.Image] = field(default_factory=dict)
    transforms: Mapping[str, sitk.Transform] = field(default_factory=dict)

    def with_channel(self, name: str, image: sitk.Image) -> Case:
        """The same case with another image in one channel."""
        return replace(self, channels={**self.channels, name: image})


@dataclass(frozen=True, kw_only=True)
class Step:
    """What all steps share; not one itself.

    A step of your own is a frozen dataclass that derives from this one, has a ``name``, does its work in
    ``_apply`` and stands in ``STEPS``.
    """

    name: ClassVar[str]
    # Which of its fields name channels that it reads, and which the channel that leaves its own grid.
    _channels: ClassVar[tuple[str, ...]] = ("channel",)
    _moving: ClassVar[str | None] = None

    @property
    def reads(self) -> tuple[str, ...]:
        """Channels that have to be there."""
        return tuple(getattr(self, one) for one in self._channels)

    @property
    def moves(self) -> str | None:
        """Channel that leaves its own grid."""
        return getattr(self, self._moving) if self._moving else None

    def run(self, case: Case) -> tuple[Case, Figures]:
        """The case after this step, and figures for the report.

        Raises:
            PreparationError: as the function that does the work.
        """
        return self._apply(case)

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class RemoveCouch(Step):
    """:func:`remove_couch` on a CT; leaves its body mask for the steps behind it."""

    name: ClassVar[str] = "remove_couch"
    channel: str
    opening_radius_mm: float = 4.0
    limb_radius_mm: float = 12.0
    min_part_share: float = 0.005
    min_body_share: float = 0.02
    max_removed_share: float = 0.5
    smoothing_mm: float = 1.0
    air_hu: float = -1000.0

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        result = remove_couch(case.channels[self.channel], **_parameters(self, "channel"))
        case = replace(
            case.with_channel(self.channel, result.image), bodies={**case.bodies, self.channel: result.mask}
        )
        return case, {
            "threshold_hu": result.threshold_hu,
            "body_share": result.body_share,
            "kept_parts": result.kept_parts,
            "removed_ml": result.removed_ml,
            "removed_parts": [
                {"volume_ml": part.volume_ml, "thickness_mm": part.thickness_mm}
                for part in result.removed_parts
            ],
        }


@dataclass(frozen=True, kw_only=True)
class CorrectBiasField(Step):
    """:func:`correct_bias_field` on an MR, within Otsu's foreground."""

    name: ClassVar[str] = "correct_bias_field"
    channel: str
    shrink_factor: int = 4
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    convergence: float = 1e-3
    control_points: int = 4
    full_width_at_half_maximum: float = 0.15
    clip_negative: bool = False

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        result = correct_bias_field(case.channels[self.channel], **_parameters(self, "channel"))
        return case.with_channel(self.channel, result.image), {
            "variation_before": result.variation_before,
            "variation_after": result.variation_after,
            "field_range": list(result.field_range),
            "clipped_voxels": result.clipped_voxels,
        }


@dataclass(frozen=True, kw_only=True)
class Register(Step):
    """:func:`register`: one channel onto the grid of another, within the other's body mask if wanted."""

    name: ClassVar[str] = "register"
    _channels = ("moving", "fixed")
    _moving = "moving"
    moving: str
    fixed: str
    within_body: bool = True
    fixed_range: tuple[float, float] = (-300.0, 500.0)
    elastic: bool = False
    control_spacing_mm: float = 50.0
    mask_margin_mm: float = 10.0
    working_spacing_mm: float = 2.0
    samples: int = 50_000
    min_overlap: float = 0.25
    keep_frames: bool = False
    background: float = 0.0
    seed: int = 1

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        result = register(
            case.channels[self.fixed],
            case.channels[self.moving],
            fixed_mask=case.bodies[self.fixed] if self.within_body else None,
            **_parameters(self, "moving", "fixed", "within_body"),
        )
        bodies = {name: mask for name, mask in case.bodies.items() if name != self.moving}
        case = replace(
            case.with_channel(self.moving, result.image),
            bodies=bodies,
            transforms={**case.transforms, self.moving: result.transform},
        )
        return case, {
            "start": result.start,
            "moved": result.moved,
            "information_before": result.information_before,
            "information_after": result.information_after,
            "overlap": result.overlap,
            "displacement_mm": result.displacement_mm,
            "jacobian_range": None if result.jacobian_range is None else list(result.jacobian_range),
        }


@dataclass(frozen=True, kw_only=True)
class MatchGrid(Step):
    """Resample one channel onto the grid of another, in the scanners' frames."""

    name: ClassVar[str] = "match_grid"
    _channels = ("channel", "reference")
    _moving = "channel"
    channel: str
    reference: str
    background: float
    order: int = 3

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        grid = Grid.of(case.channels[self.reference])
        moved = resample_image(
            case.channels[self.channel], grid=grid, background=self.background, order=self.order
        )
        bodies = {name: mask for name, mask in case.bodies.items() if name != self.channel}
        return replace(case.with_channel(self.channel, moved), bodies=bodies), {}


@dataclass(frozen=True, kw_only=True)
class Resample(Step):
    """Resample all channels, which lie on one grid, and the label to a spacing (z, y, x) in mm."""

    name: ClassVar[str] = "resample"
    _channels = ()
    spacing_mm: tuple[float, float, float]
    order: int = 3
    label_method: LabelMethod = "linear"

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        first, *others = case.channels
        for other in others:
            check_same_grid(
                case.channels[other],
                case.channels[first],
                what=f"channel {other!r}",
                reference_name=f"channel {first!r}",
            )
        grid = grid_for(case.channels[first], spacing_mm=self.spacing_mm)
        before = case.channels[first].GetSize()
        # No center of a new voxel lies outside the old extent: the background is never seen.
        channels = {
            name: resample_image(
                image,
                grid=grid,
                background=float(sitk.GetArrayViewFromImage(image).min()),
                order=self.order,
            )
            for name, image in case.channels.items()
        }
        label = case.label
        figures: Figures = {"size_before": list(before[::-1]), "size_after": list(grid.size_vox[::-1])}
        if label is not None:
            kept = resample_label(label, grid=grid, method=self.label_method)
            figures["lost_labels"] = sorted(_values(label) - _values(kept))
            label = kept
        bodies = {name: resample_label(mask, grid=grid) for name, mask in case.bodies.items()}
        return replace(case, channels=channels, label=label, bodies=bodies), figures


@dataclass(frozen=True, kw_only=True)
class Window(Step):
    """:func:`window` on a CT."""

    name: ClassVar[str] = "window"
    channel: str
    low: float
    high: float

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        image = window(case.channels[self.channel], low=self.low, high=self.high)
        return case.with_channel(self.channel, image), {}


@dataclass(frozen=True, kw_only=True)
class Standardize(Step):
    """:func:`standardize` on an MR, with the figures of the whole image or of Otsu's foreground."""

    name: ClassVar[str] = "standardize"
    channel: str
    percentiles: tuple[float, float] = (0.5, 99.5)
    within: Literal["image", "foreground"] = "foreground"

    def _apply(self, case: Case) -> tuple[Case, Figures]:
        image = case.channels[self.channel]
        mask = foreground(image) if self.within == "foreground" else None
        result = standardize(image, mask=mask, percentiles=self.percentiles)
        return case.with_channel(self.channel, result.image), {
            "low": result.low,
            "high": result.high,
            "mean": result.mean,
            "std": result.std,
        }


STEPS: Mapping[str, type[Step]] = {
    kind.name: kind
    for kind in (RemoveCouch, CorrectBiasField, Register, MatchGrid, Resample, Window, Standardize)
}


def _parameters(step: Step, *without: str) -> dict[str, Any]:
    return {name: value for name, value in vars(step).items() if name not in without}


def _values(label: sitk.Image) -> set[int]:
    return {int(v) for v in np.unique(sitk.GetArrayViewFromImage(label))}
