"""The metrics of one case as records, with the names that they have in files."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from nnunet_ext.evaluation.overlap import Overlap

# What the distances of a structure are that was not found.
Missing = Literal["worst", "null"]
Number = int | float | None


@dataclass(frozen=True)
class Settings:
    """What a user may choose.

    Attributes:
        nsd_tolerance_mm: distance up to which surfaces agree.
        missing: distances of a structure that the prediction lacks: ``"worst"``, the diagonal of the image,
            or ``"null"``.
        tubular: keys of structures whose skeletons are compared; skeletons take time.
        union: also distances of all labels taken as one mask.

    Raises:
        ValueError: the tolerance is no distance.

    Example:
        >>> Settings(nsd_tolerance_mm=-1)
        Traceback (most recent call last):
        ValueError: expected a tolerance of 0 mm or more, got -1
    """

    nsd_tolerance_mm: float = 2.0
    missing: Missing = "worst"
    tubular: frozenset[str] = frozenset()
    union: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.nsd_tolerance_mm < inf:
            raise ValueError(f"expected a tolerance of 0 mm or more, got {self.nsd_tolerance_mm:g}")


@dataclass(frozen=True)
class StructureScores:
    """Metrics of one structure in one case; None where a metric means nothing.

    Attributes:
        overlap: counts of voxels.
        voxel_ml: volume of a voxel.
        hd_mm, hd95_mm, assd_mm, nsd: of the surfaces.
        is_tubular: skeletons were asked for.
        cl_dice, skeleton_recall: of the skeletons.
    """

    overlap: Overlap
    voxel_ml: float
    hd_mm: float | None = None
    hd95_mm: float | None = None
    assd_mm: float | None = None
    nsd: float | None = None
    is_tubular: bool = False
    cl_dice: float | None = None
    skeleton_recall: float | None = None

    @property
    def missing_reference(self) -> bool:
        """It was predicted and is not there."""
        return self.overlap.n_ref == 0 and self.overlap.n_pred > 0

    @property
    def missing_prediction(self) -> bool:
        """It is there and was not predicted."""
        return self.overlap.n_pred == 0 and self.overlap.n_ref > 0

    @property
    def both_empty(self) -> bool:
        """It is not there and was not predicted."""
        return self.overlap.n_pred == 0 and self.overlap.n_ref == 0

    def numbers(self) -> dict[str, Number]:
        """All metrics by the names that they have in files: nnU-Net's own first.

        Example:
            >>> scores = StructureScores(Overlap(tp=1, fp=1, fn=1, tn=5), voxel_ml=0.5, hd_mm=2.0)
            >>> {k: v for k, v in scores.numbers().items() if k in ("IoU", "volume_ml", "hd95_mm")}
            {'IoU': 0.3333333333333333, 'hd95_mm': None, 'volume_ml': 1.0}
        """
        o = self.overlap
        named: dict[str, Number] = {"Dice": o.dice, "IoU": o.iou, "TP": o.tp, "FP": o.fp, "FN": o.fn}
        named |= {"TN": o.tn, "n_pred": o.n_pred, "n_ref": o.n_ref}
        named |= {"precision": o.precision, "recall": o.recall}
        named |= {"hd_mm": self.hd_mm, "hd95_mm": self.hd95_mm, "assd_mm": self.assd_mm, "nsd": self.nsd}
        rve = o.rve_percent
        named |= {"rve_percent": rve, "rve_absolute_percent": None if rve is None else abs(rve)}
        named |= {"volume_ml": o.n_pred * self.voxel_ml, "reference_volume_ml": o.n_ref * self.voxel_ml}
        if self.is_tubular:
            named |= {"cl_dice": self.cl_dice, "skeleton_recall": self.skeleton_recall}
        return named

    def flags(self) -> dict[str, bool]:
        """What is not there, by the names that it has in files."""
        return {
            "missing_reference": self.missing_reference,
            "missing_prediction": self.missing_prediction,
            "both_empty": self.both_empty,
        }


@dataclass(frozen=True)
class CaseScores:
    """Metrics of one case.

    Attributes:
        structures: by the structures' keys, in their order.
        pooled: counts summed over labels, for MM-WHS's generalized scores.
        union: all labels taken as one structure; None where nobody asked.
    """

    structures: dict[str, StructureScores]
    pooled: Overlap
    union: StructureScores | None = None

    def pooled_numbers(self) -> dict[str, Number]:
        """The pooled scores by the names that they have in files."""
        distances = [s.hd_mm for s in self.structures.values() if s.hd_mm is not None]
        numbers: dict[str, Number] = {"Dice": self.pooled.dice, "IoU": self.pooled.iou}
        numbers |= {"TP": self.pooled.tp, "FP": self.pooled.fp, "FN": self.pooled.fn}
        numbers["max_hd_mm"] = max(distances, default=None)
        if self.union is not None:
            of_union = self.union.numbers()
            numbers |= {f"union_{name}": of_union[name] for name in ("hd_mm", "hd95_mm", "assd_mm", "nsd")}
        return numbers
