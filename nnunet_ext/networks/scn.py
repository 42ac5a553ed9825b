"""RefineSCN: corrects a segmentation by how structures lie to each other (paper 001's SCN)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Index = tuple[int, int, int]
Inputs = Literal["probabilities", "logits"]

LOCAL_CONVS = 3  # of the paper, 3x3x3 each
FEATURES = 64  # Payer's
# Probabilities are kept in half precision, whose numbers next to 1 are 0.0005 apart.
_SMALLEST = 1e-3


class RefineSCN(nn.Module):
    """Local appearance times spatial configuration: logits = local . spatial.

        h       = three 3x3x3 convolutions of the probabilities, each with ReLU
        local   = tanh(1x1x1 convolution of h)                                  (B, L, *size), in [-1, 1]
        cells   = average of ``local`` over ``factor`` voxels                   (B, L, *size / factor)
        spatial = hidden convolutions with ReLU, then one to L channels, of ``cells``; linearly upsampled
        logits  = local . spatial

    Sizes that the factor does not divide have smaller last cells: the mean of the voxels that are there.

    Reference:
        Paper 001 (CM-TranCaF), "SCN": three 3x3x3 convolutions, then a spatial configuration block with
        9x9x5 kernels on a reduced grid; Payer et al., Multi-label Whole Heart Segmentation Using CNNs and
        Anatomical Label Configurations, STACOM 2017; SPEC A2.5.

    Differences from the paper:
        - It gives neither factor, channels, activations nor the number of 9x9x5 convolutions: 64 channels,
          one hidden convolution and the product are SPEC's, tanh and factor 4 Payer's.
        - Both factors begin with He's initialization: the product of two that begin near zero has no
          gradient.
        - ``local_grid`` (an option, to save time): the three convolutions see averages over that many voxels,
          and their result is upsampled; so that borders stay as sharp as the input's, a 1x1x1 convolution of
          the input itself is added before tanh.

    Args:
        channels: L, outputs of the first network: classes with background, or regions.
        factor: voxels of a cell along each axis, (z, y, x).
        kernel_size: of the spatial convolutions, odd. The paper's 9x9x5 is (5, 9, 9).
        hidden_convs: spatial convolutions before the one that answers: 1, Payer's whole heart has 3.
        features: channels of all hidden convolutions.
        local_grid: see above; (1, 1, 1) is the paper's.
        inputs: what the convolutions see: the probabilities, or their logits.
        has_regions: outputs are regions, each a question of its own, and not classes.

    Raises:
        ValueError: two-dimensional numbers, an even kernel, or a factor that ``local_grid`` does not divide.

    Example:
        >>> network = RefineSCN(3, factor=(2, 4, 4), features=4)
        >>> network(torch.full((1, 3, 5, 9, 8), 1 / 3)).shape, network.reach
        (torch.Size([1, 3, 5, 9, 8]), (13, 40, 40))
    """

    def __init__(
        self,
        channels: int,
        *,
        factor: Sequence[int] = (4, 4, 4),
        kernel_size: Sequence[int] = (5, 9, 9),
        hidden_convs: int = 1,
        features: int = FEATURES,
        local_grid: Sequence[int] = (1, 1, 1),
        inputs: Inputs = "probabilities",
        has_regions: bool = False,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.factor = _three(factor, "factor")
        self.kernel_size = _three(kernel_size, "kernel size")
        self.local_grid = _three(local_grid, "local grid")
        self.hidden_convs = hidden_convs
        self.features = features
        self.inputs = inputs
        self.has_regions = has_regions
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f"expected an odd kernel size, got {self.kernel_size}")
        if any(f % g for f, g in zip(self.factor, self.local_grid, strict=True)):
            raise ValueError(f"expected a factor that {self.local_grid} divides, got {self.factor}")
        widths = [channels, *[features] * LOCAL_CONVS]
        self.appearance = nn.Sequential(*_convs(widths, (3, 3, 3)))
        self.to_local = nn.Conv3d(features, channels, 1)
        self.detail = nn.Conv3d(channels, channels, 1, bias=False) if self.is_coarse else None
        hidden = _convs([channels, *[features] * hidden_convs], self.kernel_size)
        last = [channels, *[features] * hidden_convs][-1]
        answer = _FewOutputs(last, channels, self.kernel_size, padding=_half(self.kernel_size))
        self.configuration = nn.Sequential(*hidden, answer)
        self.apply(_initialize)

    @property
    def is_coarse(self) -> bool:
        """Whether the local convolutions see averages."""
        return self.local_grid != (1, 1, 1)

    @property
    def spatial_reach_cells(self) -> Index:
        """How far the spatial convolutions see, in cells."""
        convs = self.hidden_convs + 1
        return _index(convs * (k // 2) for k in self.kernel_size)

    @property
    def local_reach(self) -> Index:
        """How far ``local`` sees at most, in voxels: the halo that blocks of :meth:`local` need.

        On a coarser grid one voxel of it more: upsampling reads both neighbors.
        """
        return _index(LOCAL_CONVS if g == 1 else (LOCAL_CONVS + 1) * g for g in self.local_grid)

    @property
    def reach(self) -> Index:
        """How far the logits of a voxel see at most along each axis, in voxels.

        A voxel in the lower half of its cell is upsampled from that cell and the one below: f/2 - 1 voxels to
        its cell's edge, one cell of upsampling, the spatial convolutions' cells, and what ``local`` sees.
        """
        axes = zip(self.factor, self.spatial_reach_cells, self.local_reach, strict=True)
        return _index(local + (cells if f == 1 else (cells + 1) * f + f // 2 - 1) for f, cells, local in axes)

    def arguments(self) -> dict[str, Any]:
        """What builds the same network again; plain values."""
        return {
            "channels": self.channels,
            "factor": list(self.factor),
            "kernel_size": list(self.kernel_size),
            "hidden_convs": self.hidden_convs,
            "features": self.features,
            "local_grid": list(self.local_grid),
            "inputs": self.inputs,
            "has_regions": self.has_regions,
        }

    def forward(self, probabilities: Tensor) -> Tensor:
        """(B, L, z, y, x) probabilities -> logits of the same shape.

        Raises:
            ValueError: another number of channels or of dimensions.
        """
        if probabilities.ndim != 5 or probabilities.shape[1] != self.channels:
            raise ValueError(
                f"expected (B, {self.channels}, z, y, x), got {tuple(probabilities.shape)}: RefineSCN reads "
                "volumes with the first network's outputs as channels"
            )
        local = self.local(probabilities)
        spatial = self.upsampled(self.spatial(self.cells(local)))
        return local * cropped(spatial, local.shape[2:])

    def local(self, probabilities: Tensor) -> Tensor:
        """(B, L, *size) -> local appearance (B, L, *size), in [-1, 1]."""
        seen = self._seen(probabilities)
        if self.detail is None:
            return torch.tanh(self.to_local(self.appearance(seen)))
        coarse = _means(seen, self.local_grid)
        answer = _linear(self.to_local(self.appearance(coarse)), self.local_grid)
        return torch.tanh(cropped(answer, seen.shape[2:]) + self.detail(seen))

    def cells(self, local: Tensor) -> Tensor:
        """(B, L, *size) -> means over cells (B, L, *cells)."""
        return _means(local, self.factor)

    def spatial(self, cells: Tensor) -> Tensor:
        """(B, L, *cells) -> spatial configuration (B, L, *cells)."""
        if not torch.is_grad_enabled():  # 5 times faster on a CPU; with a gradient it would be slower
            cells = cells.to(memory_format=torch.channels_last_3d)
        answer: Tensor = self.configuration(cells)
        return answer

    def upsampled(self, spatial: Tensor) -> Tensor:
        """(B, L, *cells) -> (B, L, *cells x factor), linearly."""
        return _linear(spatial, self.factor)

    def _seen(self, probabilities: Tensor) -> Tensor:
        if self.inputs == "probabilities":
            return probabilities
        if self.has_regions:
            return torch.logit(probabilities, eps=_SMALLEST)
        return probabilities.clamp_min(_SMALLEST).log()


class _FewOutputs(nn.Conv3d):
    """A convolution that computes outputs in sixteens, and gives those that were asked for.

    A CPU's fast kernels want that: 64 to 8 channels with 5x9x9 took 4.8 s for 5400 cells, to 16 channels
    0.4 s (torch 2.15, one core).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, outputs, z, y, x)."""
        more = -self.out_channels % 16
        weight = functional.pad(self.weight, (0, 0) * 4 + (0, more))
        bias = None if self.bias is None else functional.pad(self.bias, (0, more))
        return functional.conv3d(x, weight, bias, padding=self.padding)[:, : self.out_channels]


def cropped(volume: Tensor, size: Sequence[int]) -> Tensor:
    """The first ``size`` voxels along each of the last three axes.

    Example:
        >>> cropped(torch.zeros(1, 2, 4, 4, 4), (3, 4, 1)).shape
        torch.Size([1, 2, 3, 4, 1])
    """
    return volume[..., : size[0], : size[1], : size[2]]


def _means(volume: Tensor, factor: Index) -> Tensor:
    """Means of blocks; those at the end have fewer voxels where the factor does not divide the size."""
    kernel = [min(f, n) for f, n in zip(factor, volume.shape[2:], strict=True)]
    return functional.avg_pool3d(volume, kernel, ceil_mode=True)


def _linear(volume: Tensor, factor: Index) -> Tensor:
    if factor == (1, 1, 1):
        return volume
    scale = [float(f) for f in factor]
    return functional.interpolate(volume, scale_factor=scale, mode="trilinear", align_corners=False)


def _convs(widths: Sequence[int], kernel_size: Index) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for before, after in pairwise(widths):
        modules += [nn.Conv3d(before, after, kernel_size, padding=_half(kernel_size)), nn.ReLU(inplace=True)]
    return modules


def _half(kernel_size: Index) -> Index:
    return _index(k // 2 for k in kernel_size)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _three(numbers: Sequence[int], what: str) -> Index:
    if len(numbers) != 3 or min(numbers) < 1:
        raise ValueError(
            f"expected three numbers of 1 or more (z, y, x) as {what}, got {tuple(numbers)}: RefineSCN reads "
            "volumes; 2d configurations cannot be refined"
        )
    return _index(numbers)


def _index(numbers: Any) -> Index:
    z, y, x = (int(n) for n in numbers)
    return z, y, x
