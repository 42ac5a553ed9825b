"""What the papers report, as facts, for a look beside one's own numbers; their data are others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

# Titles of what papers measure, by the names of our metrics; ours are fractions where theirs are percent.
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "Dice": "Dice, %",
        "IoU": "IoU, %",
        "recall": "recall, %",
        "precision": "precision, %",
        "hd_mm": "HD, mm",
        "hd95_mm": "HD95, mm",
        "assd_mm": "ASSD, mm",
        "rve_absolute_percent": "RVE, %",
    }
)
FRACTIONS = frozenset({"Dice", "IoU", "recall", "precision"})


@dataclass(frozen=True)
class Method:
    """A row of a paper's table.

    Attributes:
        name: as the paper calls it.
        trainer: ours that stands for it; ``""`` where none does.
        numbers: by metric.
        organ: what the name of a structure holds, where a row is an organ and not a method.
        side: of that organ.
    """

    name: str
    trainer: str
    numbers: Mapping[str, float]
    organ: str = ""
    side: Literal["left", "right", ""] = ""

    def structures(self, names: Iterable[str]) -> tuple[str, ...]:
        """The structures of a dataset that are this row's organ.

        Example:
            >>> left_eye = Method("left eye", "", {}, organ="eye", side="left")
            >>> left_eye.structures(["Eye_L", "Eye_R", "right eye", "eye left", "Lens_L"])
            ('Eye_L', 'eye left')
        """
        return tuple(n for n in names if self.organ in n.lower() and self.side == _side(n))


def _side(name: str) -> str:
    words = re.findall("[a-z]+", name.lower())
    return next((side for side in ("left", "right") if side in name.lower() or side[0] in words), "")


@dataclass(frozen=True)
class PaperTable:
    """A paper's own results.

    Attributes:
        paper: number of the paper, as in ``docs/papers``.
        title: what was segmented, on how many patients.
        words: of which the name of a structure holds one, where it is the same task.
        methods: rows.
        note: what makes a comparison hard, beyond other data.
        short: whole names of structures that are as good as one of ``words``.
        context: of which the name of the dataset or of any structure holds one, where the words themselves do
            not tell: a mandible is no bone of the leg. None where they do.
        least: how many of the structures there have to be.
    """

    paper: str
    title: str
    words: tuple[str, ...]
    methods: tuple[Method, ...]
    note: str = ""
    short: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    least: int = 1

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that any row has."""
        return tuple(dict.fromkeys(metric for method in self.methods for metric in method.numbers))

    @property
    def rows_are_organs(self) -> bool:
        """Whether a row is an organ, and every trainer of a benchmark belongs beside it."""
        return any(method.organ for method in self.methods)

    def structures(self, names: Iterable[str], *, dataset: str) -> tuple[str, ...]:
        """The structures of a dataset that are this paper's; none where it is about something else.

        Example:
            >>> PAPERS[-1].structures(["liver", "tumor"], dataset="Dataset508_LiTS")
            ('tumor',)
            >>> PAPERS[-1].structures(["edema", "tumor"], dataset="Dataset001_BrainTumour")
            ()
        """
        names = tuple(names)
        if self.context and not _holds((dataset, *names), self.context):
            return ()
        found = tuple(name for name in names if name in self.short or _holds((name,), self.words))
        return found if len(found) >= self.least else ()


def _holds(names: Iterable[str], words: Iterable[str]) -> bool:
    words = tuple(words)
    return any(word in name.lower() for name in names for word in words)


def _four(name: str, trainer: str, *numbers: float) -> Method:
    return Method(name, trainer, dict(zip(("Dice", "IoU", "recall", "precision"), numbers, strict=True)))


def _three(name: str, trainer: str, *numbers: float) -> Method:
    metrics = ("Dice", "assd_mm", "rve_absolute_percent")
    return Method(name, trainer, dict(zip(metrics, numbers, strict=True)))


def _organ(
    name: str, dice: float, hd95_mm: float, *, organ: str, side: Literal["left", "right", ""]
) -> Method:
    return Method(name, "", {"Dice": dice, "hd95_mm": hd95_mm}, organ=organ, side=side)


PAPERS: tuple[PaperTable, ...] = (
    PaperTable(
        "000",
        "coronary arteries in CT, 40 test patients",
        ("coronary", "artery", "arteries", "vessel"),
        (
            Method("two stages, attention gates", "nnUNetTrainerSkeletonCascade", {"Dice": 79.50}),
            Method("whole volume, resized", "", {"Dice": 75.33}),
            Method("slice by slice", "", {"Dice": 71.56}),
            Method("tiled patches", "", {"Dice": 68.72}),
        ),
        short=("A_LAD", "A_LCX", "A_RCA"),
        context=("coron", "imagecas", "asoca"),
    ),
    PaperTable(
        "001",
        "whole heart in CT, 40 test patients",
        ("ventricle", "atrium", "myocardium", "aorta", "pulmonary"),
        (Method("the whole framework", "nnUNetTrainerMAUNet", {"Dice": 91.1, "hd_mm": 14.386}),),
        note="The paper's framework adds synthetic CT and a spatial refinement to the network.",
        short=("Myo", "LA", "LV", "RA", "RV", "AA", "PA"),
        least=4,  # a whole heart
    ),
    PaperTable(
        "002",
        "bones of the lower limb in CT, slices",
        ("bone", "femur", "tibia", "fibula", "patella"),
        (
            _four("U-Net", "nnUNetTrainer", 84.34, 72.92, 87.36, 84.78),
            _four("Attention U-Net", "nnUNetTrainerAGUNet", 87.28, 77.43, 87.92, 87.74),
            _four("BiSeNet", "", 86.60, 76.37, 88.85, 86.36),
            _four("U-Net + DASP", "nnUNetTrainerAFUNet_NoAF", 86.40, 76.06, 86.54, 86.43),
            _four("U-Net + AF", "nnUNetTrainerAFUNet_NoDASP", 87.94, 78.47, 87.57, 87.12),
            _four("AFU-Net", "nnUNetTrainerAFUNet", 89.44, 80.55, 88.45, 88.79),
        ),
        note="The paper splits slices, not patients, so that slices of a test patient were trained on.",
        context=("limb", "leg", "femur", "tibia"),
    ),
    PaperTable(
        "003",
        "organs at risk in the brain, CT, T1w and T2w, five folds of 60 patients; patches of 32x96x96",
        ("eye", "lens", "optic", "chiasm"),
        (
            _organ("left eye", 87.62, 2.82, organ="eye", side="left"),
            _organ("right eye", 87.54, 3.19, organ="eye", side="right"),
            _organ("left lens", 78.39, 2.07, organ="lens", side="left"),
            _organ("right lens", 79.85, 1.94, organ="lens", side="right"),
            _organ("left optic nerve", 80.39, 2.34, organ="optic", side="left"),
            _organ("right optic nerve", 77.47, 2.83, organ="optic", side="right"),
            _organ("chiasm", 70.47, 3.30, organ="chiasm", side=""),
        ),
        note="The paper's numbers are all of its own network (ResUNet, ROICascade). What it calls Hausdorff "
        "distance is a 95th percentile.",
    ),
    PaperTable(
        "004",
        "liver target in CT, 10 test patients",
        ("gtv", "target", "tumor", "tumour", "cancer", "lesion"),
        (
            _three("3D U-Net", "nnUNetTrainer", 69.54, 7.45, 56.8),
            _three("SE U-Net", "nnUNetTrainerSEUNet", 71.63, 6.21, 38.9),
            _three("V-Net", "nnUNetTrainerVNet", 70.70, 6.76, 42.6),
            _three("RAS U-Net", "nnUNetTrainerRASUNet", 74.08, 5.46, 34.5),
        ),
        note="The paper's RVE has no sign; ours is the mean of its absolute value.",
        context=("liver", "lits"),
    ),
)
