"""Errors like those of a first network, put into its probabilities: training data beside the real errors.

Pure functions of probabilities and a random generator. They never see the reference, so that voxels with the
ignore label are treated as all others. Probabilities stay what they are: every change is a mixture of two
distributions (of two numbers from 0 to 1 for regions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]  # (L, z, y, x)
Mask = NDArray[np.float32]  # (z, y, x), from 0 to 1

# How much of a corrupted voxel is taken over: networks err with and without doubt.
LEAST, MOST = 0.5, 1.0


@dataclass(frozen=True)
class Anatomy:
    """What corruption has to know of the outputs.

    Attributes:
        spacing_mm: of the grid, (z, y, x).
        members: label values of each output.
        has_regions: outputs are regions; else output 0 is background.
        pair_weights: (L, L): how often the first network takes an output for another; 0 where two may not be
            exchanged (background, nested regions).
        radius_mm: smallest and largest of holes, islands and shifted places.
    """

    spacing_mm: tuple[float, ...]
    members: tuple[tuple[int, ...], ...]
    has_regions: bool
    pair_weights: NDArray[np.float64]
    radius_mm: tuple[float, float]

    @property
    def structures(self) -> range:
        """Outputs that are foreground."""
        return range(0 if self.has_regions else 1, len(self.members))


def corrupted(probabilities: Volume, rng: np.random.Generator, anatomy: Anatomy) -> Volume:
    """Probabilities with one to three errors of random kinds.

    Args:
        probabilities: (L, z, y, x); unchanged.
        rng: decides everything.
        anatomy: of the outputs.

    Returns:
        A copy. Nothing changes where no structure is to be seen.

    Example:
        >>> uniform = np.full((3, 4, 4, 4), 1 / 3, np.float32)
        >>> classes = ((0,), (1,), (2,))
        >>> weights = pair_weights(classes, has_regions=False)
        >>> anatomy = Anatomy((1.0, 1.0, 1.0), classes, False, weights, radius_mm=(1.0, 2.0))
        >>> changed = corrupted(uniform, np.random.default_rng(0), anatomy)
        >>> bool(np.allclose(changed.sum(0), 1))
        True
    """
    kinds: tuple[Callable[[Volume, np.random.Generator, Anatomy], Volume], ...] = (
        swapped_look_alikes,
        with_hole,
        with_island,
        with_shifted_border,
    )
    # Exchanged structures are what the refiner is for: half of all errors.
    for kind in rng.choice(len(kinds), size=rng.integers(1, 4), p=(0.49, 0.17, 0.17, 0.17)):
        probabilities = kinds[kind](probabilities, rng, anatomy)
    return probabilities.copy()


def swapped_look_alikes(probabilities: Volume, rng: np.random.Generator, anatomy: Anatomy) -> Volume:
    """Two structures exchanged: in a connected component of one, or in a random half of both."""
    sharp = _sharp(probabilities, anatomy)
    present = [s for s in anatomy.structures if sharp[s].any() and anatomy.pair_weights[s].any()]
    if not present:
        return probabilities
    first = int(rng.choice(present))
    weights = anatomy.pair_weights[first]
    second = int(rng.choice(len(weights), p=weights / weights.sum()))
    if rng.random() < 0.5:
        components, _ = ndimage.label(sharp[first])
        where = components == components[_random_voxel(sharp[first], rng)]
    else:
        where = (sharp[first] | sharp[second]) & _random_half(sharp[first], rng, anatomy)
    amount = _amount(rng) * where.astype(np.float32)
    changed = probabilities.copy()
    for one, other in ((first, second), (second, first)):
        changed[one] = probabilities[one] + amount * (probabilities[other] - probabilities[one])
    return changed


def with_hole(probabilities: Volume, rng: np.random.Generator, anatomy: Anatomy) -> Volume:
    """A ball inside a structure becomes background."""
    found = _random_structure(probabilities, rng, anatomy)
    if found is None:
        return probabilities
    return _mixed(probabilities, _one(None, anatomy), _amount(rng) * _random_ball(found[1], rng, anatomy))


def with_island(probabilities: Volume, rng: np.random.Generator, anatomy: Anatomy) -> Volume:
    """A ball anywhere becomes a structure that is there."""
    found = _random_structure(probabilities, rng, anatomy)
    if found is None:
        return probabilities
    everywhere = np.ones(probabilities.shape[1:], bool)
    ball = _random_ball(everywhere, rng, anatomy)
    return _mixed(probabilities, _one(found[0], anatomy), _amount(rng) * ball)


def with_shifted_border(probabilities: Volume, rng: np.random.Generator, anatomy: Anatomy) -> Volume:
    """Inside a ball around a structure's voxel, probabilities come from some voxels beside."""
    found = _random_structure(probabilities, rng, anatomy)
    if found is None:
        return probabilities
    shift_mm = rng.normal(size=3)
    shift_mm *= rng.uniform(*anatomy.radius_mm) / 2 / max(float(np.linalg.norm(shift_mm)), 1e-6)
    axes = []
    for size, mm, spacing in zip(probabilities.shape[1:], shift_mm, anatomy.spacing_mm, strict=True):
        axes.append(np.clip(np.arange(size) + round(mm / spacing), 0, size - 1))
    beside = probabilities[np.ix_(range(len(probabilities)), *axes)]
    ball = _random_ball(found[1], rng, anatomy)
    return np.asarray(probabilities + ball * (beside - probabilities), np.float32)


def pair_weights(
    members: Sequence[Sequence[int]], *, has_regions: bool, confusion: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """How often to exchange two outputs: half by the first network's confusions, half all pairs alike.

    Args:
        members: label values of each output.
        has_regions: outputs are regions; those that share a label are never exchanged.
        confusion: (L, L) counts, reference by prediction; None where there are none.

    Example:
        >>> confusion = np.array([[9, 0, 0, 0], [0, 9, 2, 0], [0, 0, 9, 0], [0, 0, 0, 9]])
        >>> pair_weights([(0,), (1,), (2,), (3,)], has_regions=False, confusion=confusion)[1].tolist()
        [0.0, 0.0, 0.75, 0.25]
    """
    count = len(members)
    allowed = np.array(
        [[a != b and not set(members[a]) & set(members[b]) for b in range(count)] for a in range(count)]
    )
    if not has_regions:
        allowed[0] = allowed[:, 0] = False
    alike = _rows_to_one(allowed.astype(np.float64))
    if confusion is None:
        return alike
    confused = _rows_to_one(np.where(allowed, confusion + confusion.T, 0).astype(np.float64))
    known = confused.any(axis=1, keepdims=True)
    return np.where(known, 0.5 * confused + 0.5 * alike, alike)


def _rows_to_one(table: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = table.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(table, sums, out=np.zeros_like(table), where=sums > 0))


def _amount(rng: np.random.Generator) -> float:
    return float(rng.uniform(LEAST, MOST))


def _sharp(probabilities: Volume, anatomy: Anatomy) -> NDArray[np.bool_]:
    if anatomy.has_regions:
        return np.asarray(probabilities > 0.5)
    return np.asarray(probabilities.argmax(0) == np.arange(len(probabilities)).reshape(-1, 1, 1, 1))


def _random_structure(
    probabilities: Volume, rng: np.random.Generator, anatomy: Anatomy
) -> tuple[int, NDArray[np.bool_]] | None:
    """A structure that is there, and its voxels."""
    sharp = _sharp(probabilities, anatomy)
    present = [s for s in anatomy.structures if sharp[s].any()]
    if not present:
        return None
    chosen = int(rng.choice(present))
    return chosen, sharp[chosen]


def _random_voxel(where: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, ...]:
    places = np.flatnonzero(where)
    return tuple(int(i) for i in np.unravel_index(int(rng.choice(places)), where.shape))


def _random_half(where: NDArray[np.bool_], rng: np.random.Generator, anatomy: Anatomy) -> NDArray[np.bool_]:
    """One side of a random plane through a structure's center."""
    normal = rng.normal(size=3)
    center = np.argwhere(where).mean(axis=0)
    terms = [
        n * s * (np.arange(size) - c)
        for n, s, size, c in zip(normal, anatomy.spacing_mm, where.shape, center, strict=True)
    ]
    return np.asarray(terms[0][:, None, None] + terms[1][:, None] + terms[2] > 0)


def _random_ball(where: NDArray[np.bool_], rng: np.random.Generator, anatomy: Anatomy) -> Mask:
    """A ball around a random voxel, with an edge of one voxel of the finest spacing."""
    center = _random_voxel(where, rng)
    radius_mm = rng.uniform(*anatomy.radius_mm)
    squares = [
        ((np.arange(size) - c) * s) ** 2
        for size, c, s in zip(where.shape, center, anatomy.spacing_mm, strict=True)
    ]
    distance_mm = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2])
    inside = (radius_mm - distance_mm) / min(anatomy.spacing_mm) + 0.5
    return np.asarray(np.clip(inside, 0, 1), np.float32)


def _one(structure: int | None, anatomy: Anatomy) -> Volume:
    """The outputs that are sure of a structure, or of background: (L, 1, 1, 1)."""
    if structure is None:
        chosen = [not anatomy.has_regions and output == 0 for output in range(len(anatomy.members))]
    else:  # a region lies in all that hold its labels
        labels = set(anatomy.members[structure])
        chosen = [labels <= set(members) for members in anatomy.members]
    return np.array(chosen, np.float32).reshape(-1, 1, 1, 1)


def _mixed(probabilities: Volume, others: Volume, amount: Mask) -> Volume:
    return np.asarray(probabilities + amount * (others - probabilities), np.float32)
