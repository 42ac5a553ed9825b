"""How a translation is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

ADAM_BETAS = (0.5, 0.999)
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
# From this patch size on, a discriminator of three layers (70 voxels) does not see the whole patch.
_LARGE_PATCH_VOX = 96


@dataclass(frozen=True)
class Settings:
    """How a translation is trained; everything that decides its result, with the data and the patch.

    Reference:
        Paper 001 (CM-TranCaF): cycle weight 10 (5 and 20 were worse), identity weight 1. Zhu et al. 2017 for
        what it leaves open: Adam with 2e-4, half of the training at that rate and half falling to 0, a pool
        of 50 images, one image a step. SPEC A2.1.

    Attributes:
        steps: of training; one step updates the generators once and the discriminators once.
        generator_features: of the generators' first convolution.
        generator_blocks: residual blocks of a generator.
        discriminator_features: of the discriminators' first convolution.
        discriminator_layers: 2 for patches below 96 voxels, 3 above, if None was asked for.
        cycle_weight: of the cycle loss, lambda.
        identity_weight: of the identity loss, absolute; 5 is CycleGAN's own (0.5 lambda).
        structure_weight: of the structure loss; 0 leaves it out, as the paper does.
        pool_size: earlier translations that the discriminators are shown; 0 shows them the latest only.
        learning_rate: of Adam.
        constant_share: part of the training before the rate begins to fall, 0 to 1.
        anchored: generators begin as a table of intensities that keeps air dark, and learn what to add. A
            cycle can be closed with tissues exchanged, and what a training finds depends on where it begins.
            The paper's begin at random.
        batch_size: patches of each domain in a step, over all processes.
        mr_percentiles: of an MR image, that become -1 and 1.
        mirroring_axes: of the patch (z, y, x); left and right must not change places in a heart.
        seed: decides everything random.
        precision: of Lightning Fabric.

    Example:
        >>> Settings(steps=10).cycle_weight
        10.0
    """

    steps: int
    generator_features: int = 32
    generator_blocks: int = 6
    discriminator_features: int = 64
    discriminator_layers: int = 2
    cycle_weight: float = 10.0
    identity_weight: float = 1.0
    structure_weight: float = 0.0
    pool_size: int = 50
    learning_rate: float = 2e-4
    constant_share: float = 0.5
    anchored: bool = False
    batch_size: int = 1
    mr_percentiles: tuple[float, float] = (0.5, 99.5)
    mirroring_axes: tuple[int, ...] = ()
    seed: int = 0
    precision: str = "32-true"

    def __post_init__(self) -> None:
        low, high = self.mr_percentiles
        checks = {
            "at least one step": self.steps >= 1,
            "a batch of at least 1": self.batch_size >= 1,
            "a pool of 0 or more": self.pool_size >= 0,
            "weights of 0 or more": min(self.cycle_weight, self.identity_weight, self.structure_weight) >= 0,
            "a learning rate above 0": self.learning_rate > 0,
            "a constant share from 0 to 1": 0 <= self.constant_share <= 1,
            "percentiles from 0 to 100 in ascending order": 0 <= low < high <= 100,
            "mirroring axes among 0, 1, 2": set(self.mirroring_axes) <= {0, 1, 2},
            "a seed of 0 or more": self.seed >= 0,
            f"a precision of {', '.join(PRECISIONS)}": self.precision in PRECISIONS,
        }
        if wrong := [wanted for wanted, holds in checks.items() if not holds]:
            raise ValueError(f"expected {'; '.join(wrong)}, got {self}")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Settings:
        """From what ``dataclasses.asdict`` and JSON made of them.

        Raises:
            ValueError: a setting is missing or unknown, or a value is out of range.
        """
        names = {field.name for field in fields(cls)}
        if set(content) != names:
            raise ValueError(f"expected the settings {sorted(names)}, got {sorted(content)}")
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in content.items()}
        return cls(**values)


def default_layers(patch_size: tuple[int, ...]) -> int:
    """Layers of a discriminator that judges parts of the patch, not all of it.

    Example:
        >>> default_layers((64, 64, 64)), default_layers((96, 128, 128)), default_layers((16, 64, 64))
        (2, 3, 1)
    """
    smallest = min(patch_size)
    return 3 if smallest >= _LARGE_PATCH_VOX else 2 if smallest > 34 else 1


def rate_factor(step: int, *, steps: int, constant_share: float = 0.5) -> float:
    """What the learning rate is multiplied with: 1, then falling linearly; it would be 0 after the last step.

    Args:
        step: from 0.
        steps: of the training.
        constant_share: part of the training before it falls.

    Example:
        >>> [round(rate_factor(n, steps=200), 3) for n in (0, 99, 100, 150, 199, 200)]
        [1.0, 1.0, 0.99, 0.495, 0.01, 0.0]
    """
    constant = round(constant_share * steps)
    return 1.0 - max(0, step + 1 - constant) / (steps - constant + 1)
