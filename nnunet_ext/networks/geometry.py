"""Stages, strides and sizes of a planned U-Net, checked once and asked for by everything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class PlannedGeometry:
    """Shape of a U-Net as the plans give it; level 0 is the full resolution.

    Attributes:
        features: channels of each level.
        kernel_sizes: kernel of each level, one number an axis.
        strides: downsampling before each level, one number an axis.
        encoder_convolutions: convolutions of each encoder level.
        decoder_convolutions: the same of the decoder, lowest resolution first as in the plans.
    """

    features: tuple[int, ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]
    encoder_convolutions: tuple[int, ...]
    decoder_convolutions: tuple[int, ...]

    @classmethod
    def from_plan(
        cls,
        *,
        dim: int,
        n_stages: int,
        features: int | Sequence[int],
        kernel_sizes: int | Sequence[int | Sequence[int]],
        strides: int | Sequence[int | Sequence[int]],
        encoder_convolutions: int | Sequence[int],
        decoder_convolutions: int | Sequence[int],
    ) -> PlannedGeometry:
        """Read the entries of ``arch_kwargs``, where one number may stand for every level or axis.

        Raises:
            ValueError: an entry that does not have one value a level, an even kernel, or a stride before the
                first level.

        Example:
            >>> geometry = PlannedGeometry.from_plan(
            ...     dim=2, n_stages=2, features=[8, 16], kernel_sizes=3, strides=[1, [2, 1]],
            ...     encoder_convolutions=2, decoder_convolutions=2)
            >>> geometry.strides, geometry.output_scales()
            (((1, 1), (2, 1)), [[1.0, 1.0]])
        """
        if not _is_count(n_stages):
            raise ValueError(f"n_stages must be a whole number of 1 or more, got {n_stages!r}")
        geometry = cls(
            features=_per_level("features_per_stage", features, n_stages),
            kernel_sizes=_per_level_and_axis("kernel_sizes", kernel_sizes, n_stages=n_stages, dim=dim),
            strides=_per_level_and_axis("strides", strides, n_stages=n_stages, dim=dim),
            encoder_convolutions=_per_level(
                "n_conv_per_stage or n_blocks_per_stage", encoder_convolutions, n_stages
            ),
            decoder_convolutions=_per_level("n_conv_per_stage_decoder", decoder_convolutions, n_stages - 1),
        )
        if any(k % 2 == 0 for kernel in geometry.kernel_sizes for k in kernel):
            raise ValueError(
                f"kernel_sizes must be odd numbers, got {kernel_sizes!r}: an even kernel changes the size of "
                "a feature map, and skips and upsampled features would not meet"
            )
        if any(stride != 1 for stride in geometry.strides[0]):
            raise ValueError(
                f"the first stride must be 1 along every axis, got {geometry.strides[0]}: the segmentation "
                "would be smaller than the patch. Plan again with nnU-Net's planner."
            )
        return geometry

    def with_poolings_at_most(self, poolings: int) -> PlannedGeometry:
        """The same without the levels below the given number of poolings.

        Example:
            >>> geometry = PlannedGeometry.from_plan(
            ...     dim=2, n_stages=3, features=[4, 8, 16], kernel_sizes=3, strides=[1, 2, 2],
            ...     encoder_convolutions=2, decoder_convolutions=[1, 2])
            >>> shallow = geometry.with_poolings_at_most(1)
            >>> shallow.features, shallow.decoder_convolutions
            ((4, 8), (2,))
        """
        levels = min(len(self.features), poolings + 1)
        return PlannedGeometry(
            features=self.features[:levels],
            kernel_sizes=self.kernel_sizes[:levels],
            strides=self.strides[:levels],
            encoder_convolutions=self.encoder_convolutions[:levels],
            decoder_convolutions=self.decoder_convolutions[len(self.features) - levels :],
        )

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Factor between the input and the bottleneck along each axis."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))

    def encoder_stages(self) -> Iterator[tuple[tuple[int, ...], int, tuple[int, ...], int]]:
        """Stride, features, kernel and convolutions of each encoder level, full resolution first."""
        return zip(self.strides, self.features, self.kernel_sizes, self.encoder_convolutions, strict=True)

    def decoder_stages(self) -> Iterator[tuple[int, int]]:
        """Level and convolutions of each decoder stage, lowest resolution first."""
        return zip(range(len(self.features) - 2, -1, -1), self.decoder_convolutions, strict=True)

    def output_scales(self) -> list[list[float]]:
        """Size of each output relative to the input, full resolution first; at least one output."""
        scales = []
        factor = [1] * len(self.strides[0])
        for level in range(max(1, len(self.features) - 1)):
            factor = [f * s for f, s in zip(factor, self.strides[level], strict=True)]
            scales.append([1 / f for f in factor])
        return scales

    def check_input_size(self, input_size: Sequence[int]) -> None:
        """Refuse a size that pooling would cut: skips and upsampled features would not meet.

        Raises:
            ValueError: wrong number of axes, or an axis that is not a multiple of the total stride.
        """
        total = self.total_stride
        if len(input_size) != len(total) or any(i % t for i, t in zip(input_size, total, strict=True)):
            raise ValueError(
                f"the spatial size must be a multiple of {total} along each axis, got {tuple(input_size)}: "
                "pad the image or plan the patch accordingly"
            )


def feature_map_sizes(input_size: Sequence[int], strides: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Spatial size at each level for an input of ``input_size`` voxels.

    Example:
        >>> feature_map_sizes((8, 12), [(1, 1), (2, 2)])
        [(8, 12), (4, 6)]
    """
    sizes = []
    size = tuple(input_size)
    for stride in strides:
        size = tuple(n // s for n, s in zip(size, stride, strict=True))
        sizes.append(size)
    return sizes


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _per_level(name: str, value: int | Sequence[int], levels: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, Iterable) else (value,) * levels
    if len(values) != levels or not all(_is_count(v) for v in values):
        raise ValueError(f"{name} must be {levels} whole numbers of 1 or more, got {value!r}")
    return values


def _per_level_and_axis(
    name: str, value: int | Sequence[int | Sequence[int]], *, n_stages: int, dim: int
) -> tuple[tuple[int, ...], ...]:
    levels = tuple(value) if isinstance(value, Iterable) else (value,) * n_stages
    if len(levels) != n_stages:
        raise ValueError(f"{name} must have {n_stages} entries, one a level, got {value!r}")
    return tuple(_per_level(f"each entry of {name}", level, dim) for level in levels)
