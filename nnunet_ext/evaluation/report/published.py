"""What the papers report, as facts, for a look beside one's own numbers; their data are others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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
    """

    name: str
    trainer: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class PaperTable:
    """A paper's own results.

    Attributes:
        paper: number of the paper, as in ``docs/papers``.
        title: what was segmented, on how many patients.
        words: of which the name of a structure holds one, where it is the same task.
        methods: rows.
        note: what makes a comparison hard, beyond other data.
    """

    paper: str
    title: str
    words: tuple[str, ...]
    methods: tuple[Method, ...]
    note: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that any row has."""
        return tuple(dict.fromkeys(metric for method in self.methods for metric in method.numbers))

    def structures(self, names: Iterable[str]) -> tuple[str, ...]:
        """The structures of a dataset that are this paper's.

        Example:
            >>> PAPERS[-1].structures(["liver_target", "kidney"])
            ('liver_target',)
        """
        return tuple(name for name in names if any(word in name.lower() for word in self.words))


def _four(name: str, trainer: str, *numbers: float) -> Method:
    return Method(name, trainer, dict(zip(("Dice", "IoU", "recall", "precision"), numbers, strict=True)))


def _three(name: str, trainer: str, *numbers: float) -> Method:
    metrics = ("Dice", "assd_mm", "rve_absolute_percent")
    return Method(name, trainer, dict(zip(metrics, numbers, strict=True)))


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
    ),
    PaperTable(
        "001",
        "whole heart in CT, 40 test patients",
        ("ventricle", "atrium", "myocardium", "aorta", "pulmonary"),
        (Method("the whole framework", "nnUNetTrainerMAUNet", {"Dice": 91.1, "hd_mm": 14.386}),),
        note="The paper's framework adds synthetic CT and a spatial refinement to the network.",
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
    ),
    PaperTable(
        "003",
        "organs at risk in the brain, CT, T1w and T2w, five folds of 60 patients; patches of 32x96x96",
        ("eye", "lens", "optic", "chiasm"),
        (
            Method("left eye", "", {"Dice": 87.62, "hd95_mm": 2.82}),
            Method("right eye", "", {"Dice": 87.54, "hd95_mm": 3.19}),
            Method("left lens", "", {"Dice": 78.39, "hd95_mm": 2.07}),
            Method("right lens", "", {"Dice": 79.85, "hd95_mm": 1.94}),
            Method("left optic nerve", "", {"Dice": 80.39, "hd95_mm": 2.34}),
            Method("right optic nerve", "", {"Dice": 77.47, "hd95_mm": 2.83}),
            Method("chiasm", "", {"Dice": 70.47, "hd95_mm": 3.30}),
        ),
        note="A row is an organ, all of the paper's own network; ours stand in the tables above, by "
        "structure. What the paper calls Hausdorff distance is a 95th percentile.",
    ),
    PaperTable(
        "004",
        "liver target in CT, 10 test patients",
        ("liver", "gtv", "target"),
        (
            _three("3D U-Net", "nnUNetTrainer", 69.54, 7.45, 56.8),
            _three("SE U-Net", "nnUNetTrainerSEUNet", 71.63, 6.21, 38.9),
            _three("V-Net", "nnUNetTrainerVNet", 70.70, 6.76, 42.6),
            _three("RAS U-Net", "nnUNetTrainerRASUNet", 74.08, 5.46, 34.5),
        ),
        note="The paper's RVE has no sign; ours is the mean of its absolute value.",
    ),
)
