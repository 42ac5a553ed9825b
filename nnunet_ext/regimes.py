"""How each paper trained its network, and on which plan: one record a paper, plain data.

The modifier ``Paper`` of trainer names, ``nnunet_ext plan --preset`` and ``docs/papers/regimes.md`` are all
made from these records. Imports nothing heavy.

    python -m nnunet_ext.regimes    # prints docs/papers/regimes.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from nnunet_ext.presets import Preset, spelled

Augmentation = Literal["rotation", "scaling", "noise", "photometric"]
Flip = Literal["none", "left-right", "all"]
Sample = Literal["patch", "slice", "volume"]


@dataclass(frozen=True)
class Regime:
    """How a paper trained.

    Attributes:
        paper: its number in ``docs/papers``.
        optimizer: ``Adam`` or ``SGD``.
        learning_rate: at the start.
        poly_exponent: of the decay (1 - epoch / epochs) ** exponent; 0 keeps the rate.
        momentum: of SGD.
        weight_decay: L2 penalty.
        loss: modifier of trainer names with the paper's loss.
        focal_weight: of the focal loss beside Dice, where the loss has one.
        dice_smooth: what the paper adds to numerator and denominator of Dice; None for nnU-Net's 1e-5.
        deep_supervision: the paper has it.
        augmentations: those of nnU-Net's that the paper names, with nnU-Net's strengths and probabilities.
        flip: axes that are mirrored in training, and in prediction.
        planned_crop: patches are drawn by equation 8 of paper 002.
        dropout: the paper's, which the network has in any regime; for the documentation.
        epochs: length in passes over the samples; None where the paper counts iterations.
        iterations: length in iterations; None where the paper counts epochs.
        sample: what a pass counts.
        paper_total: iterations in the paper and how they come about; "" where it does not tell.
        open_points: what the paper leaves open, and what is taken.
        preset: its plan.
    """

    paper: str
    optimizer: Literal["Adam", "SGD"]
    learning_rate: float
    loss: Literal["Dice", "DiceFocal"]
    preset: Preset
    sample: Sample
    epochs: int | None = None
    iterations: int | None = None
    poly_exponent: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    focal_weight: float = 1.0
    dice_smooth: float | None = None
    deep_supervision: bool = False
    augmentations: tuple[Augmentation, ...] = ()
    flip: Flip = "none"
    planned_crop: bool = False
    dropout: str = "none"
    paper_total: str = ""
    open_points: str = ""

    @property
    def samples(self) -> str:
        """What a pass counts, as a plural."""
        return "patches" if self.sample == "patch" else f"{self.sample}s"


_REGIMES = (
    Regime(
        paper="000",
        optimizer="Adam",
        learning_rate=2e-3,
        loss="Dice",
        dice_smooth=1.0,
        epochs=50,
        sample="patch",
        open_points="batch size: the largest that fits; augmentation: none; patches outside the cascade: as "
        "many as tile the images",
        preset=Preset(patch_size=(32, 32, 32)),
    ),
    Regime(
        paper="001",
        optimizer="Adam",
        learning_rate=1e-5,
        loss="DiceFocal",
        focal_weight=0.1,
        iterations=40_000,
        sample="volume",
        augmentations=("rotation", "scaling"),
        paper_total="40000",
        open_points="flips are left out, since a mirrored heart is none; translation is nnU-Net's random "
        "patch; the 'texture enhancement' is not defined and left out; the window of CT is nnU-Net's",
        preset=Preset(spacing_mm=(3.0, 3.0, 3.0), patch_size=(64, 64, 64), batch_size=8),
    ),
    Regime(
        paper="002",
        optimizer="SGD",
        learning_rate=1e-3,
        poly_exponent=0.9,
        momentum=0.9,
        weight_decay=1e-4,
        loss="DiceFocal",
        focal_weight=0.5,
        epochs=100,
        sample="slice",
        augmentations=("rotation", "photometric"),
        flip="left-right",
        planned_crop=True,
        paper_total="10000 (100 epochs of 6400 slices in batches of 64)",
        open_points="momentum and weight decay; window [-200, 1300] HU; 64 channels; the photometric "
        "distortion is nnU-Net's brightness and contrast; spacing is nnU-Net's",
        preset=Preset(
            configuration="2d",
            patch_size=(128, 128),
            batch_size=64,
            window=(-200.0, 1300.0),
            window_becomes=(0.0, 1.0),
            base_features=64,
        ),
    ),
    Regime(
        paper="003",
        optimizer="Adam",
        learning_rate=2e-4,
        loss="Dice",
        epochs=150,
        sample="volume",
        deep_supervision=True,
        augmentations=("noise",),
        flip="all",
        dropout="0.3 in each residual block",
        paper_total="4800 to 7200 (100 to 150 epochs of 48 volumes in batches of 1)",
        open_points="it stops early, after 100 to 150 epochs: here 150, and nnU-Net keeps the best "
        "checkpoint too; window [-135, 215] HU of the CT; one of its three crop sizes; the dropout",
        preset=Preset(
            spacing_mm=(1.25, 0.8, 0.8),
            patch_size=(32, 128, 128),
            batch_size=1,
            window=(-135.0, 215.0),
            order=3,
            separate_z=False,
        ),
    ),
    Regime(
        paper="004",
        optimizer="Adam",
        learning_rate=1e-4,
        loss="Dice",
        epochs=300,
        sample="volume",
        flip="all",
        dropout="0.5 after each encoder block (RAS U-Net)",
        open_points="epochs: 300; patch: the largest that fits with the batch; the random crop is nnU-Net's "
        "patch, a third of them on foreground",
        preset=Preset(spacing_mm=(3.0, 1.0, 1.0), batch_size=8, window=(-150.0, 150.0), order=0),
    ),
)

REGIMES: Mapping[str, Regime] = MappingProxyType({regime.paper: regime for regime in _REGIMES})


def as_markdown() -> str:
    """The page ``docs/papers/regimes.md``.

    Example:
        >>> as_markdown().splitlines()[0]
        "# The papers' regimes"
    """
    regimes = list(REGIMES.values())
    rows: list[tuple[str, list[str]]] = [
        ("optimizer", [_optimizer(r) for r in regimes]),
        ("learning rate", [_rate(r) for r in regimes]),
        ("loss", [_loss(r) for r in regimes]),
        ("deep supervision", ["nnU-Net's" if r.deep_supervision else "none" for r in regimes]),
        ("augmentation", [", ".join(r.augmentations) or "none" for r in regimes]),
        ("mirrored axes", [r.flip for r in regimes]),
        ("patches", ["equation 8" if r.planned_crop else "nnU-Net's" for r in regimes]),
        ("dropout", [r.dropout for r in regimes]),
        ("length", [_length(r) for r in regimes]),
        ("iterations in the paper", [r.paper_total or "not given" for r in regimes]),
    ]
    plan: list[tuple[str, list[str]]] = [
        ("configuration", [r.preset.configuration for r in regimes]),
        ("spacing, mm", [_or_planner(r.preset.spacing_mm) for r in regimes]),
        ("patch", [_or_planner(r.preset.patch_size) for r in regimes]),
        ("batch", [_or_planner(r.preset.batch_size) for r in regimes]),
        ("window", [_window(r.preset) for r in regimes]),
        ("interpolation order", [_order(r.preset) for r in regimes]),
        ("channels of the first level", [_or_planner(r.preset.base_features) for r in regimes]),
    ]
    open_points = [f"- **{r.paper}**: {r.open_points}." for r in regimes if r.open_points]
    return "\n".join([*_INTRODUCTION, *_table(rows), *_PRESETS, *_table(plan), *_OPEN, *open_points, ""])


_INTRODUCTION = (
    "# The papers' regimes",
    "",
    "`nnUNetTrainer..._Paper` trains as the network's paper did. An epoch is a pass over its samples, so its",
    "iterations are samples / batch, rounded up; the log has the total beside the paper's. What a name",
    "says behind `_Paper` overrides it: `nnUNetTrainerAFUNet_Paper_50epochs_Dice`. Gradient clipping, mixed",
    "precision, validation and checkpoints are nnU-Net's. This page is printed by",
    "`python -m nnunet_ext.regimes`.",
    "",
)
_PRESETS = (
    "",
    "## Plans",
    "",
    "`nnunet_ext plan DATASET --network NAME --preset` writes these into nnU-Net's plans; options beside it",
    "override it. `--preset 002` takes those of another paper than the network's own, to compare networks on",
    "its plan. `_Paper` warns when it is trained on another plan.",
    "",
)
_OPEN = ("", "## What the papers leave open, and what is taken", "")


def _table(rows: list[tuple[str, list[str]]]) -> list[str]:
    lines = [["", *REGIMES], ["---"] * (len(REGIMES) + 1), *([name, *cells] for name, cells in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _optimizer(regime: Regime) -> str:
    extra = [f"momentum {regime.momentum:g}"] if regime.momentum else []
    extra += [f"weight decay {regime.weight_decay:g}"] if regime.weight_decay else []
    return ", ".join([regime.optimizer, *extra])


def _rate(regime: Regime) -> str:
    decay = f", poly {regime.poly_exponent:g}" if regime.poly_exponent else ", constant"
    return f"{regime.learning_rate:g}{decay}"


def _loss(regime: Regime) -> str:
    dice = "Dice" if regime.dice_smooth is None else f"Dice (smoothing {regime.dice_smooth:g})"
    return f"{dice} + {regime.focal_weight:g} focal" if regime.loss == "DiceFocal" else dice


def _length(regime: Regime) -> str:
    if regime.epochs is None:
        return f"{regime.iterations} iterations"
    return f"{regime.epochs} epochs of all {regime.samples}"


def _or_planner(value: int | tuple[float, ...] | None) -> str:
    return "planner's" if value is None else spelled(value)


def _order(preset: Preset) -> str:
    return _or_planner(preset.order) + (" in all three axes" if preset.separate_z is False else "")


def _window(preset: Preset) -> str:
    if preset.window is None:
        return "nnU-Net's"
    (low, high), (first, last) = preset.window, preset.window_becomes
    return f"[{low:g}, {high:g}] HU to [{first:g}, {last:g}]"


if __name__ == "__main__":
    print(as_markdown(), end="")
