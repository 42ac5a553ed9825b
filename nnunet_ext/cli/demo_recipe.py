"""How large the demo is, and how it shows that nnU-Net's training goes on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from nnunet_ext.cli.workplace import Say


@dataclass(frozen=True)
class Recipe:
    """Size of the phantoms and the training budget of a demo.

    Attributes:
        size_vox: voxels (z, y, x) of a phantom.
        spacing_mm: voxel size (z, y, x) in mm.
        cases: training cases; nnU-Net's fold 0 keeps a fifth of them for validation.
        test_cases: unseen cases.
        epochs: training epochs.
        iters: training iterations an epoch.
    """

    size_vox: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    cases: int
    test_cases: int
    epochs: int
    iters: int

    @property
    def trainer(self) -> str:
        """Name of the trainer with this budget."""
        return f"nnUNetTrainerRASUNet_{self.epochs}epochs_{self.iters}iters"


# A field of view of about 384 x 384 x 192 mm in coarse voxels, so that two cores see enough patients.
# 48 cases: more than 49 would let nnU-Net plan a batch larger than 2 (its 5 % rule), and a slower step.
RECIPES = {
    "full": Recipe(
        size_vox=(16, 40, 40), spacing_mm=(12.0, 9.6, 9.6), cases=48, test_cases=5, epochs=12, iters=50
    ),
    "tiny": Recipe(
        size_vox=(12, 24, 24), spacing_mm=(16.0, 16.0, 16.0), cases=5, test_cases=1, epochs=1, iters=2
    ),
}


@dataclass
class EpochProgress:
    """Turns the lines of nnU-Net's training into one short line an epoch.

    Attributes:
        epochs: number of epochs of the training.
        say: receives the lines.

    Example:
        >>> progress = EpochProgress(epochs=2, say=print)
        >>> for line in ("Epoch 0", "Pseudo dice [np.float32(0.5)]", "Epoch time: 7.1 s"):
        ...     progress(f"2025-01-01 10:00:00: {line}")
          epoch 1/2: 7.1 s, pseudo Dice on validation patches 0.50
    """

    epochs: int
    say: Say
    _epoch: int = field(default=0, init=False)
    _dice: str = field(default="not known", init=False)

    def __call__(self, line: str) -> None:
        """Read one line of output."""
        if match := re.search(r"Epoch (\d+)\s*$", line):
            self._epoch = int(match[1]) + 1
        elif match := re.search(r"Pseudo dice .*?(\d+\.\d+)", line):
            self._dice = f"{float(match[1]):.2f}"
        elif match := re.search(r"Epoch time: ([\d.]+) s", line):
            self.say(
                f"  epoch {self._epoch}/{self.epochs}: {float(match[1]):.1f} s, "
                f"pseudo Dice on validation patches {self._dice}"
            )
